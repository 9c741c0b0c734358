//! One request, one connection.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// An error where the body broke off.
    pub body: Result<Bytes, hyper::Error>,
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
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(self.request()).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        connection.abort();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Takes the first piece of the body and hangs up.
    pub async fn hang_up_midway(&self, proxy: SocketAddr) {
        let stream = tokio::net::TcpStream::connect(proxy).await.expect("the proxy listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let mut answer = sender.send_request(self.request()).await.expect("an answer");
        answer.body_mut().frame().await.expect("a piece").expect("a piece");
        connection.abort();
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(&self.path).header("host", "example.com");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(Empty::new()).expect("a request")
    }
}
