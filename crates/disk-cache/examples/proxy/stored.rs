//! A response in the cache: the rules it is under, and what of its header the rules do not keep.
//!
//! All rules of caching are those of `http-cache-semantics`. It looks at one line a header field and keeps one, so it is
//! given joined lines, and fields of several lines are put back as they came. It writes `Date` anew, in a format that
//! is not HTTP's, so that one is put back as well.

use crate::{headers, vary::VaryIndex};
use disk_cache::Expiry;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, request, response};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// How long a response that is no longer fresh is kept at least: it may be revalidated.
const KEEP_STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Nothing is kept for longer.
const KEEP_MOST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The oldest `Age` that is believed (RFC 9111, 1.2.2); the sum of a greater one and a duration might overflow.
const MAX_AGE: u64 = 1 << 31;

/// A response in the cache, but its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredResponse {
    policy: CachePolicy,
    #[serde(with = "http_serde::header_map")]
    verbatim: HeaderMap,
    /// Seconds for which it may be served stale where the origin fails; `None` where that is forbidden.
    stale_if_error: Option<u64>,
    /// Seconds for which it may be served stale while it is revalidated.
    #[serde(default)]
    stale_while_revalidate: u64,
    /// The request headers that chose it.
    vary: VaryIndex,
}

impl StoredResponse {
    /// The response, if it may be stored and is worth it. `request` is a GET with one line a header field.
    pub(crate) fn of(request: &request::Parts, head: &response::Parts, now: SystemTime) -> Option<Self> {
        let vary = VaryIndex::of(&head.headers)?;
        let (joined, verbatim) = split(&head.headers, now);
        let mut response = response_of(head, joined);
        if !CachePolicy::new_options(request, &response, now, CacheOptions::default()).is_storable() {
            return None;
        }
        let policy = CachePolicy::new_options(&slim(request, &vary), &response, now, CacheOptions::default());
        let (stale_if_error, stale_while_revalidate) = stale(&response.headers);
        let fresh = policy.time_to_live(now) > Duration::ZERO;
        if response.headers.remove(header::SET_COOKIE).is_some() && !fresh {
            // Revalidated, it would hand one client's cookie to another.
            return None;
        }
        let validators = [header::ETAG, header::LAST_MODIFIED];
        let useful =
            fresh || stale_if_error > Some(0) || validators.iter().any(|v| response.headers.contains_key(v));
        useful.then_some(Self { policy, verbatim, stale_if_error, stale_while_revalidate, vary })
    }

    /// Whether it answers a request, and if not what to ask the origin.
    pub(crate) fn before_request(&self, request: &request::Parts, now: SystemTime) -> BeforeRequest {
        self.policy.before_request(request, now)
    }

    /// Its head for a request that the origin failed to answer, if that is allowed.
    pub(crate) fn if_error(&self, request: &request::Parts, now: SystemTime) -> Option<response::Parts> {
        let wished = headers::directive(&request.headers, "stale-if-error").and_then(|s| s.parse().ok());
        self.stale_for(self.stale_if_error?.max(wished.unwrap_or(0)), request, now)
    }

    /// Its head for a request that is answered while the origin is asked whether it still holds, if that is allowed.
    pub(crate) fn while_revalidated(
        &self,
        request: &request::Parts,
        now: SystemTime,
    ) -> Option<response::Parts> {
        self.stale_for(self.stale_while_revalidate, request, now)
    }

    /// Its head where it may be stale for so many seconds. The rules do not know that, they know `max-stale`: the request is
    /// taken to say it for as long.
    fn stale_for(&self, allowed: u64, request: &request::Parts, now: SystemTime) -> Option<response::Parts> {
        let mut tolerant = request.clone();
        let directives = headers::list(&request.headers, &header::CACHE_CONTROL)
            .filter(|d| !d.to_ascii_lowercase().starts_with("max-stale"))
            .chain([format!("max-stale={allowed}").as_str()])
            .collect::<Vec<_>>()
            .join(", ");
        tolerant.headers.insert(header::CACHE_CONTROL, HeaderValue::from_str(&directives).ok()?);
        match self.policy.before_request(&tolerant, now) {
            BeforeRequest::Fresh(head) if allowed > 0 => Some(head),
            _ => None,
        }
    }

    /// The response after the origin's 304, with its head; `None` where the 304 is about another one.
    pub(crate) fn refreshed(
        &self,
        request: &request::Parts,
        not_modified: &response::Parts,
        now: SystemTime,
    ) -> Option<(Self, response::Parts)> {
        let other_variants = not_modified.headers.contains_key(header::VARY)
            && VaryIndex::of(&not_modified.headers).as_ref() != Some(&self.vary);
        if other_variants {
            // The response would lie under another key from now on.
            return None;
        }
        let (joined, news) = split(&not_modified.headers, now);
        let mut verbatim = self.verbatim.clone();
        for name in joined.keys() {
            verbatim.remove(name);
        }
        verbatim.extend(news);
        let response = response_of(not_modified, joined);
        match self.policy.after_response(&slim(request, &self.vary), &response, now) {
            AfterResponse::NotModified(policy, head) => {
                let (stale_if_error, stale_while_revalidate) = stale(&head.headers);
                let vary = self.vary.clone();
                Some((Self { policy, verbatim, stale_if_error, stale_while_revalidate, vary }, head))
            }
            AfterResponse::Modified(..) => None,
        }
    }

    /// Puts fields of several lines, and `Date`, back into a head that the rules made.
    pub(crate) fn restore(&self, headers: &mut HeaderMap) {
        headers.extend(self.verbatim.clone());
    }

    /// The request headers that chose it.
    pub(crate) fn vary(&self) -> &VaryIndex {
        &self.vary
    }

    /// How long to keep it.
    pub(crate) fn expiry(&self, now: SystemTime) -> Expiry {
        let longest = self.stale_if_error.unwrap_or(0).max(self.stale_while_revalidate);
        let stale = Duration::from_secs(longest).max(KEEP_STALE);
        Expiry::After(self.policy.time_to_live(now).saturating_add(stale).min(KEEP_MOST))
    }
}

/// A response's fields with one line each, and those to put back as they came. A response without a date gets one, as
/// every recipient with a clock must give it (RFC 9110, 6.6.1).
fn split(headers: &HeaderMap, now: SystemTime) -> (HeaderMap, HeaderMap) {
    let mut joined = headers::joined(headers);
    let age = headers::list(headers, &header::AGE).next().and_then(|age| age.parse::<u64>().ok());
    if let Some(age) = age.filter(|age| *age > MAX_AGE) {
        joined.insert(header::AGE, age.min(MAX_AGE).into());
    }
    let mut verbatim = HeaderMap::new();
    for name in headers.keys().filter(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        for line in headers.get_all(name) {
            verbatim.append(name, line.clone());
        }
    }
    verbatim.remove(header::AGE);
    let date = headers.get(header::DATE).cloned();
    let date = date.or_else(|| HeaderValue::from_str(&httpdate::fmt_http_date(now)).ok());
    if let Some(date) = date {
        joined.insert(header::DATE, date.clone());
        verbatim.insert(header::DATE, date);
    }
    (joined, verbatim)
}

fn response_of(head: &response::Parts, headers: HeaderMap) -> response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.headers) = (head.status, headers);
    parts
}

/// The request as far as the rules look at it again. The rest, such as a client's cookies, has no business on a disk.
fn slim(request: &request::Parts, vary: &VaryIndex) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri) = (Method::GET, request.uri.clone());
    for name in vary.names().chain([header::HOST.as_str()]) {
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), request.headers.get(name))
        {
            parts.headers.insert(name, value.clone());
        }
    }
    parts
}

/// For how many seconds a response may be served stale where the origin fails, `None` for one that must be revalidated, and
/// for how many while it is revalidated.
fn stale(headers: &HeaderMap) -> (Option<u64>, u64) {
    let forbidden = ["no-cache", "must-revalidate", "proxy-revalidate"];
    if forbidden.iter().any(|name| headers::directive(headers, name).is_some()) {
        return (None, 0);
    }
    let seconds = |name| headers::directive(headers, name).and_then(|s| s.parse().ok()).unwrap_or(0);
    (Some(seconds("stale-if-error")), seconds("stale-while-revalidate"))
}
