//! The example's proxy, which is a real Pingora, between a client and an origin.
#![cfg(unix)]

#[path = "../examples/proxy/main.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod example;
mod support;

use bytes::Bytes;
use disk_cache::ByteSize;
use hyper::StatusCode;
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use support::{
    body,
    client::{get, head, purge},
    origin::{Origin, builder, pieces, whole, with},
    proxy::{self, Proxy},
};
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

/// Below and above the length from which bodies lie in files of their own.
const LENGTHS: [usize; 2] = [10_000, 3 << 20];

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
    let fresh = loop {
        let answer = get("/a").of(proxy.addr).await;
        if answer.cache() == "hit" {
            break answer;
        }
    };
    assert_eq!(fresh.whole(), &body(2, 1000));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_purged_response_is_fetched_again() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", body(1, 1000)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    get("/a").of(proxy.addr).await;
    assert_eq!(purge("/a").of(proxy.addr).await.status, StatusCode::OK);
    assert_eq!(purge("/a").of(proxy.addr).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get("/a").of(proxy.addr).await.cache(), "miss");
    assert_eq!(get("/a").of(proxy.addr).await.cache(), "hit");
}

#[tokio::test]
async fn a_soft_purge_has_the_stored_body_revalidated() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::start(|asked| {
        if asked.headers.contains_key("if-none-match") {
            return builder("max-age=60").status(304).body(whole(Bytes::new())).expect("a response");
        }
        with("max-age=60", body(1, 1000))
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    get("/a").of(proxy.addr).await;
    let soft = [purge("/a"), purge("/*"), purge("/").header("surrogate-key", "none of it")];
    for (purge, expected) in soft.into_iter().zip(["revalidated", "revalidated", "hit"]) {
        assert_eq!(purge.header("x-purge", "soft").of(proxy.addr).await.status, StatusCode::OK);
        let answer = get("/a").of(proxy.addr).await;
        assert_eq!((answer.cache(), answer.whole()), (expected, &body(1, 1000)));
        assert_eq!(get("/a").of(proxy.addr).await.cache(), "hit");
    }
}

#[tokio::test]
async fn a_purge_by_prefix_goes_by_the_url_that_was_hashed() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::of("max-age=60", body(1, 1000)).await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    let paths = ["/images/a.jpg", "/images/b.jpg", "/index.html"];
    for path in paths {
        get(path).of(proxy.addr).await;
    }
    assert_eq!(purge("/images/*").of(proxy.addr).await.status, StatusCode::OK);
    for (path, expected) in paths.into_iter().zip(["miss", "miss", "hit"]) {
        assert_eq!(get(path).of(proxy.addr).await.cache(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_purge_by_tag_goes_by_the_surrogate_keys() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::start(|asked| {
        let tags = if asked.path == "/c" { "sport" } else { "news product-17" };
        builder("max-age=60").header("surrogate-key", tags).body(whole(body(1, 1000))).expect("a response")
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    for path in ["/a", "/b", "/c"] {
        get(path).of(proxy.addr).await;
    }
    assert_eq!(purge("/").header("surrogate-key", "product-17").of(proxy.addr).await.status, StatusCode::OK);
    for (path, expected) in ["/a", "/b", "/c"].into_iter().zip(["miss", "miss", "hit"]) {
        assert_eq!(get(path).of(proxy.addr).await.cache(), expected, "{path}");
    }
}

#[tokio::test]
async fn each_variant_is_a_response_of_its_own_and_one_purge_reaches_all() {
    let dir = tempdir().expect("a directory");
    let origin = Origin::start(|asked| {
        let language = asked.headers.get("accept-language").map_or("", |l| l.to_str().expect("text"));
        builder("max-age=60")
            .header("vary", "Accept-Language")
            .body(whole(language.to_owned().into()))
            .expect("one")
    })
    .await;
    let proxy = Proxy::start(dir.path(), origin.addr).await;
    let ask = |language| get("/a").header("accept-language", language);
    for expected in ["miss", "hit"] {
        for language in ["en", "de", "fr"] {
            let answer = ask(language).of(proxy.addr).await;
            assert_eq!((answer.cache(), &answer.whole()[..]), (expected, language.as_bytes()));
        }
    }
    assert_eq!(origin.count(), 3);
    assert_eq!(purge("/a").of(proxy.addr).await.status, StatusCode::OK);
    for language in ["de", "en", "fr"] {
        let answer = ask(language).of(proxy.addr).await;
        assert_eq!((answer.cache(), &answer.whole()[..]), ("miss", language.as_bytes()));
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
    // The proxy finds out when it writes on; the body never ends.
    while sender.send(Ok(body(1, 1 << 16))).is_ok() {
        tokio::task::yield_now().await;
    }
    let answer = get("/a").of(proxy.addr).await;
    assert_eq!(answer.cache(), "miss");
    assert!(answer.whole() == &body(2, 2 << 20));
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
        let mut response = builder("max-age=60");
        // More than 64 tags: it could not be purged by them.
        response = response.header("surrogate-key", (0..65).map(|n| format!("tag-{n} ")).collect::<String>());
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
