//! Origins, clients, disks and caches that fail in the middle.

use crate::LENGTHS;
use crate::support::{
    FOREVER, body,
    client::{get, purge},
    origin::{Origin, builder, pieces, whole, with},
    proxy::{self, Proxy},
};
use disk_cache::ByteSize;
use hyper::StatusCode;
use std::{io, sync::Mutex};
use tempfile::tempdir;

#[tokio::test]
async fn a_body_that_the_origin_breaks_off_is_not_stored() {
    for len in LENGTHS {
        let dir = tempdir().expect("a directory");
        let (sender, first) = pieces();
        sender.send(Ok(body(1, len).slice(..len / 2))).expect("held by the body");
        let first = Mutex::new(Some(first));
        let origin = Origin::start(move |_| match first.lock().expect("no panic").take() {
            Some(first) => {
                builder("max-age=60").header("content-length", len).body(first).expect("a response")
            }
            None => with("max-age=60", body(1, len)),
        })
        .await;
        let proxy = Proxy::start(dir.path(), origin.addr).await;
        let mut cut = get("/a").begun_by(proxy.addr).await;
        assert!(body(1, len).starts_with(&cut.piece().await));
        sender.send(Err(io::Error::other("the origin ends"))).expect("the proxy reads");
        assert!(cut.rest().await.body.is_err(), "an end that looks whole");
        assert_eq!(proxy.storage.cache().stats().entries, 0);
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!(answer.cache(), "miss");
        assert!(answer.whole() == &body(1, len));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_half() {
    let dir = tempdir().expect("a directory");
    let (sender, first) = pieces();
    sender.send(Ok(body(1, 1 << 20))).expect("held by the body");
    let first = Mutex::new(Some(first));
    let origin = Origin::start(move |_| match first.lock().expect("no panic").take() {
        Some(first) => builder("max-age=60").body(first).expect("a response"),
        None => with("max-age=60", body(2, 2 << 20)),
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    let mut begun = get("/a").begun_by(proxy.addr).await;
    begun.piece().await;
    drop(begun);
    // The body never ends; the proxy finds out, and leaves the origin.
    tokio::time::timeout(FOREVER, sender.closed()).await.expect("the fill is given up");
    let answer = get("/a").of(proxy.addr).await;
    assert_eq!(answer.cache(), "miss");
    assert!(answer.whole() == &body(2, 2 << 20));
}

#[tokio::test]
async fn a_full_disk_never_fails_a_request() {
    for len in LENGTHS {
        let dir = tempdir().expect("a directory");
        let origin = Origin::of("max-age=60", body(1, len)).await;
        // No file system has as much left, so the cache may not grow.
        let full = proxy::builder(dir.path()).min_free_space(ByteSize::gib(1 << 20));
        let proxy = Proxy::with(full, origin.addr).await;
        for _ in 0..3 {
            let answer = get("/a").of(proxy.addr).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.whole() == &body(1, len), "other bytes of {len}");
        }
        let stats = proxy.storage.cache().stats();
        println!("{len}: {} entries, {} write errors", stats.entries, stats.write_errors);
        if len > 1 << 20 {
            assert_eq!((origin.count(), stats.entries), (3, 0));
        }
    }
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_reaches_its_client_whole() {
    let dir = tempdir().expect("a directory");
    // Of unknown length, so that only the writing finds out.
    let origin = Origin::start(|_| {
        let (sender, pieces) = pieces();
        for n in 0..30 {
            sender.send(Ok(body(n, 100_000))).expect("held by the body");
        }
        builder("max-age=60").body(pieces).expect("a response")
    })
    .await;
    let small = proxy::builder(dir.path()).max_entry_size(ByteSize::mib(2));
    let proxy = Proxy::with(small, origin.addr).await;
    let expected: Vec<u8> = (0..30).flat_map(|n| body(n, 100_000)).collect();
    for turn in 1..=2 {
        assert!(get("/a").of(proxy.addr).await.whole() == &expected, "other bytes");
        assert_eq!((origin.count(), proxy.storage.cache().stats().entries), (turn, 0));
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_for_the_cache_is_passed_on() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::start(|_| {
        // More than 64 tags: it could not be purged by them.
        let tags: Vec<_> = (0..65).map(|n| format!("tag-{n}")).collect();
        let response = builder("max-age=60").header("surrogate-key", tags.join(" "));
        response.body(whole(body(1, 1000))).expect("a response")
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for turn in 1..=2 {
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!((answer.status, answer.whole()), (StatusCode::OK, &body(1, 1000)));
        assert_eq!(origin.count(), turn);
    }
}

#[tokio::test]
async fn a_closed_cache_is_gone_around() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", body(1, 1000)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    get("/a").of(proxy.addr).await;
    proxy.storage.cache().close().await.expect("it closes");
    let answer = get("/a").of(proxy.addr).await;
    assert_eq!((answer.status, answer.whole()), (StatusCode::OK, &body(1, 1000)));
    assert_eq!(purge("/a").of(proxy.addr).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
