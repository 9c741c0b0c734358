//! Scenarios over real sockets: a client, the proxy, and an origin that answers as it is told.

mod caching;
mod coalescing;
mod failures;
mod files;
mod ranges;
mod requests;

use crate::{
    body::{Body, full},
    file_server::FileServer,
    http_origin::{HttpOrigin, Timeouts},
    origin::Origin,
    proxy::Proxy,
    server,
};
use bytes::Bytes;
use disk_cache::{BackendChoice, BoxFuture, ByteSize, DiskCache, ManualClock};
use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// An origin that answers as a function says, and remembers what it was asked.
struct Script {
    url: String,
    seen: Arc<Mutex<Vec<Parts>>>,
}

impl Script {
    async fn start(answer: impl Fn(&Parts) -> Response<Body> + Send + Sync + 'static) -> Self {
        Self::start_async(move |request, _body| Box::pin(std::future::ready(answer(&request)))).await
    }

    async fn start_async(
        answer: impl Fn(Parts, Bytes) -> BoxFuture<'static, Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, requests) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                    async move {
                        let (head, body) = request.into_parts();
                        requests.lock().unwrap().push(head.clone());
                        let body = body.collect().await.map_or_else(|_| Bytes::new(), Collected::to_bytes);
                        Ok::<_, Infallible>(answer(head, body).await)
                    }
                });
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen }
    }

    /// How often it was asked.
    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The last request's header.
    fn last(&self) -> Parts {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

/// An origin that sends these bytes to every connection and hangs up.
async fn raw_origin(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
        }
    });
    url
}

/// The proxy with its cache and clock at hand.
struct Setup {
    address: SocketAddr,
    cache: DiskCache,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

async fn open(dir: &Path, max_body: u64, clock: &Arc<ManualClock>) -> DiskCache {
    DiskCache::builder(dir.join("cache"))
        .capacity(ByteSize::mib(16))
        .min_free_space(ByteSize::default())
        .max_entry_size(ByteSize::bytes_of(max_body))
        .backend(BackendChoice::Tokio)
        .clock(Arc::clone(clock) as _)
        .open()
        .await
        .unwrap()
}

/// The limit for bodies in these tests.
const MAX_BODY: u64 = 1000;

impl Setup {
    async fn before(url: &str) -> Self {
        Self::with(url, Timeouts::default()).await
    }

    async fn with(url: &str, timeouts: Timeouts) -> Self {
        Self::over(Origin::Http(HttpOrigin::new(url, timeouts).unwrap())).await
    }

    async fn serving(root: &Path) -> Self {
        Self::over(Origin::Files(FileServer::new(root).unwrap())).await
    }

    async fn over(origin: Origin) -> Self {
        Self::limited(origin, MAX_BODY).await
    }

    /// With a cache that takes bodies of so many bytes.
    async fn limited(origin: Origin, max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(SystemTime::now()));
        let cache = open(dir.path(), max, &clock).await;
        let proxy = Proxy::new(cache.clone(), origin)
            .with_clock(Arc::clone(&clock) as _)
            .with_max_body(ByteSize::bytes_of(max));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(listener, Arc::new(proxy), std::future::pending()));
        Self { address, cache, clock, dir }
    }

    /// How many entries the cache has.
    fn entries(&self) -> u64 {
        self.cache.stats().entries
    }

    /// Inverts every byte of the log.
    async fn damage(&self) {
        self.cache.flush().await.unwrap();
        for file in std::fs::read_dir(self.dir.path().join("cache/segments")).unwrap() {
            let path = file.unwrap().path();
            let bytes: Vec<u8> = std::fs::read(&path).unwrap().iter().map(|byte| !byte).collect();
            std::fs::write(path, bytes).unwrap();
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers).await
    }

    async fn head(&self, path: &str) -> Answer {
        self.ask(Method::HEAD, path, &[]).await
    }

    async fn purge(&self, path: &str) -> Answer {
        self.ask(Method::from_bytes(b"PURGE").unwrap(), path, &[]).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(method, path, headers, "").await
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "proxy.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let (head, body) = client.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.ok().map(Collected::to_bytes);
        Answer { status: head.status, headers: head.headers, body }
    }

    fn pass_time(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// What the client got; no body where it broke off.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn cache(&self) -> &str {
        self.header("x-cache")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().expect("a whole body")).unwrap()
    }
}

/// A 200 with these headers.
fn ok(headers: &[(&str, &str)], body: &str) -> Response<Body> {
    status(200, headers, body)
}

fn status(code: u16, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(full(body.to_owned())).unwrap()
}
