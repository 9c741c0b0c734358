//! What is stored, for how long, and for whom.

use super::*;

#[tokio::test]
async fn a_second_get_is_a_hit_with_the_same_bytes() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60"), ("x-own", "1")], "body")).await;
    let setup = Setup::before(&script.url).await;
    let first = setup.get("/a?b=c").await;
    assert_eq!((first.cache(), first.text(), first.header("x-own")), ("MISS", "body", "1"));
    setup.pass_time(7);
    let second = setup.get("/a?b=c").await;
    assert_eq!((second.cache(), second.text(), second.header("x-own")), ("HIT", "body", "1"));
    assert_eq!((second.header("age"), second.header("content-length")), ("7", "4"));
    assert_eq!(script.count(), 1);
    assert_eq!(setup.get("/a?b=d").await.cache(), "MISS");
}

#[tokio::test]
async fn what_must_not_be_stored_bypasses_the_cache() {
    for control in ["no-store", "private", "private, max-age=60", "no-store, max-age=60"] {
        let script = Script::start(move |_| ok(&[("cache-control", control)], "secret")).await;
        let setup = Setup::before(&script.url).await;
        for _ in 0..2 {
            let answer = setup.get("/").await;
            assert_eq!((answer.cache(), answer.text()), ("BYPASS", "secret"), "{control}");
        }
        assert_eq!((script.count(), setup.entries()), (2, 0), "{control}");
    }
}

#[tokio::test]
async fn a_request_with_credentials_is_stored_only_where_the_origin_says_so() {
    let script = Script::start(|request| {
        let control = if request.uri.path() == "/public" { "public, max-age=60" } else { "max-age=60" };
        ok(&[("cache-control", control)], "body")
    })
    .await;
    let setup = Setup::before(&script.url).await;
    let credentials = [("authorization", "Basic dTpw"), ("cookie", "secret-session=1")];
    assert_eq!(setup.get_with("/mine", &credentials).await.cache(), "BYPASS");
    assert_eq!(setup.get_with("/public", &credentials).await.cache(), "MISS");
    assert_eq!(setup.get("/public").await.cache(), "HIT");
}

#[tokio::test]
async fn a_cookie_is_not_handed_to_the_next_client() {
    let script = Script::start(|_| ok(&[("set-cookie", "id=1"), ("etag", "\"1\"")], "body")).await;
    let setup = Setup::before(&script.url).await;
    assert_eq!(setup.get("/").await.cache(), "BYPASS");
    assert_eq!(setup.entries(), 0);
}

#[tokio::test]
async fn an_entry_past_its_max_age_is_fetched_again() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    setup.pass_time(59);
    assert_eq!(setup.get("/").await.cache(), "HIT");
    setup.pass_time(2);
    assert_eq!(setup.get("/").await.cache(), "MISS");
    assert_eq!(setup.get("/").await.cache(), "HIT");
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn an_entry_that_the_origin_confirms_is_a_hit_again() {
    let script = Script::start(|request| match request.headers.get("if-none-match") {
        Some(tag) if tag == "\"v1\"" => {
            status(304, &[("etag", "\"v1\""), ("cache-control", "max-age=30"), ("x-round", "2")], "")
        }
        _ => ok(&[("etag", "\"v1\""), ("cache-control", "max-age=60"), ("x-round", "1")], "body"),
    })
    .await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    setup.pass_time(61);
    let confirmed = setup.get("/").await;
    assert_eq!((confirmed.status, confirmed.cache(), confirmed.text()), (StatusCode::OK, "HIT", "body"));
    assert_eq!((confirmed.header("age"), confirmed.header("x-round")), ("0", "2"));
    setup.pass_time(29);
    assert_eq!((setup.get("/").await.header("age"), script.count()), ("29", 2));
    setup.pass_time(2);
    setup.get("/").await;
    assert_eq!(script.count(), 3);
}

#[tokio::test]
async fn a_changed_response_replaces_the_stale_one() {
    let script = Script::start(|request| {
        let body = if request.headers.contains_key("if-none-match") { "new" } else { "old" };
        ok(&[("etag", &format!("\"{body}\"")), ("cache-control", "max-age=60")], body)
    })
    .await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    setup.pass_time(61);
    let answer = setup.get("/").await;
    assert_eq!((answer.cache(), answer.text()), ("MISS", "new"));
    let answer = setup.get("/").await;
    assert_eq!((answer.cache(), answer.text()), ("HIT", "new"));
}

#[tokio::test]
async fn a_confirmation_of_another_response_leads_to_a_plain_fetch() {
    let script = Script::start(|request| {
        if request.headers.contains_key("if-none-match") {
            status(304, &[("etag", "\"other\"")], "")
        } else {
            ok(&[("etag", "\"v1\""), ("cache-control", "max-age=60")], "body")
        }
    })
    .await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    setup.pass_time(61);
    let answer = setup.get("/").await;
    assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::OK, "MISS", "body"));
    assert_eq!(script.count(), 3);
}

#[tokio::test]
async fn an_origin_that_only_ever_confirms_is_not_asked_forever() {
    let script = Script::start(|_| status(304, &[("etag", "\"x\"")], "")).await;
    let setup = Setup::before(&script.url).await;
    assert_eq!(setup.get("/").await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_response_that_is_no_longer_to_be_kept_drives_the_old_one_out() {
    let script = Script::start(|request| {
        if request.headers.contains_key("if-none-match") {
            ok(&[("cache-control", "no-store")], "new")
        } else {
            ok(&[("etag", "\"v1\""), ("cache-control", "max-age=60, stale-if-error=600")], "old")
        }
    })
    .await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    setup.pass_time(61);
    assert_eq!(setup.get("/").await.cache(), "BYPASS");
    assert_eq!(setup.entries(), 0);
}

#[tokio::test]
async fn variants_of_one_url_live_side_by_side() {
    let script = Script::start(|request| {
        let language = request.headers.get("accept-language").map_or("none", |v| v.to_str().unwrap());
        ok(&[("cache-control", "max-age=60"), ("vary", "Accept-Language")], language)
    })
    .await;
    let setup = Setup::before(&script.url).await;
    for cache in ["MISS", "HIT"] {
        for language in ["de", "en"] {
            let answer = setup.get_with("/", &[("accept-language", language)]).await;
            assert_eq!((answer.cache(), answer.text()), (cache, language));
        }
        let answer = setup.get("/").await;
        assert_eq!((answer.cache(), answer.text()), (cache, "none"));
    }
    assert_eq!(script.count(), 3);
}

#[tokio::test]
async fn responses_of_one_url_may_name_different_headers() {
    let script = Script::start(|request| {
        let vary = if request.headers.contains_key("x-second") { "x-first, x-second" } else { "x-first" };
        ok(&[("cache-control", "max-age=60"), ("vary", vary)], vary)
    })
    .await;
    let setup = Setup::before(&script.url).await;
    let (one, two) = ([("x-first", "1")], [("x-first", "1"), ("x-second", "2")]);
    setup.get_with("/", &two).await;
    setup.get_with("/", &one).await;
    let (first, second) = (setup.get_with("/", &one).await, setup.get_with("/", &two).await);
    assert_eq!((first.cache(), first.text()), ("HIT", "x-first"));
    assert_eq!((second.cache(), second.text()), ("HIT", "x-first, x-second"));
}

#[tokio::test]
async fn what_varies_by_everything_is_not_stored() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60"), ("vary", "*")], "body")).await;
    let setup = Setup::before(&script.url).await;
    assert_eq!(setup.get("/").await.cache(), "BYPASS");
    assert_eq!(setup.get("/").await.cache(), "BYPASS");
}

#[tokio::test]
async fn a_client_may_insist_on_the_origin_or_on_the_cache() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let setup = Setup::before(&script.url).await;
    let only_cached = [("cache-control", "only-if-cached")];
    assert_eq!(setup.get_with("/", &only_cached).await.status, StatusCode::GATEWAY_TIMEOUT);
    setup.get("/").await;
    assert_eq!(setup.get_with("/", &only_cached).await.cache(), "HIT");
    assert_eq!(setup.get_with("/", &[("cache-control", "no-cache")]).await.cache(), "MISS");
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn fields_of_several_lines_come_from_the_cache_as_they_came_from_the_origin() {
    let script = Script::start(|_| {
        ok(
            &[
                ("cache-control", "public"),
                ("cache-control", "max-age=60"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ],
            "",
        )
    })
    .await;
    let setup = Setup::before(&script.url).await;
    for cache in ["MISS", "HIT"] {
        let answer = setup.get("/").await;
        assert_eq!(answer.cache(), cache);
        let lines = |name| answer.headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(lines("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(lines("cache-control"), ["public", "max-age=60"]);
        assert_eq!(lines("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
    }
}

#[tokio::test]
async fn an_origin_that_claims_an_endless_age_breaks_nothing() {
    let headers = [("cache-control", "max-age=60"), ("age", "18446744073709551615"), ("etag", "\"1\"")];
    let script = Script::start(move |_| ok(&headers, "body")).await;
    let setup = Setup::before(&script.url).await;
    for _ in 0..2 {
        setup.pass_time(5);
        assert_eq!(setup.get("/").await.text(), "body");
    }
}

#[tokio::test]
async fn a_head_is_answered_from_a_stored_get() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let setup = Setup::before(&script.url).await;
    let miss = setup.head("/").await;
    assert_eq!((miss.cache(), miss.header("content-length"), setup.entries()), ("MISS", "4", 0));
    setup.get("/").await;
    let hit = setup.head("/").await;
    assert_eq!((hit.cache(), hit.text(), hit.header("content-length")), ("HIT", "", "4"));
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn a_client_that_has_the_body_gets_a_304_from_the_cache() {
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let headers = [("cache-control", "max-age=60"), ("etag", "\"v1\""), ("last-modified", MODIFIED)];
    let script = Script::start(move |_| ok(&headers, "body")).await;
    let setup = Setup::before(&script.url).await;
    // The first one too: the origin is asked for the whole, and the answer made here.
    for (cache, condition) in [
        ("MISS", ("if-none-match", "\"v0\", W/\"v1\"")),
        ("HIT", ("if-none-match", "\"v1\"")),
        ("HIT", ("if-modified-since", MODIFIED)),
    ] {
        let answer = setup.get_with("/", &[condition]).await;
        assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::NOT_MODIFIED, cache, ""));
        assert_eq!((answer.header("etag"), answer.header("content-type")), ("\"v1\"", ""));
    }
    let answer = setup.get_with("/", &[("if-none-match", "\"v0\"")]).await;
    assert_eq!((answer.status, answer.cache(), answer.text()), (StatusCode::OK, "HIT", "body"));
    assert_eq!(script.count(), 1);
}
