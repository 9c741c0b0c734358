//! An origin spoken to over HTTP/1.1.

use crate::{
    body::{Body, BoxError, streamed},
    origin::OriginError,
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue, Request, Response, Uri, Version,
    uri::{Authority, Scheme},
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::time::Duration;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

/// How long the origin may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// To accept a connection.
    pub(crate) connect: Duration,
    /// From the end of the request to the response's header.
    pub(crate) header: Duration,
    /// Between two pieces of a body.
    pub(crate) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            header: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// An origin spoken to over HTTP/1.1, with a pool of connections.
#[derive(Debug)]
pub(crate) struct HttpOrigin {
    client: Client<HttpConnector, Body>,
    base: String,
    authority: Authority,
    timeouts: Timeouts,
}

/// What is wrong with the URL of an origin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OriginUrlError {
    /// There is no TLS here.
    #[error("https origins are not supported: give a http:// URL, or put a TLS tunnel between")]
    Https,
    /// Not a URL as needed.
    #[error("{0:?} is not the URL of an origin: write http://host[:port][/path]")]
    Malformed(String),
}

impl HttpOrigin {
    /// The origin at `url`; a path in it is put before the path of each request.
    ///
    /// # Errors
    /// [`OriginUrlError`].
    pub(crate) fn new(url: &str, timeouts: Timeouts) -> Result<Self, OriginUrlError> {
        let malformed = || OriginUrlError::Malformed(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Err(OriginUrlError::Https);
        }
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(malformed)?.clone();
        if uri.scheme() != Some(&Scheme::HTTP) || uri.query().is_some() {
            return Err(malformed());
        }
        let base = format!("http://{authority}{}", uri.path().trim_end_matches('/'));
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeouts.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .set_host(false)
            .build(connector);
        Ok(Self { client, base, authority, timeouts })
    }

    /// The URL without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The `Host` of requests to it.
    pub(crate) fn host(&self) -> HeaderValue {
        HeaderValue::from_str(self.authority.as_str()).unwrap_or(HeaderValue::from_static("origin"))
    }

    /// Asks for a response.
    ///
    /// # Errors
    /// [`OriginError`].
    pub(crate) async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, OriginError> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let unreachable = |error: &dyn std::error::Error| OriginError::Unreachable(chain(error));
        head.uri = format!("{}{path}", self.base).parse().map_err(|error| unreachable(&error))?;
        head.version = Version::HTTP_11;
        // Dropped with the body, that is when the request is through or given up: an upload may take its time.
        let (sent, all_sent) = oneshot::channel::<()>();
        let body = body.map_frame(move |frame| {
            let _until_dropped = &sent;
            frame
        });
        let response = self.client.request(Request::from_parts(head, body.boxed_unsync()));
        let late = async {
            all_sent.await.ok();
            sleep(self.timeouts.header).await;
        };
        let response = tokio::select! {
            response = response => response.map_err(|error| unreachable(&error))?,
            () = late => return Err(OriginError::Timeout),
        };
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(OriginError::Unreachable("it switched protocols without being asked".to_owned()));
        }
        let idle = self.timeouts.idle;
        let (head, body) = response.into_parts();
        let mut clean = Response::new(pieces(body, idle));
        (*clean.status_mut(), *clean.headers_mut()) = (head.status, head.headers);
        Ok(clean)
    }
}

/// The data of a body. One that stalls ends in an error.
fn pieces(body: Incoming, idle: Duration) -> Body {
    if hyper::body::Body::is_end_stream(&body) {
        return crate::body::empty();
    }
    streamed(stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        loop {
            let piece: Result<Bytes, BoxError> = match timeout(idle, body.frame()).await {
                Err(_) => Err("the origin stalled in the middle of a body".into()),
                Ok(None) => return None,
                Ok(Some(Err(error))) => Err(error.into()),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Some((Ok(data), Some(body))),
                    Err(_trailers) => continue,
                },
            };
            return Some((piece, None));
        }
    }))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Result<String, OriginUrlError> {
        HttpOrigin::new(url, Timeouts::default()).map(|origin| origin.base().to_owned())
    }

    #[tokio::test]
    async fn the_url_of_an_origin_is_plain_http() {
        assert_eq!(base("http://example.org").as_deref(), Ok("http://example.org"));
        assert_eq!(base("http://127.0.0.1:81/base/").as_deref(), Ok("http://127.0.0.1:81/base"));
        assert_eq!(base("https://example.org"), Err(OriginUrlError::Https));
        for url in ["", "example.org", "ftp://example.org", "http://", "http://a@b/", "http://b/?q=1"] {
            assert_eq!(base(url), Err(OriginUrlError::Malformed(url.to_owned())), "{url}");
        }
    }
}
