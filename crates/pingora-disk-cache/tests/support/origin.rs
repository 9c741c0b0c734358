//! An HTTP server whose answers a test decides, and which remembers what it was asked.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

pub type Body = BoxBody<Bytes, io::Error>;

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
}

/// Ends with the test.
pub struct Origin {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Origin {
    pub async fn start(answer: impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (all, answer) = (asked.clone(), Arc::new(answer));
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (all, answer) = (all.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let asked =
                        Asked { path: request.uri().path().to_owned(), headers: request.headers().clone() };
                    all.lock().expect("no panic").push(asked.clone());
                    let response = answer(&asked);
                    async move { Ok::<_, Infallible>(response) }
                });
                // A connection that ends early is what some tests are about.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { addr, asked, accepting }
    }

    /// One response for everything.
    pub async fn of(cache_control: &'static str, body: Bytes) -> Self {
        Self::start(move |_| with(cache_control, body.clone())).await
    }

    /// All that it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    pub fn count(&self) -> usize {
        self.asked().len()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A response with an `ETag` and a length.
pub fn with(cache_control: &str, body: Bytes) -> Response<Body> {
    builder(cache_control).body(whole(body)).expect("a response")
}

pub fn builder(cache_control: &str) -> http::response::Builder {
    Response::builder().header("cache-control", cache_control).header("etag", "\"one\"")
}

pub fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}

/// A body of unknown length whose pieces the test sends; it ends with the sender, and breaks off with an error.
pub fn pieces() -> (mpsc::UnboundedSender<io::Result<Bytes>>, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<io::Result<Bytes>>();
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures_util::StreamExt::map(stream, |piece| piece.map(Frame::data));
    (sender, StreamBody::new(frames).boxed())
}
