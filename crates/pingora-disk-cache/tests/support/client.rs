//! One request, one connection, which stays open as long as the answer is kept: Pingora ends a fill whose client is gone.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// An error where the body broke off.
    pub body: Result<Bytes, hyper::Error>,
    connection: Connection,
}

/// An answer whose body is still to be read.
pub struct Begun {
    answer: Response<Incoming>,
    connection: Connection,
}

impl Begun {
    /// The next piece of the body.
    pub async fn piece(&mut self) -> Bytes {
        let frame = self.answer.body_mut().frame().await.expect("a piece").expect("a piece");
        frame.into_data().expect("no trailers")
    }

    pub async fn rest(self) -> Answer {
        let (parts, body) = self.answer.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        Answer { status: parts.status, headers: parts.headers, body, connection: self.connection }
    }
}

#[derive(Debug)]
struct Connection {
    task: JoinHandle<Result<(), hyper::Error>>,
    /// With it gone the connection would end.
    _sender: SendRequest<Empty<Bytes>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answer {
    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// What the cache did.
    pub fn cache(&self) -> &str {
        self.header("x-cache")
    }

    /// The body, which must be whole.
    pub fn whole(&self) -> &Bytes {
        self.body.as_ref().expect("a whole body")
    }
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
}

pub fn get(path: &str) -> Ask {
    Ask { method: "GET", path: path.to_owned(), headers: Vec::new() }
}

pub fn purge(path: &str) -> Ask {
    Ask { method: "PURGE", ..get(path) }
}

pub fn head(path: &str) -> Ask {
    Ask { method: "HEAD", ..get(path) }
}

impl Ask {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub async fn of(&self, proxy: SocketAddr) -> Answer {
        self.over(tokio::net::TcpStream::connect(proxy).await.expect("the proxy listens")).await
    }

    pub async fn over(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Answer {
        self.begin(stream).await.rest().await
    }

    /// Waits for the header only.
    pub async fn begun_by(&self, proxy: SocketAddr) -> Begun {
        self.begin(tokio::net::TcpStream::connect(proxy).await.expect("the proxy listens")).await
    }

    pub async fn begin(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Begun {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        let task = tokio::spawn(connection);
        let answer = sender.send_request(self.request()).await.expect("an answer");
        Begun { answer, connection: Connection { task, _sender: sender } }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request =
            Request::builder().method(self.method).uri(&self.path).header("host", "example.com");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Empty::new()).expect("a request")
    }
}
