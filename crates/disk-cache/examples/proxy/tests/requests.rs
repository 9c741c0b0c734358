//! Methods and headers on their way through, and purges.

use super::*;
use tokio::sync::Notify;

#[tokio::test]
async fn other_methods_pass_with_their_bodies_and_drop_what_is_cached() {
    let script = Script::start_async(|request, body| {
        Box::pin(async move {
            let text = format!("{} {}", request.method, std::str::from_utf8(&body).unwrap());
            status(
                if request.uri.path() == "/refused" { 403 } else { 200 },
                &[("cache-control", "max-age=60")],
                &text,
            )
        })
    })
    .await;
    let setup = Setup::before(&script.url).await;
    for path in ["/", "/other", "/refused"] {
        setup.get(path).await;
    }
    let answer = setup.send(Method::POST, "/", &[], "data").await;
    assert_eq!((answer.cache(), answer.text()), ("BYPASS", "POST data"));
    assert_eq!(setup.get("/").await.cache(), "MISS");
    assert_eq!(setup.get("/other").await.cache(), "HIT");
    assert_eq!(setup.send(Method::OPTIONS, "/other", &[], "").await.text(), "OPTIONS ");
    assert_eq!(setup.get("/other").await.cache(), "HIT");
    assert_eq!(setup.send(Method::DELETE, "/other", &[], "").await.text(), "DELETE ");
    assert_eq!(setup.get("/other").await.cache(), "MISS");
}

#[tokio::test]
async fn a_get_with_a_body_or_a_guard_bypasses_the_cache() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    assert_eq!(setup.send(Method::GET, "/", &[], "x").await.cache(), "BYPASS");
    assert_eq!(setup.get_with("/", &[("if-match", "\"v1\"")]).await.cache(), "BYPASS");
    assert!(script.last().headers.contains_key("if-match"));
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it() {
    let script = Script::start(|_| {
        ok(
            &[
                ("cache-control", "max-age=60"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("x-end", "2"),
            ],
            "body",
        )
    })
    .await;
    let setup = Setup::before(&script.url).await;
    let sent = [
        ("connection", "keep-alive, x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic dTpw"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-end", "2"),
    ];
    for (method, cache) in [(Method::GET, "MISS"), (Method::GET, "HIT"), (Method::POST, "BYPASS")] {
        let answer = setup.ask(method, "/", &sent).await;
        assert_eq!((answer.cache(), answer.header("x-end")), (cache, "2"));
        for name in ["x-hop", "keep-alive", "connection"] {
            assert!(!answer.headers.contains_key(name), "{name} with {cache}");
        }
        let request = script.last();
        for name in ["x-private", "te", "proxy-authorization", "x-forwarded-host", "connection"] {
            assert!(!request.headers.contains_key(name), "{name} with {cache}");
        }
        assert_eq!(request.headers["x-end"], "2");
        assert_eq!(request.headers["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
        assert_eq!(request.headers["host"], script.url.trim_start_matches("http://"));
    }
}

#[tokio::test]
async fn upgrades_and_tunnels_are_refused() {
    let script = Script::start(|_| ok(&[], "")).await;
    let setup = Setup::before(&script.url).await;
    let answer = setup.get_with("/", &[("connection", "upgrade"), ("upgrade", "websocket")]).await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    assert_eq!(setup.ask(Method::OPTIONS, "*", &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(script.count(), 0);
}

#[tokio::test]
async fn the_path_of_the_origin_is_put_before_that_of_the_request() {
    let script = Script::start(|request| ok(&[], &request.uri.to_string())).await;
    let setup = Setup::before(&format!("{}/base/", script.url)).await;
    assert_eq!(setup.get("/a%20b?c=%2F").await.text(), "/base/a%20b?c=%2F");
    let absolute = setup.get("http://elsewhere.test/d").await;
    assert_eq!(absolute.text(), "/base/d");
}

#[tokio::test]
async fn a_purge_removes_all_variants_of_a_url() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60"), ("vary", "accept")], "body")).await;
    let setup = Setup::before(&script.url).await;
    assert_eq!(setup.purge("/").await.status, StatusCode::NOT_FOUND);
    let accepts = [[("accept", "a")], [("accept", "b")]];
    for accept in &accepts {
        setup.get_with("/", accept).await;
        setup.get_with("/other", accept).await;
    }
    let answer = setup.purge("/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "purged\n"));
    for accept in &accepts {
        assert_eq!(setup.get_with("/", accept).await.cache(), "MISS");
        assert_eq!(setup.get_with("/other", accept).await.cache(), "HIT");
    }
    setup.cache.close().await.unwrap();
    assert_eq!(setup.purge("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(script.count(), 6);
}

#[tokio::test]
async fn only_this_machine_may_purge() {
    let script = Script::start(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let origin = Origin::Http(HttpOrigin::new(&script.url, Timeouts::default()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let proxy = Arc::new(Proxy::new(open(dir.path(), MAX_BODY, &clock).await, origin));
    for (peer, expected) in
        [("192.0.2.1", 403), ("::ffff:192.0.2.1", 403), ("::1", 404), ("::ffff:127.0.0.1", 404)]
    {
        let request = Request::builder().method("PURGE").uri("/").body(crate::body::empty()).unwrap();
        let answer = Arc::clone(&proxy).handle(request, peer.parse().unwrap()).await;
        assert_eq!(answer.status().as_u16(), expected, "{peer}");
    }
}

#[tokio::test]
async fn what_was_fetched_before_a_purge_is_not_stored_after_it() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let script = Script::start_async(move |_, _| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        Box::pin(async move {
            tell.notify_one();
            wait.notified().await;
            ok(&[("cache-control", "max-age=60")], "old")
        })
    })
    .await;
    let setup = Setup::before(&script.url).await;
    let purge = async {
        asked.notified().await;
        setup.purge("/").await;
        go.notify_one();
    };
    let (answer, ()) = tokio::join!(setup.get("/"), purge);
    assert_eq!((answer.text(), setup.entries()), ("old", 0));
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_proxy_stops() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let script = Script::start_async(move |_, _| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        Box::pin(async move {
            tell.notify_one();
            wait.notified().await;
            ok(&[], "body")
        })
    })
    .await;
    let mut setup = Setup::before(&script.url).await;
    let origin = Origin::Http(HttpOrigin::new(&script.url, Timeouts::default()).unwrap());
    let proxy = Arc::new(Proxy::new(setup.cache.clone(), origin));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    setup.address = listener.local_addr().unwrap();
    let stop = async {
        asked.notified().await;
        go.notify_one();
    };
    let (answer, ()) = tokio::join!(setup.get("/"), server::serve(listener, proxy, stop));
    assert_eq!(answer.text(), "body");
    assert!(TcpStream::connect(setup.address).await.is_err());
}
