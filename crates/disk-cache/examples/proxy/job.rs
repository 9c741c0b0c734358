//! One request that the cache may answer.

use crate::{conditions::Conditions, headers, stored::StoredResponse, vary::VaryIndex};
use disk_cache::{CacheKey, Hit, MAX_KEY_LEN};
use http::{Method, header, request::Parts};

/// One request that the cache may answer: a GET or HEAD without a body.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The plain key of the URL.
    pub(crate) key: CacheKey,
    /// The request as it goes to the origin where it bypasses the cache.
    pub(crate) original: Parts,
    /// The GET for the whole resource, with one line a header field: what is looked up, fetched and stored.
    pub(crate) request: Parts,
    /// What the client asks of the resource.
    pub(crate) conditions: Conditions,
    /// Whether the client wants no body.
    pub(crate) head_only: bool,
    /// Which headers are known to choose among variants.
    pub(crate) index: VaryIndex,
}

/// A response that the cache has for a request.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where.
    pub(crate) key: CacheKey,
    /// Its body.
    pub(crate) hit: Hit,
    /// Its header, and the rules it is under.
    pub(crate) stored: StoredResponse,
}

impl Job {
    /// A job of a request's header.
    pub(crate) fn new(key: CacheKey, original: Parts) -> Self {
        let mut request = original.clone();
        request.headers = headers::joined(&original.headers);
        request.method = Method::GET;
        let conditions = Conditions::take(&mut request.headers);
        let head_only = original.method == Method::HEAD;
        let conditions = if head_only { conditions.without_range() } else { conditions };
        Self { key, original, request, conditions, head_only, index: VaryIndex::default() }
    }

    /// Whether a request is one for the cache, going by its header.
    pub(crate) fn suits(request: &Parts, key: &CacheKey) -> bool {
        let guarded = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
        (request.method == Method::GET || request.method == Method::HEAD)
            && !guarded.iter().any(|name| request.headers.contains_key(name))
            && key.as_bytes().len() <= MAX_KEY_LEN
    }

    /// The key of the request's variant, by these headers.
    pub(crate) fn key_by(&self, names: &VaryIndex) -> CacheKey {
        if names.is_empty() {
            return self.key.clone();
        }
        self.key.clone().with_variant(names.variant(&self.request.headers))
    }

    /// Whether the client wants what is stored to be asked for anew.
    pub(crate) fn insists(&self) -> bool {
        headers::directive(&self.request.headers, "no-cache").is_some()
    }

    /// Whether the client wants nothing from the origin.
    pub(crate) fn only_if_cached(&self) -> bool {
        headers::directive(&self.request.headers, "only-if-cached").is_some()
    }
}
