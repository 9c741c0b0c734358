//! Purges by URL, prefix and tag, hard and soft.

use crate::support::{
    body,
    client::{get, purge},
    origin::{Origin, builder, whole, with},
    proxy::Proxy,
};
use bytes::Bytes;
use hyper::StatusCode;
use tempfile::tempdir;

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
