//! The proxy: from a client's request to its answer.
//!
//! **Invariants**: no error of the cache fails a request, it only costs a fetch; what is stored is a whole body whose end
//! was seen, and nothing that was fetched before its URL was invalidated; the cache holds whole responses only, and
//! ranges and conditions of clients are answered from those; of all clients that miss a URL at the same time one asks the
//! origin, and the others read along.

use crate::{
    body::{self, Body, counted, empty, full},
    counters::Counters,
    entry::Entry,
    error_log::ErrorLog,
    fill::{Fetch, Said},
    headers,
    job::{Found, Job},
    origin::{Origin, OriginError},
    purge::path_scope,
    selection::Selection,
    stored::StoredResponse,
    verdict::Verdict,
};
use disk_cache::{ByteSize, CacheKey, Clock, DiskCache, Error, Fetched, GetOptions, Hit, SystemClock};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request, response};
use http_cache_semantics::BeforeRequest;
use hyper::body::Body as _;
use std::{net::IpAddr, sync::Arc};
use tokio::sync::oneshot;

/// A caching reverse proxy over one origin and one cache.
#[derive(Debug)]
pub(crate) struct Proxy {
    cache: DiskCache,
    origin: Origin,
    namespace: String,
    clock: Arc<dyn Clock>,
    max_body: u64,
    counters: Counters,
    errors: ErrorLog,
}

/// The answer's field that says what the cache had to do with it.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

impl Proxy {
    /// A proxy with the system's clock.
    pub(crate) fn new(cache: DiskCache, origin: Origin) -> Self {
        Self {
            namespace: origin.namespace(),
            // Half of the capacity is the most that one entry may take.
            max_body: (cache.stats().capacity / 2).saturating_sub(ByteSize::mib(1).bytes()),
            cache,
            origin,
            clock: Arc::new(SystemClock),
            counters: Counters::default(),
            errors: ErrorLog::default(),
        }
    }

    /// With another clock.
    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another length from which on a body that announces it bypasses the cache.
    #[cfg(test)]
    pub(crate) fn with_max_body(mut self, max: ByteSize) -> Self {
        self.max_body = max.bytes();
        self
    }

    /// The cache.
    pub(crate) fn cache(&self) -> &DiskCache {
        &self.cache
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Bodies that announce more bytes bypass the cache.
    pub(crate) fn max_body(&self) -> u64 {
        self.max_body
    }

    /// Notes a failure of the cache.
    pub(crate) fn report(&self, error: &Error) {
        self.errors.report(error);
    }

    /// Logs one line of what was counted.
    pub(crate) fn log_counters(&self) {
        self.counters.log(&self.cache.stats());
    }

    /// Answers a request.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Body>, peer: IpAddr) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        if head.method == Method::CONNECT || head.headers.contains_key(header::UPGRADE) {
            return text(StatusCode::NOT_IMPLEMENTED, "tunnels and upgrades are not supported\n");
        }
        // Of an absolute URI too only the path counts: this proxy stands for one origin.
        let path = head.uri.path_and_query().map(|path| path.as_str().to_owned());
        let uri = path.filter(|path| path.starts_with('/')).and_then(|path| path.parse::<Uri>().ok());
        let Some(uri) = uri else { return text(StatusCode::BAD_REQUEST, "the path does not read\n") };
        let key = CacheKey::new(&self.namespace, uri.to_string());
        if head.method.as_str() == "PURGE" {
            return self.purge(&key, &head.headers, peer).await;
        }
        head.uri = uri;
        headers::forward(&mut head.headers, peer, &self.origin.host());
        if body.is_end_stream() && Job::suits(&head, &key) {
            Box::pin(self.cached(Job::new(key, head))).await
        } else {
            self.pass(&key, head, body).await
        }
    }

    /// From the cache where it can be, otherwise from the origin.
    async fn cached(self: Arc<Self>, mut job: Job) -> Response<Body> {
        let mut stale = None;
        let mut request = None;
        if let Some(found) = self.find(&mut job).await {
            let now = self.clock.now();
            match found.stored.before_request(&job.request, now) {
                BeforeRequest::Fresh(head) => {
                    if let Some(answer) = self.serve(&job, &found, head, Verdict::Hit).await {
                        return answer;
                    }
                }
                BeforeRequest::Stale { request: revalidation, matches: true } => {
                    if let Some(head) = found.stored.while_revalidated(&job.request, now)
                        && let Some(answer) = self.serve(&job, &found, head, Verdict::Stale).await
                    {
                        let fetch = self.shared(job, Some(found), revalidation);
                        tokio::spawn(async move { drop(fetch.await) });
                        return answer;
                    }
                    (stale, request) = (Some(found), Some(revalidation));
                }
                BeforeRequest::Stale { matches: false, .. } => {}
            }
        }
        if job.only_if_cached() {
            return text(StatusCode::GATEWAY_TIMEOUT, "not in the cache\n");
        }
        if job.head_only {
            // A HEAD brings no body to store, so there is nothing to gain from asking in other words.
            let request = job.original.clone();
            return self.alone(job, stale, request, Verdict::Miss).await;
        }
        let request = request.unwrap_or_else(|| job.request.clone());
        Box::pin(self.fetch(job, stale, request)).await
    }

    /// The fetch that all share who miss the same key; what it said, if it is this client's own.
    fn shared(
        self: &Arc<Self>,
        job: Job,
        found: Option<Found>,
        request: request::Parts,
    ) -> impl Future<Output = (Result<Fetched, Error>, Option<Said>)> + Send + 'static {
        let (said, mut heard) = oneshot::channel();
        let (cache, insists) = (self.cache.clone(), found.is_some() || job.insists());
        let key = found.as_ref().map_or_else(|| job.key_by(&job.index), |found| found.key.clone());
        let fetch = Fetch { proxy: Arc::clone(self), job, found, request, said };
        async move {
            let fetched = if insists {
                cache.refetch(&key, |fill| fetch.run(fill)).await
            } else {
                cache.get_or_fetch(&key, |fill| fetch.run(fill)).await
            };
            (fetched, heard.try_recv().ok())
        }
    }

    /// From the origin, together with all that miss the same; `found` is what the cache has, no longer fresh.
    async fn fetch(
        self: Arc<Self>,
        job: Job,
        found: Option<Found>,
        request: request::Parts,
    ) -> Response<Body> {
        let (fetched, said) = self.shared(job.clone(), found.clone(), request).await;
        match (said, fetched) {
            (Some(Said::Head(head)), Ok(Fetched::Following(follower)))
            | (Some(Said::Variant(head, follower)), _) => {
                self.follow(&job, &follower, head, Verdict::Miss).await
            }
            (Some(Said::Confirmed(found, head)), _) => {
                if let Some(answer) = self.serve(&job, &found, head, Verdict::Hit).await {
                    return answer;
                }
                // Ours does not read.
                let request = job.request.clone();
                self.alone(job, None, request, Verdict::Miss).await
            }
            (Some(Said::Response(head, body)), _) => {
                self.deliver(job, found, head, body, Verdict::Bypass).await
            }
            (_, Ok(Fetched::Following(follower))) => {
                if let Some(Entry::Response(stored)) = Entry::decode(follower.meta()) {
                    return match self.may_share(&job, found, &stored).await {
                        Ok((stored, mut head)) => {
                            stored.restore(&mut head.headers);
                            self.follow(&job, &follower, head, Verdict::Joined).await
                        }
                        Err(answer) => answer,
                    };
                }
                let request = job.request.clone();
                self.alone(job, found, request, Verdict::Bypass).await
            }
            (_, Err(Error::Fetch(error))) if error.is::<OriginError>() => {
                if let Some(answer) = self.stand_in(&job, found.as_ref()).await {
                    return answer;
                }
                self.failed(error.downcast_ref(), Verdict::Miss)
            }
            (_, fetched) => {
                if let Err(error) = &fetched
                    && !matches!(error, Error::Fetch(_))
                {
                    self.report(error);
                }
                Box::pin(self.look_again(job, found, fetched.is_ok())).await
            }
        }
    }

    /// Nothing is to be had from the fetch (`ended`: it went well): the answer may be stored or confirmed meanwhile, or listed under a
    /// variant, which may be on its way.
    async fn look_again(self: Arc<Self>, mut job: Job, found: Option<Found>, ended: bool) -> Response<Body> {
        let before = job.key_by(&job.index);
        if let Some(mut found) = self.find(&mut job).await {
            match self.may_share(&job, Some(found.clone()), &found.stored).await {
                Ok((stored, head)) => {
                    found.stored = stored;
                    if let Some(answer) = self.serve(&job, &found, head, Verdict::Hit).await {
                        return answer;
                    }
                }
                Err(answer) => return answer,
            }
        }
        let request = job.request.clone();
        if ended && job.key_by(&job.index) != before {
            return Box::pin(self.fetch(job, None, request)).await;
        }
        self.alone(job, found, request, if ended { Verdict::Bypass } else { Verdict::Miss }).await
    }

    /// A response that was fetched or confirmed for another client, with its head for this one: the origin is asked whether
    /// it still holds, where the response demands that. The answer from the origin where it does not.
    async fn may_share(
        self: &Arc<Self>,
        job: &Job,
        found: Option<Found>,
        stored: &StoredResponse,
    ) -> Result<(StoredResponse, response::Parts), Response<Body>> {
        let request = match stored.before_request(&job.request, self.clock.now()) {
            BeforeRequest::Fresh(head) => return Ok((stored.clone(), head)),
            BeforeRequest::Stale { request, matches: true } => request,
            BeforeRequest::Stale { matches: false, .. } => job.request.clone(),
        };
        let proxy = Arc::clone(self);
        let response = match self.ask(Request::from_parts(request, empty())).await {
            Ok(response) => response,
            Err(error) => {
                return Err(match self.stand_in(job, found.as_ref()).await {
                    Some(answer) => answer,
                    None => self.failed(Some(&error), Verdict::Bypass),
                });
            }
        };
        let (mut head, body) = response.into_parts();
        if head.status != StatusCode::NOT_MODIFIED {
            headers::strip_hop_by_hop(&mut head.headers);
            return Err(proxy.deliver(job.clone(), found, head, body, Verdict::Bypass).await);
        }
        match stored.refreshed(&job.request, &head, self.clock.now()) {
            Some(confirmed) => Ok(confirmed),
            // Of another response than ours.
            None => Err(proxy.alone(job.clone(), found, job.request.clone(), Verdict::Bypass).await),
        }
    }

    /// From the origin without the cache.
    async fn alone(
        self: Arc<Self>,
        job: Job,
        found: Option<Found>,
        request: request::Parts,
        verdict: Verdict,
    ) -> Response<Body> {
        match self.ask(Request::from_parts(request, empty())).await {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                headers::strip_hop_by_hop(&mut head.headers);
                self.deliver(job, found, head, body, verdict).await
            }
            Err(error) => match self.stand_in(&job, found.as_ref()).await {
                Some(answer) => answer,
                None => self.failed(Some(&error), verdict),
            },
        }
    }

    /// Hands a response that is not stored to the client.
    async fn deliver(
        self: Arc<Self>,
        job: Job,
        found: Option<Found>,
        mut head: response::Parts,
        body: Body,
        verdict: Verdict,
    ) -> Response<Body> {
        if head.status.is_server_error()
            && let Some(answer) = self.stand_in(&job, found.as_ref()).await
        {
            return answer;
        }
        if job.head_only {
            return self.finish(head, body, verdict);
        }
        if job.conditions.wants_range() && head.status == StatusCode::OK {
            // Ours was a request for the whole, and most of it would be thrown away.
            drop(body);
            return self.pass(&job.key, job.original, empty()).await;
        }
        if job.conditions.select(head.status, &head.headers, 0) == Selection::NotModified {
            Selection::NotModified.apply(&mut head, 0);
            return self.finish(head, empty(), verdict);
        }
        self.finish(head, body, verdict)
    }

    /// What the cache has, where the origin fails and that is allowed.
    async fn stand_in(&self, job: &Job, found: Option<&Found>) -> Option<Response<Body>> {
        let found = found?;
        let head = found.stored.if_error(&job.request, self.clock.now())?;
        self.serve(job, found, head, Verdict::Stale).await
    }

    /// Straight to the origin and back.
    async fn pass(&self, key: &CacheKey, request: request::Parts, body: Body) -> Response<Body> {
        let safe = request.method.is_safe();
        let answer = self.ask(Request::from_parts(request, body)).await;
        // An error without an answer may have come after the origin had acted.
        let changed =
            answer.as_ref().map_or(true, |r| r.status().is_success() || r.status().is_redirection());
        if !safe && changed {
            self.invalidate(path_scope(key)).await;
        }
        match answer {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                headers::strip_hop_by_hop(&mut head.headers);
                self.finish(head, body, Verdict::Bypass)
            }
            Err(error) => self.failed(Some(&error), Verdict::Bypass),
        }
    }

    /// Removes one response.
    pub(crate) async fn forget(&self, key: &CacheKey) {
        self.cache.remove(key).await.map_err(|e| self.report(&e)).ok();
    }

    /// What the cache has for a request, fresh or not.
    async fn find(&self, job: &mut Job) -> Option<Found> {
        let (hit, entry) = self.load(&job.key).await?;
        let names = match entry {
            Entry::Response(stored) => return Some(Found { key: job.key.clone(), hit, stored: *stored }),
            Entry::Vary(names) => names,
        };
        let key = job.key_by(&names);
        job.index = names;
        match self.load(&key).await? {
            (hit, Entry::Response(stored)) => Some(Found { key, hit, stored: *stored }),
            (_, Entry::Vary(_)) => None,
        }
    }

    async fn load(&self, key: &CacheKey) -> Option<(Hit, Entry)> {
        let hit = self.cache.get_with(key, GetOptions::new()).await.map_err(|e| self.report(&e)).ok()??;
        let entry = Entry::decode(hit.meta())?;
        Some((hit, entry))
    }

    /// Answers from the cache, with a head that the rules made; `None` where the body does not read.
    async fn serve(
        &self,
        job: &Job,
        found: &Found,
        mut head: response::Parts,
        verdict: Verdict,
    ) -> Option<Response<Body>> {
        found.stored.restore(&mut head.headers);
        let len = found.hit.len();
        let range = job.conditions.select(head.status, &head.headers, len).apply(&mut head, len);
        if job.head_only || range.is_empty() {
            return Some(self.finish(head, empty(), verdict));
        }
        let mut reader = found.hit.reader();
        let first = match reader.seek(range.start, Some(range.end)) {
            Ok(()) => reader.next().await,
            Err(error) => Err(error),
        };
        // The first piece is read before the head is sent: as long as nothing was sent the origin can stand in.
        let first = first.map_err(|e| self.report(&e)).ok()??;
        let body = counted(body::from_reader(first, reader), Arc::clone(&self.counters.served));
        Some(self.finish(head, body, verdict))
    }

    /// Asks the origin, and counts the bytes that come.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Result<Response<Body>, OriginError> {
        let response = self.origin.fetch(request).await?;
        // Wrapping a body that has ended would hide that it has.
        Ok(response.map(|body| {
            if body.is_end_stream() { body } else { counted(body, Arc::clone(&self.counters.fetched)) }
        }))
    }

    pub(crate) fn failed(&self, error: Option<&OriginError>, verdict: Verdict) -> Response<Body> {
        let status = match error {
            Some(OriginError::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        tracing::debug!(?error, "no answer from the origin");
        let (head, body) = text(status, "the origin does not answer\n").into_parts();
        self.finish(head, body, verdict)
    }

    /// Counts and marks an answer.
    pub(crate) fn finish(&self, mut head: response::Parts, body: Body, verdict: Verdict) -> Response<Body> {
        self.counters.count(verdict);
        headers::strip_hop_by_hop(&mut head.headers);
        head.headers.insert(X_CACHE, verdict.header());
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        response
    }
}

pub(crate) fn content_length(head: &response::Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

pub(crate) fn is_chunked(head: &response::Parts) -> bool {
    headers::list(&head.headers, &header::TRANSFER_ENCODING)
        .any(|coding| coding.eq_ignore_ascii_case("chunked"))
}

/// An answer of our own.
pub(crate) fn text(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(full(words));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CONTENT_LENGTH, words.len().into());
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
