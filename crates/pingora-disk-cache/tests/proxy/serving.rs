//! What is served from the cache, whole and in ranges.

use crate::LENGTHS;
use crate::support::{
    body,
    client::{get, head, purge},
    origin::{Origin, builder, pieces, whole, with},
    proxy::Proxy,
};
use bytes::Bytes;
use hyper::StatusCode;
use std::sync::{Arc, Mutex};
use tempfile::tempdir;

#[tokio::test]
async fn a_miss_is_fetched_once_and_served_from_then_on() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", body(1, 10_000)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for (turn, expected) in ["miss", "hit", "hit"].into_iter().enumerate() {
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!((answer.status, answer.cache()), (StatusCode::OK, expected), "request {turn}");
        assert_eq!(answer.whole(), &body(1, 10_000));
        assert_eq!(answer.header("etag"), "\"one\"");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn another_url_is_another_response() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::start(|asked| with("max-age=60", asked.path.clone().into())).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for path in ["/a", "/b", "/a", "/b"] {
        assert_eq!(get(path).of(proxy.addr).await.whole(), path);
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("no-store", body(1, 100)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for _ in 0..2 {
        assert_eq!(get("/a").of(proxy.addr).await.cache(), "OriginNotCache");
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(proxy.storage.cache().stats().entries, 0);
}

#[tokio::test]
async fn a_head_and_a_condition_are_answered_from_what_is_stored() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", body(1, 1000)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    // The first HEAD fetches, and stores, the whole of it.
    for expected in ["miss", "hit"] {
        let answer = head("/a").of(proxy.addr).await;
        assert_eq!((answer.cache(), answer.header("content-length")), (expected, "1000"));
        assert_eq!(answer.whole().len(), 0);
    }
    assert_eq!(get("/a").of(proxy.addr).await.whole(), &body(1, 1000));
    let unchanged = get("/a").header("if-none-match", "\"one\"").of(proxy.addr).await;
    assert_eq!((unchanged.status, unchanged.cache()), (StatusCode::NOT_MODIFIED, "hit"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_large_body_lies_in_a_file_of_its_own_and_comes_back_equal() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", body(1, 9 << 20)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for expected in ["miss", "hit"] {
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!(answer.cache(), expected);
        assert!(answer.whole() == &body(1, 9 << 20), "other bytes at a {expected}");
    }
    let objects = std::fs::read_dir(dir.path().join("objects")).expect("a folder").count();
    assert_eq!(objects, 1);
}

#[tokio::test]
async fn an_empty_body_is_a_body() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", Bytes::new()).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for expected in ["miss", "hit"] {
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!((answer.cache(), answer.whole().len()), (expected, 0));
    }
}

#[tokio::test]
async fn ranges_are_cut_from_what_is_stored() {
    for len in LENGTHS {
        let dir = tempdir().expect("a directory");
        let origin = Origin::of("max-age=60", body(1, len)).await;
        let proxy = Proxy::start(dir.path(), origin.addr).await;
        // A range up to the end has the whole body fetched.
        for expected in ["miss", "hit"] {
            let answer = get("/a").header("range", "bytes=7000-").of(proxy.addr).await;
            assert_eq!((answer.status, answer.cache()), (StatusCode::PARTIAL_CONTENT, expected));
            assert!(answer.whole() == &body(1, len).slice(7000..));
            assert_eq!(answer.header("content-range"), format!("bytes 7000-{}/{len}", len - 1));
        }
        for (range, start, end) in [("0-0", 0, 1), ("-5", len - 5, len), ("9990-99999999", 9990, len)] {
            let answer = get("/a").header("range", &format!("bytes={range}")).of(proxy.addr).await;
            assert_eq!(answer.whole(), &body(1, len).slice(start..end), "{range} of {len}");
        }
        let beyond = get("/a").header("range", &format!("bytes={len}-")).of(proxy.addr).await;
        assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(get("/a").of(proxy.addr).await.whole(), &body(1, len));
        assert_eq!(origin.count(), 1);
    }
}

#[tokio::test]
async fn a_bounded_range_that_misses_is_asked_of_the_origin_and_not_stored() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::start(|asked| match asked.headers.get("range") {
        Some(_) => {
            builder("max-age=60").status(206).body(whole(body(1, 3 << 20).slice(..100))).expect("a response")
        }
        None => with("max-age=60", body(1, 3 << 20)),
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    let range = get("/a").header("range", "bytes=0-99");
    for (ask, expected) in [(&range, "range"), (&get("/a"), "miss"), (&range, "hit")] {
        let answer = ask.of(proxy.addr).await;
        assert_eq!(answer.cache(), expected);
        assert!(answer.whole().starts_with(&body(1, 100)));
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn several_ranges_come_in_one_answer() {
    for len in LENGTHS {
        let dir = tempdir().expect("a directory");
        let origin = Origin::of("max-age=60", body(1, len)).await;
        let proxy = Proxy::start(dir.path(), origin.addr).await;
        get("/a").of(proxy.addr).await;
        let answer = get("/a").header("range", "bytes=100-199,8000-8099").of(proxy.addr).await;
        assert_eq!((answer.status, answer.cache()), (StatusCode::PARTIAL_CONTENT, "hit"));
        assert!(answer.header("content-type").starts_with("multipart/byteranges"), "{answer:?}");
        let all = answer.whole();
        for part in [8000..8100, 100..200] {
            let part = body(1, len).slice(part);
            assert!(all.windows(part.len()).any(|window| window == part), "a part of {len} is missing");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_miss_at_the_same_time_share_one_fetch() {
    let dir = tempdir().expect("a directory");
    let (sender, pieces) = pieces();
    let (begun, pieces) = (Arc::new(tokio::sync::Notify::new()), Mutex::new(Some(pieces)));
    let tell = begun.clone();
    let origin = Origin::start(move |_| {
        tell.notify_one();
        let pieces = pieces.lock().expect("no panic").take().expect("asked once");
        builder("max-age=60").body(pieces).expect("a response")
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    let clients: Vec<_> =
        (0..20).map(|_| tokio::spawn(async move { get("/a").of(proxy.addr).await })).collect();
    begun.notified().await;
    for n in 0..20 {
        sender.send(Ok(body(n, 100_000))).expect("the proxy reads");
    }
    drop(sender);
    let expected: Vec<u8> = (0..20).flat_map(|n| body(n, 100_000)).collect();
    for client in clients {
        assert!(client.await.expect("no panic").whole() == &expected, "other bytes");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_was_stored_is_served_by_the_next_proxy_on_the_same_directory() {
    let dir = tempdir().expect("a directory");
    let origin =
        Origin::start(|asked| with("max-age=60", body(asked.path.len() as u64, asked.path.len() << 18)))
            .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for path in ["/a", "/abcdefgh", "/purged"] {
        get(path).of(proxy.addr).await;
    }
    purge("/purged").of(proxy.addr).await;
    proxy.close().await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for (path, expected) in [("/a", "hit"), ("/abcdefgh", "hit"), ("/purged", "miss")] {
        let answer = get(path).of(proxy.addr).await;
        assert_eq!(answer.cache(), expected, "{path}");
        assert!(answer.whole() == &body(path.len() as u64, path.len() << 18), "{path}");
    }
}
