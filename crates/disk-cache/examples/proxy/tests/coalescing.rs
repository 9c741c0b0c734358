//! Many clients, one fetch: bodies that are read while they are written.

use super::*;
use crate::body::streamed;
use futures_util::{StreamExt as _, stream};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc};

/// An origin whose body comes piece by piece, as told.
struct Dripping {
    script: Script,
    pieces: mpsc::UnboundedSender<&'static str>,
}

impl Dripping {
    async fn start(headers: &'static [(&'static str, &'static str)]) -> Self {
        let (pieces, taken) = mpsc::unbounded_channel();
        let taken = Mutex::new(Some(taken));
        let script = Script::start(move |_| {
            // The second time there would be nothing left to tell.
            let mut taken = taken.lock().unwrap().take().expect("the origin is asked once");
            let body = stream::poll_fn(move |cx| taken.poll_recv(cx));
            let mut response = Response::builder().header("cache-control", "max-age=60");
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(streamed(body.map(|piece: &str| Ok(Bytes::from(piece))))).unwrap()
        })
        .await;
        Self { script, pieces }
    }
}

/// A client that reads its answer as it comes.
struct Reading {
    cache: String,
    status: StatusCode,
    body: Incoming,
}

impl Reading {
    async fn next(&mut self) -> Option<Bytes> {
        self.body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
    }
}

impl Setup {
    async fn reading(&self, path: &str, headers: &[(&str, &str)]) -> Reading {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().uri(path).header("host", "proxy.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let (head, body) = client.send_request(request).await.unwrap().into_parts();
        let cache = head.headers["x-cache"].to_str().unwrap().to_owned();
        Reading { cache, status: head.status, body }
    }
}

#[tokio::test]
async fn clients_read_a_body_while_it_is_fetched_and_the_origin_is_asked_once() {
    let origin = Dripping::start(&[]).await;
    let setup = Setup::before(&origin.script.url).await;
    origin.pieces.send("first").unwrap();
    let mut one = setup.reading("/", &[]).await;
    let mut two = setup.reading("/", &[]).await;
    assert_eq!((one.cache.as_str(), two.cache.as_str()), ("MISS", "JOINED"));
    assert_eq!((one.next().await.unwrap(), two.next().await.unwrap()), ("first".into(), "first".into()));
    origin.pieces.send("second").unwrap();
    assert_eq!((one.next().await.unwrap(), two.next().await.unwrap()), ("second".into(), "second".into()));
    drop(origin.pieces);
    assert!(one.next().await.is_none() && two.next().await.is_none());
    let hit = setup.get("/").await;
    assert_eq!((hit.cache(), hit.text(), origin.script.count()), ("HIT", "firstsecond", 1));
}

#[tokio::test]
async fn a_part_of_a_body_on_its_way_is_served_as_soon_as_it_is_there() {
    let origin = Dripping::start(&[("content-length", "10")]).await;
    let setup = Setup::before(&origin.script.url).await;
    origin.pieces.send("01234").unwrap();
    let whole = setup.reading("/", &[]).await;
    let mut part = setup.reading("/", &[("range", "bytes=2-3")]).await;
    assert_eq!((part.status, part.next().await.unwrap()), (StatusCode::PARTIAL_CONTENT, "23".into()));
    let unchanged = setup.get_with("/", &[("range", "bytes=10-")]).await;
    assert_eq!(unchanged.status, StatusCode::RANGE_NOT_SATISFIABLE);
    origin.pieces.send("56789").unwrap();
    drop(origin.pieces);
    assert_eq!(whole.body.collect().await.unwrap().to_bytes(), "0123456789");
    // The end was held back until the body was stored.
    assert_eq!(setup.get("/").await.cache(), "HIT");
}

#[tokio::test]
async fn a_part_of_a_body_of_unknown_length_is_served_once_it_is_there() {
    let origin = Dripping::start(&[]).await;
    let setup = Setup::before(&origin.script.url).await;
    origin.pieces.send("01234").unwrap();
    let mut whole = setup.reading("/", &[]).await;
    let part = setup.get_with("/", &[("range", "bytes=2-3")]).await;
    assert_eq!((part.status, part.cache(), part.text()), (StatusCode::PARTIAL_CONTENT, "JOINED", "23"));
    assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 2-3/*", "2"));
    // Nobody knows yet what that would be.
    let mut open = setup.reading("/", &[("range", "bytes=2-")]).await;
    assert_eq!((open.status, open.next().await.unwrap()), (StatusCode::OK, "01234".into()));
    let (cut, beyond, ()) = tokio::join!(
        setup.get_with("/", &[("range", "bytes=3-9")]),
        setup.get_with("/", &[("range", "bytes=8-9")]),
        async {
            origin.pieces.send("567").unwrap();
            drop(origin.pieces);
        }
    );
    assert_eq!((cut.status, cut.text()), (StatusCode::PARTIAL_CONTENT, "34567"));
    assert_eq!(cut.header("content-range"), "bytes 3-7/8");
    assert_eq!((beyond.status, beyond.text()), (StatusCode::RANGE_NOT_SATISFIABLE, ""));
    assert_eq!(beyond.header("content-range"), "bytes */8");
    let mut seen = Vec::new();
    while let Some(piece) = whole.next().await {
        seen.extend_from_slice(&piece);
    }
    assert_eq!((seen, origin.script.count()), (b"01234567".to_vec(), 1));
}

#[tokio::test]
async fn a_fetch_goes_on_when_the_client_that_began_it_hangs_up() {
    let origin = Dripping::start(&[]).await;
    let setup = Setup::before(&origin.script.url).await;
    origin.pieces.send("first").unwrap();
    drop(setup.reading("/", &[]).await);
    let mut other = setup.reading("/", &[]).await;
    origin.pieces.send("last").unwrap();
    drop(origin.pieces);
    let mut seen = Vec::new();
    while let Some(piece) = other.next().await {
        seen.extend_from_slice(&piece);
    }
    assert_eq!((seen, origin.script.count()), (b"firstlast".to_vec(), 1));
    assert_eq!(setup.get("/").await.cache(), "HIT");
}

/// An origin that answers when it is let.
async fn held(answer: fn(&Parts) -> Response<Body>) -> (Script, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let script = Script::start_async(move |request, _| {
        let wait = Arc::clone(&wait);
        Box::pin(async move {
            wait.notified().await;
            wait.notify_one();
            answer(&request)
        })
    })
    .await;
    (script, go)
}

const CLIENTS: usize = 100;

/// As many clients at once, the origin answering only when all have asked.
async fn crowd(setup: &Setup, go: &Notify, headers: &[(&str, &str)]) -> Vec<Answer> {
    let all = futures_util::future::join_all((0..CLIENTS).map(|_| setup.get_with("/", headers)));
    let release = async {
        // Some may still be on their way: they join late, or hit.
        tokio::task::yield_now().await;
        go.notify_one();
    };
    tokio::join!(all, release).0
}

#[tokio::test]
async fn a_crowd_that_misses_at_once_costs_one_fetch_and_gets_equal_bytes() {
    let (script, go) = held(|_| ok(&[("cache-control", "max-age=60")], "body")).await;
    let setup = Setup::before(&script.url).await;
    for answer in crowd(&setup, &go, &[]).await {
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "body"));
    }
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_crowd_that_wants_the_same_variant_costs_one_fetch() {
    let (script, go) = held(|_| ok(&[("cache-control", "max-age=60"), ("vary", "accept")], "body")).await;
    let setup = Setup::before(&script.url).await;
    for answer in crowd(&setup, &go, &[("accept", "text/plain")]).await {
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "body"));
    }
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_crowd_gets_what_must_not_be_stored_each_for_itself() {
    let (script, go) = held(|_| ok(&[("cache-control", "no-store")], "mine")).await;
    let setup = Setup::before(&script.url).await;
    for answer in crowd(&setup, &go, &[]).await {
        assert_eq!((answer.status, answer.text(), answer.cache()), (StatusCode::OK, "mine", "BYPASS"));
    }
    assert_eq!((script.count(), setup.entries()), (CLIENTS, 0));
}

#[tokio::test]
async fn a_crowd_that_must_ask_the_origin_each_is_sent_one_body() {
    let (script, go) = held(|request| {
        let fields = [("cache-control", "no-cache"), ("etag", "\"v1\"")];
        let known = request.headers.get("if-none-match").is_some_and(|tag| tag == "\"v1\"");
        if known { status(304, &fields, "") } else { ok(&fields, "body") }
    })
    .await;
    let setup = Setup::before(&script.url).await;
    // While it is fetched, and when it is stored.
    for _ in 0..2 {
        for answer in crowd(&setup, &go, &[]).await {
            assert_eq!((answer.status, answer.text()), (StatusCode::OK, "body"));
        }
    }
    let seen = script.seen.lock().unwrap();
    let bodies = seen.iter().filter(|request| !request.headers.contains_key("if-none-match")).count();
    assert_eq!((bodies, seen.len()), (1, 2 * CLIENTS), "each asks, and one is answered with a body");
}

#[tokio::test]
async fn a_crowd_gets_a_body_that_the_cache_cannot_take() {
    let (script, go) = held(|_| {
        let pieces = (0..40).map(|n| Ok(Bytes::from(vec![n; 100_000])));
        let body = streamed(stream::iter(pieces));
        Response::builder().header("cache-control", "max-age=60").body(body).unwrap()
    })
    .await;
    // Of unknown length, found to be too large when half of it is through.
    let setup =
        Setup::limited(Origin::Http(HttpOrigin::new(&script.url, Timeouts::default()).unwrap()), 2_000_000)
            .await;
    let all = futures_util::future::join_all((0..8).map(|_| setup.get("/")));
    let (answers, ()) = tokio::join!(all, async { go.notify_one() });
    let expected: Vec<u8> = (0..40).flat_map(|n| vec![n; 100_000]).collect();
    for answer in answers {
        assert_eq!(answer.body.expect("a whole body"), expected);
    }
    assert_eq!(setup.entries(), 0);
}

#[tokio::test]
async fn a_crowd_hears_of_an_origin_that_is_gone() {
    let url = raw_origin(b"").await;
    let setup = Setup::before(&url).await;
    let all = futures_util::future::join_all((0..CLIENTS).map(|_| setup.get("/")));
    for answer in all.await {
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn a_stale_response_is_served_while_it_is_revalidated() {
    let changed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&changed);
    let script = Script::start(move |_| {
        let body = if told.load(Ordering::SeqCst) { "new" } else { "old" };
        let tag = format!("\"{body}\"");
        ok(&[("cache-control", "max-age=60, stale-while-revalidate=600"), ("etag", &tag)], body)
    })
    .await;
    let setup = Setup::before(&script.url).await;
    setup.get("/").await;
    changed.store(true, Ordering::SeqCst);
    setup.pass_time(100);
    let answer = setup.get("/").await;
    assert_eq!((answer.cache(), answer.text()), ("STALE", "old"));
    // The fetch behind it replaces the body.
    loop {
        let answer = setup.get("/").await;
        if answer.cache() == "HIT" {
            assert_eq!(answer.text(), "new");
            break;
        }
        assert!(matches!(answer.cache(), "STALE" | "JOINED" | "MISS"), "{answer:?}");
    }
    setup.pass_time(1000);
    assert_eq!(setup.get("/").await.cache(), "MISS", "too old even for that");
}

#[tokio::test]
async fn a_purge_by_prefix_or_tag_removes_what_it_means() {
    let script = Script::start(|request| {
        let tag = if request.uri.path().ends_with('1') { "odd all" } else { "even all" };
        ok(&[("cache-control", "max-age=60"), ("surrogate-key", tag)], "body")
    })
    .await;
    let setup = Setup::before(&script.url).await;
    let fill = async || {
        for path in ["/a/1", "/a/2", "/b/1"] {
            setup.get(path).await;
            assert_eq!(setup.get(path).await.cache(), "HIT");
        }
    };
    let purge = async |path: &str, headers: &[(&str, &str)]| {
        let method = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(setup.ask(method, path, headers).await.status, StatusCode::OK);
        let mut left = Vec::new();
        for path in ["/a/1", "/a/2", "/b/1"] {
            left.push(setup.get_with(path, &[("cache-control", "only-if-cached")]).await.cache() == "HIT");
        }
        left
    };
    fill().await;
    assert_eq!(purge("/a/*", &[]).await, [false, false, true]);
    fill().await;
    assert_eq!(purge("/", &[("surrogate-key", "odd")]).await, [false, true, false]);
    fill().await;
    assert_eq!(purge("/", &[("surrogate-key", "none even")]).await, [true, false, true]);
    fill().await;
    assert_eq!(purge("/", &[("surrogate-key", "all")]).await, [false, false, false]);
}

#[tokio::test]
async fn a_tag_purged_while_its_response_is_on_its_way_keeps_it_out() {
    let origin = Dripping::start(&[("surrogate-key", "news")]).await;
    let setup = Setup::before(&origin.script.url).await;
    origin.pieces.send("old").unwrap();
    let mut reading = setup.reading("/", &[]).await;
    assert_eq!(reading.next().await.unwrap(), "old");
    let method = Method::from_bytes(b"PURGE").unwrap();
    setup.ask(method, "/", &[("surrogate-key", "news")]).await;
    drop(origin.pieces);
    assert!(reading.next().await.is_none(), "the client gets its body");
    assert_eq!(setup.entries(), 0);
}
