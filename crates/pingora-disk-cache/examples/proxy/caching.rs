//! What the proxy does with each request: Pingora's callbacks.

use super::purge;
use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use pingora_cache::{
    CacheKey, CacheMeta, CacheMetaDefaults, CachePhase, NoCacheReason, PurgeAction,
    RespCacheable::{self, Uncacheable},
    VarianceBuilder,
    cache_control::CacheControl,
    filters::resp_cacheable,
    key::HashBinary,
    lock::{CacheKeyLockImpl, CacheLock},
};
use pingora_core::prelude::HttpPeer;
use pingora_disk_cache::DiskCacheStorage;
use pingora_error::{Error, ErrorSource, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};
use std::{net::SocketAddr, sync::OnceLock, time::Duration};

/// What the origin says nothing of is not stored.
const DEFAULTS: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);

/// Who has waited this long for another's fetch competes to fetch anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy in front of one origin, with a cache as soon as there is one.
pub(crate) struct CachingProxy {
    origin: SocketAddr,
    storage: &'static OnceLock<DiskCacheStorage>,
    /// One fetch for all that miss the same response.
    lock: &'static CacheKeyLockImpl,
}

impl CachingProxy {
    pub(crate) fn new(origin: SocketAddr, storage: &'static OnceLock<DiskCacheStorage>) -> Self {
        Self { origin, storage, lock: Box::leak(CacheLock::new_boxed(PATIENCE)) }
    }
}

#[async_trait]
impl ProxyHttp for CachingProxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.origin, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(10));
        Ok(Box::new(peer))
    }

    /// Purges of more than one key, which Pingora does not know.
    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        match self.storage.get() {
            Some(storage) if session.req_header().method == PURGE => purge::answer(session, storage).await,
            _ => Ok(false),
        }
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        let suits =
            matches!(session.req_header().method, Method::GET | Method::HEAD) || self.is_purge(session, &());
        if let Some(storage) = self.storage.get()
            && suits
        {
            // No eviction manager: the disk cache evicts by itself.
            session.cache.enable(storage, None, None, Some(self.lock), None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut ()) -> Result<CacheKey> {
        Ok(CacheKey::new(url(session.req_header()), ""))
    }

    /// A range that ends before the body does is asked of the origin as it is, and not stored: Pingora would fetch the whole
    /// body, and drop it half filled when the client has its range. The others fill the cache.
    fn cache_miss(&self, session: &mut Session, (): &mut ()) {
        if has_bounded_range(session.req_header()) {
            session.cache.disable(NoCacheReason::Custom("range"));
        } else {
            session.cache.cache_miss();
        }
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        (): &mut (),
    ) -> Result<RespCacheable> {
        let varies_by_all = response.headers.get_all(header::VARY).iter().any(|names| names == "*");
        if varies_by_all || response.headers.contains_key(header::SET_COOKIE) {
            return Ok(Uncacheable(NoCacheReason::OriginNotCache));
        }
        let control = CacheControl::from_resp_headers(response);
        let authorized = session.req_header().headers.contains_key(header::AUTHORIZATION);
        Ok(resp_cacheable(control.as_ref(), response.clone(), authorized, &DEFAULTS))
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        (): &mut (),
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        let mut variance = VarianceBuilder::new();
        let lines = meta.headers().get_all(header::VARY).iter().filter_map(|line| line.to_str().ok());
        for name in lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase()) {
            let values: Vec<_> = request.headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
            variance.add_owned_name_value(name, values.join(&b", "[..]));
        }
        variance.finalize()
    }

    /// `stale-while-revalidate` where it is granted, `stale-if-error` where the origin failed.
    fn should_serve_stale(&self, _: &mut Session, (): &mut (), error: Option<&Error>) -> bool {
        error.is_none_or(|error| error.esource() == &ErrorSource::Upstream)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()> {
        let told = match session.cache.phase() {
            CachePhase::Disabled(reason) => reason.as_str(),
            phase => phase.as_str(),
        };
        response.insert_header("x-cache", told)
    }

    fn is_purge(&self, session: &Session, (): &()) -> bool {
        session.req_header().method == PURGE
    }

    fn purge_action(&self, session: &Session, (): &()) -> PurgeAction {
        if purge::is_soft(session.req_header()) { PurgeAction::Expire } else { PurgeAction::Delete }
    }
}

/// Whether a `Range` names a last byte, for one of its ranges at least.
fn has_bounded_range(request: &RequestHeader) -> bool {
    let range = request.headers.get(header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let ranges = range.split_once('=').map_or("", |(_, ranges)| ranges);
    ranges.split(',').any(|range| matches!(range.trim().split_once('-'), Some((first, last)) if !first.is_empty() && !last.is_empty()))
}

pub(crate) const PURGE: &str = "PURGE";

/// Host and path: a host has no slash and a path begins with one, so that no two URLs look alike.
pub(crate) fn url(request: &RequestHeader) -> String {
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri.host()).unwrap_or_default().to_ascii_lowercase();
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{host}{path}")
}
