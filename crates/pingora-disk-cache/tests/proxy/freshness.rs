//! What is stale: revalidated, replaced, served all the same.

use crate::LENGTHS;
use crate::support::{
    body,
    client::get,
    origin::{Origin, builder, whole, with},
    proxy::Proxy,
    until,
};
use bytes::Bytes;
use hyper::StatusCode;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tempfile::tempdir;

#[tokio::test]
async fn a_304_refreshes_what_is_stored_and_keeps_the_body() {
    for len in LENGTHS {
        let dir = tempdir().expect("a directory");
        let origin = Origin::start(move |asked| {
            if asked.headers.get("if-none-match").is_some_and(|tag| tag == "\"one\"") {
                return builder("max-age=60").status(304).body(whole(Bytes::new())).expect("a response");
            }
            with("max-age=0", body(1, len))
        })
        .await;
        let proxy = Proxy::start(dir.path(), origin.addr).await;
        for expected in ["miss", "revalidated", "hit"] {
            let answer = get("/a").of(proxy.addr).await;
            assert_eq!((answer.status, answer.cache()), (StatusCode::OK, expected));
            assert!(answer.whole() == &body(1, len), "other bytes at {expected} of {len}");
        }
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn a_new_version_replaces_what_is_stored() {
    let dir = tempdir().expect("a directory");
    let turns = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match turns.fetch_add(1, Ordering::Relaxed) {
        0 => with("max-age=0", body(1, 1000)),
        _ => with("max-age=60", body(2, 2000)),
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for (expected, body) in [("miss", body(1, 1000)), ("expired", body(2, 2000)), ("hit", body(2, 2000))] {
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!((answer.cache(), answer.whole()), (expected, &body));
    }
}

#[tokio::test]
async fn a_stale_response_is_served_where_the_origin_fails() {
    let dir = tempdir().expect("a directory");
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let origin = Origin::start(move |_| {
        if fails.load(Ordering::Relaxed) {
            return builder("no-store").status(503).body(whole(Bytes::new())).expect("a response");
        }
        with("max-age=0, stale-if-error=600", body(1, 1000))
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    get("/a").of(proxy.addr).await;
    failing.store(true, Ordering::Relaxed);
    let answer = get("/a").of(proxy.addr).await;
    assert_eq!((answer.status, answer.cache()), (StatusCode::OK, "stale"));
    assert_eq!(answer.whole(), &body(1, 1000));
}

#[tokio::test]
async fn a_stale_response_is_served_while_it_is_revalidated() {
    let dir = tempdir().expect("a directory");
    let turns = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match turns.fetch_add(1, Ordering::Relaxed) {
        0 => with("max-age=0, stale-while-revalidate=600", body(1, 1000)),
        _ => with("max-age=60", body(2, 1000)),
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    get("/a").of(proxy.addr).await;
    let stale = get("/a").of(proxy.addr).await;
    assert_eq!((stale.cache(), stale.whole()), ("stale-updating", &body(1, 1000)));
    // The fetch goes on in the background; it is over when a request hits.
    let hit = || async { Some(get("/a").of(proxy.addr).await).filter(|answer| answer.cache() == "hit") };
    let fresh = until("it is revalidated", hit).await;
    assert_eq!(fresh.whole(), &body(2, 1000));
    assert_eq!(origin.count(), 2);
}
