//! Origins, bodies and caches that fail.

use super::*;
use crate::body::streamed;
use futures_util::stream;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpSocket;

/// An origin that works at first and answers 503 once it is told to.
async fn failing_later(control: &'static str) -> (Setup, Arc<AtomicBool>) {
    let down = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&down);
    let script = Script::start(move |_| {
        if told.load(Ordering::SeqCst) {
            status(503, &[], "down")
        } else {
            ok(&[("cache-control", control), ("etag", "\"v1\"")], "body")
        }
    })
    .await;
    (Setup::before(&script.url).await, down)
}

#[tokio::test]
async fn a_stale_entry_stands_in_for_an_origin_that_fails() {
    let (setup, down) = failing_later("max-age=60, stale-if-error=600").await;
    setup.get("/").await;
    down.store(true, Ordering::SeqCst);
    setup.pass_time(100);
    let answer = setup.get("/").await;
    assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::OK, "STALE", "body"));
    assert_eq!(answer.header("age"), "100");
    let answer = setup.head("/").await;
    assert_eq!((answer.cache(), answer.header("content-length")), ("STALE", "4"));
    let part = setup.get_with("/", &[("range", "bytes=1-2")]).await;
    assert_eq!((part.status, part.cache(), part.text()), (StatusCode::PARTIAL_CONTENT, "STALE", "od"));
    let answer = setup.get_with("/", &[("cache-control", "no-cache")]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    setup.pass_time(600);
    let answer = setup.get("/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::SERVICE_UNAVAILABLE, "down"));
}

#[tokio::test]
async fn a_stale_entry_stands_in_only_where_that_is_allowed() {
    for control in [
        "max-age=60",
        "max-age=60, stale-if-error=0",
        "max-age=60, must-revalidate, stale-if-error=600",
        "max-age=60, proxy-revalidate, stale-if-error=600",
        "no-cache, stale-if-error=600",
    ] {
        let (setup, down) = failing_later(control).await;
        setup.get("/").await;
        down.store(true, Ordering::SeqCst);
        setup.pass_time(100);
        let answer = setup.get("/").await;
        assert_eq!((answer.status, answer.cache()), (StatusCode::SERVICE_UNAVAILABLE, "BYPASS"), "{control}");
        down.store(false, Ordering::SeqCst);
        assert_eq!(setup.get("/").await.text(), "body");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_there_is_a_502() {
    let url = raw_origin(b"").await;
    let setup = Setup::before(&url).await;
    let answer = setup.get("/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::BAD_GATEWAY, "the origin does not answer\n"));
    // Bound, so that it is nobody else's either, and never listened on.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let setup = Setup::before(&format!("http://{}", bound.local_addr().unwrap())).await;
    assert_eq!(setup.get("/").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(setup.send(Method::POST, "/", &[], "x").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_origin_that_does_not_answer_in_time_is_a_504() {
    let script = Script::start_async(|_, _| Box::pin(std::future::pending())).await;
    let short = Duration::from_millis(20);
    let timeouts = Timeouts { header: short, ..Timeouts::default() };
    let setup = Setup::with(&script.url, timeouts).await;
    assert_eq!(setup.get("/").await.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_stale_entry_stands_in_for_an_origin_that_falls_silent() {
    let asked = AtomicBool::new(false);
    let script = Script::start_async(move |_, _| {
        if asked.swap(true, Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let answer = ok(&[("cache-control", "max-age=60, stale-if-error=600")], "body");
        Box::pin(std::future::ready(answer))
    })
    .await;
    // Long enough for the first answer on a slow machine.
    let timeouts = Timeouts { header: Duration::from_secs(3), ..Timeouts::default() };
    let setup = Setup::with(&script.url, timeouts).await;
    setup.get("/").await;
    setup.pass_time(100);
    let answer = setup.get("/").await;
    assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::OK, "STALE", "body"));
}

#[tokio::test]
async fn an_entry_that_does_not_read_is_fetched_again() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    setup.damage().await;
    let answer = setup.get("/").await;
    assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::OK, "MISS", "body"));
    let answer = setup.get("/").await;
    assert_eq!((answer.cache(), answer.text()), ("HIT", "body"));
}

#[tokio::test]
async fn a_body_that_stalls_is_broken_off_and_not_stored() {
    let script = Script::start(|_| {
        let first = stream::once(std::future::ready(Ok(Bytes::from_static(b"first"))));
        let endless = futures_util::StreamExt::chain(first, stream::pending());
        Response::builder().header("cache-control", "max-age=60").body(streamed(endless)).unwrap()
    })
    .await;
    let timeouts = Timeouts { idle: Duration::from_millis(20), ..Timeouts::default() };
    let setup = Setup::with(&script.url, timeouts).await;
    assert_eq!(setup.get("/").await.body, None);
    assert_eq!(setup.entries(), 0);
}

#[tokio::test]
async fn a_truncated_body_is_broken_off_and_not_stored() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 10\r\n\r\n01234"[..],
        b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n",
    ] {
        let setup = Setup::before(&raw_origin(answer).await).await;
        assert_eq!(setup.get("/").await.body, None);
        // What did arrive may be served; a whole body of that is not.
        let part = setup.get_with("/", &[("range", "bytes=0-1")]).await;
        assert!(part.body.is_none() || part.status == StatusCode::PARTIAL_CONTENT && part.text() == "01");
        assert_eq!(setup.entries(), 0);
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_passed_on_but_not_stored() {
    let url = raw_origin(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\r\nwhole?").await;
    let setup = Setup::before(&url).await;
    let answer = setup.get("/").await;
    assert_eq!((answer.cache(), answer.text(), setup.entries()), ("BYPASS", "whole?", 0));
}

#[tokio::test]
async fn a_body_over_the_limit_bypasses_the_cache() {
    let large = "x".repeat(MAX_BODY as usize + 1);
    let (body, part) = (large.clone(), "x".repeat(MAX_BODY as usize));
    let script = Script::start(move |request| match request.uri.path() {
        "/fits" => ok(&[("cache-control", "max-age=60")], &part),
        _ => ok(&[("cache-control", "max-age=60")], &body),
    })
    .await;
    let setup = Setup::before(&script.url).await;
    for _ in 0..2 {
        let answer = setup.get("/large").await;
        assert_eq!((answer.cache(), answer.text()), ("BYPASS", large.as_str()));
    }
    assert_eq!(setup.entries(), 0);
    setup.get("/fits").await;
    assert_eq!(setup.get("/fits").await.cache(), "HIT");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_stored_up_to_the_limit() {
    let script = Script::start(|request| {
        let pieces = if request.uri.path() == "/large" { 11 } else { 10 };
        let pieces = (0..pieces).map(|_| Ok(Bytes::from(vec![b'x'; MAX_BODY as usize / 10])));
        Response::builder()
            .header("cache-control", "max-age=60")
            .body(streamed(stream::iter(pieces)))
            .unwrap()
    })
    .await;
    let setup = Setup::before(&script.url).await;
    assert_eq!(setup.get("/large").await.text().len(), MAX_BODY as usize / 10 * 11);
    assert_eq!(setup.get("/large").await.cache(), "MISS");
    let part = setup.get_with("/large", &[("range", "bytes=0-0")]).await;
    assert_eq!((part.status, part.cache(), part.text()), (StatusCode::PARTIAL_CONTENT, "MISS", "x"));
    assert_eq!(setup.entries(), 0);
    setup.get("/fits").await;
    let hit = setup.get("/fits").await;
    assert_eq!((hit.cache(), hit.text().len()), ("HIT", MAX_BODY as usize));
    assert_eq!(hit.header("content-length"), "1000");
}

#[tokio::test]
async fn a_header_too_long_for_the_cache_bypasses_it() {
    let long = "x".repeat(disk_cache::MAX_META_LEN);
    let script = Script::start(move |_| ok(&[("cache-control", "max-age=60"), ("x-long", &long)], "b")).await;
    let setup = Setup::before(&script.url).await;
    let answer = setup.get("/").await;
    assert_eq!((answer.cache(), answer.text(), setup.entries()), ("BYPASS", "b", 0));
}

#[tokio::test]
async fn a_cache_that_fails_never_fails_a_request() {
    let script = Script::start(|request| match request.headers.get("range") {
        Some(_) => status(206, &[("content-range", "bytes 1-2/4")], "od"),
        None => ok(&[("cache-control", "max-age=60")], "body"),
    })
    .await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    // A closed cache refuses everything.
    setup.cache.close().await.unwrap();
    for path in ["/", "/other"] {
        let answer = setup.get(path).await;
        assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::OK, "MISS", "body"));
        let part = setup.get_with(path, &[("range", "bytes=1-2")]).await;
        assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "od"));
    }
    assert_eq!(setup.send(Method::POST, "/", &[], "x").await.status, StatusCode::OK);
}
