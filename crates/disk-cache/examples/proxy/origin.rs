//! Where responses come from.

use crate::{body::Body, file_server::FileServer, http_origin::HttpOrigin};
use http::{HeaderValue, Request, Response};

/// Where responses come from: both answer the same requests, the file server without a second socket.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The built-in server of a folder.
    Files(FileServer),
    /// A server spoken to over HTTP/1.1.
    Http(HttpOrigin),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    /// The origin cannot be reached, or broke off before its header was through.
    #[error("the origin cannot be reached: {0}")]
    Unreachable(String),
    /// It does not answer in time.
    #[error("the origin did not answer in time")]
    Timeout,
}

impl Origin {
    /// Asks for a response. Only its head has arrived then; a body that ends early ends in an error.
    ///
    /// # Errors
    /// [`OriginError`]; a response with an error status is a response.
    pub(crate) async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, OriginError> {
        match self {
            Self::Files(files) => Ok(files.fetch(request).await),
            Self::Http(http) => http.fetch(request).await,
        }
    }

    /// What requests to it name as their host.
    pub(crate) fn host(&self) -> HeaderValue {
        match self {
            Self::Files(_) => HeaderValue::from_static("localhost"),
            Self::Http(http) => http.host(),
        }
    }

    /// The namespace of its responses in the cache, so that one cache directory serves several origins, one at a time.
    pub(crate) fn namespace(&self) -> String {
        match self {
            Self::Files(files) => format!("file://{}", files.root().display()),
            Self::Http(http) => http.base().to_owned(),
        }
    }
}
