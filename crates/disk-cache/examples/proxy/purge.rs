//! `PURGE`: by path, by prefix, by tag.

use crate::{
    headers,
    plan::SURROGATE_KEY,
    proxy::{Proxy, text},
};
use bytes::Bytes;
use disk_cache::{CacheKey, PurgeScope};
use http::{HeaderMap, Response, StatusCode};
use std::net::IpAddr;

impl Proxy {
    /// Removes all variants of a URL; all URLs that begin so where it ends in `*`; or, with `Surrogate-Key`, all responses
    /// with one of these tags, whatever the URL.
    pub(crate) async fn purge(
        &self,
        key: &CacheKey,
        request: &HeaderMap,
        peer: IpAddr,
    ) -> Response<crate::body::Body> {
        if !peer.to_canonical().is_loopback() {
            return text(StatusCode::FORBIDDEN, "only this machine may purge\n");
        }
        let tags = headers::words(request, &SURROGATE_KEY);
        let prefix = key.path().strip_suffix(b"*");
        let mut known = self.cache().contains(key);
        let scopes = if !tags.is_empty() {
            tags.into_iter().map(PurgeScope::Tag).collect()
        } else if let Some(prefix) = prefix {
            let namespace = Bytes::copy_from_slice(key.namespace());
            vec![PurgeScope::Prefix { namespace, prefix: Bytes::copy_from_slice(prefix) }]
        } else {
            vec![path_scope(key)]
        };
        // Nothing tells what a wider purge has met.
        known |= !matches!(&scopes[..], [PurgeScope::Path { .. }]);
        for scope in scopes {
            if !self.invalidate(scope).await {
                return text(StatusCode::INTERNAL_SERVER_ERROR, "gone for now, but not noted on the disk\n");
            }
        }
        if known { text(StatusCode::OK, "purged\n") } else { text(StatusCode::NOT_FOUND, "was not cached\n") }
    }

    /// Purges; fetches under way of what is meant do not store what they get.
    pub(crate) async fn invalidate(&self, scope: PurgeScope) -> bool {
        self.cache().purge(scope).await.map_err(|e| self.report(&e)).is_ok()
    }
}

/// All variants of a URL.
pub(crate) fn path_scope(key: &CacheKey) -> PurgeScope {
    let namespace = Bytes::copy_from_slice(key.namespace());
    PurgeScope::Path { namespace, path: Bytes::copy_from_slice(key.path()) }
}
