//! Parts of bodies.

use super::*;

const DIGITS: &str = "0123456789";

async fn digits() -> (Script, Setup) {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")], DIGITS)).await;
    let setup = Setup::before(&script.url).await;
    (script, setup)
}

#[tokio::test]
async fn a_range_that_misses_fetches_and_stores_the_whole() {
    let (script, setup) = digits().await;
    let part = setup.get_with("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.cache(), part.text()), (StatusCode::PARTIAL_CONTENT, "MISS", "234"));
    assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 2-4/10", "3"));
    assert!(!script.last().headers.contains_key("range"));
    let whole = setup.get("/").await;
    assert_eq!((whole.cache(), whole.text()), ("HIT", DIGITS));
    assert_eq!(whole.header("accept-ranges"), "bytes");
}

#[tokio::test]
async fn ranges_are_served_from_the_cache() {
    let (script, setup) = digits().await;
    setup.get("/").await;
    for (range, text, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let part = setup.get_with("/", &[("range", range)]).await;
        assert_eq!((part.status, part.cache()), (StatusCode::PARTIAL_CONTENT, "HIT"), "{range}");
        assert_eq!((part.text(), part.header("content-range")), (text, content_range));
    }
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_range_past_the_end_is_a_416_with_the_length() {
    let (_script, setup) = digits().await;
    for _ in 0..2 {
        let answer = setup.get_with("/", &[("range", "bytes=10-")]).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::RANGE_NOT_SATISFIABLE, ""));
        assert_eq!(answer.header("content-range"), "bytes */10");
    }
}

#[tokio::test]
async fn several_ranges_and_heads_get_the_whole() {
    let (_script, setup) = digits().await;
    setup.get("/").await;
    let answer = setup.get_with("/", &[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, DIGITS));
    let answer = setup.ask(Method::HEAD, "/", &[("range", "bytes=0-1")]).await;
    assert_eq!((answer.status, answer.header("content-length")), (StatusCode::OK, "10"));
}

#[tokio::test]
async fn a_range_of_another_version_gets_the_whole() {
    let (_script, setup) = digits().await;
    setup.get("/").await;
    let answer = setup.get_with("/", &[("range", "bytes=0-1"), ("if-range", "\"v1\"")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::PARTIAL_CONTENT, "01"));
    let answer = setup.get_with("/", &[("range", "bytes=0-1"), ("if-range", "\"v0\"")]).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, DIGITS));
}

#[tokio::test]
async fn a_range_of_what_is_not_to_be_stored_is_left_to_the_origin() {
    let script = Script::start(|request| {
        if request.headers.contains_key("range") {
            status(206, &[("cache-control", "no-store"), ("content-range", "bytes 2-4/10")], "234")
        } else {
            ok(&[("cache-control", "no-store")], DIGITS)
        }
    })
    .await;
    let setup = Setup::before(&script.url).await;
    let part = setup.get_with("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.cache(), part.text()), (StatusCode::PARTIAL_CONTENT, "BYPASS", "234"));
    assert_eq!(setup.entries(), 0);
}
