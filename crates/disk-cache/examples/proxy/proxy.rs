//! The proxy: from a client's request to its answer.
//!
//! **Invariants**: no error of the cache fails a request, it only costs a fetch; what is stored is a whole body whose end
//! was seen, and nothing that was fetched before its URL was invalidated; the cache holds whole responses only, and
//! ranges and conditions of clients are answered from those.

use crate::{
    body::{self, Body, BoxError, counted, empty, full, streamed},
    budget::Budget,
    collector::Collector,
    counters::Counters,
    entry::Entry,
    epochs::Epochs,
    error_log::ErrorLog,
    headers,
    job::{Found, Job},
    origin::{Origin, OriginError},
    plan::Plan,
    selection::Selection,
    store::Store,
    verdict::Verdict,
};
use bytes::Bytes;
use disk_cache::{ByteSize, CacheKey, Clock, Expiry, Hit, InsertOptions, PurgeScope, SystemClock};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request, response};
use http_body_util::BodyExt as _;
use http_cache_semantics::BeforeRequest;
use hyper::body::Body as _;
use std::{net::IpAddr, sync::Arc};
use tokio::sync::mpsc;

/// A caching reverse proxy over one origin and one cache.
#[derive(Debug)]
pub(crate) struct Proxy<S> {
    store: S,
    origin: Origin,
    namespace: String,
    clock: Arc<dyn Clock>,
    max_body: u64,
    budget: Budget,
    epochs: Epochs,
    counters: Counters,
    errors: ErrorLog,
}

/// Larger bodies bypass the cache.
pub(crate) const MAX_BODY: ByteSize = ByteSize::mib(128);
/// Memory for all bodies on their way into the cache.
const COLLECTING: ByteSize = ByteSize::mib(512);
/// The answer's field that says what the cache had to do with it.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

impl<S: Store> Proxy<S> {
    /// A proxy with the default limits and the system's clock.
    pub(crate) fn new(store: S, origin: Origin) -> Self {
        Self {
            namespace: origin.namespace(),
            store,
            origin,
            clock: Arc::new(SystemClock),
            max_body: MAX_BODY.bytes(),
            budget: Budget::new(COLLECTING.bytes()),
            epochs: Epochs::new(),
            counters: Counters::default(),
            errors: ErrorLog::default(),
        }
    }

    /// With another clock.
    #[cfg(test)]
    pub(crate) fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another limit for bodies than [`MAX_BODY`].
    pub(crate) fn max_body(mut self, max: ByteSize) -> Self {
        self.max_body = max.bytes();
        self
    }

    /// The cache.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// Logs one line of what was counted.
    pub(crate) fn log_counters(&self) {
        self.counters.log(&self.store.stats());
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
            return self.purge(&key, peer).await;
        }
        head.uri = uri;
        headers::forward(&mut head.headers, peer, &self.origin.host());
        if body.is_end_stream() && Job::suits(&head, &key) {
            let epoch = self.epochs.now(&key);
            self.cached(Job::new(key, head, epoch)).await
        } else {
            self.pass(&key, head, body).await
        }
    }

    /// From the cache where it can be, otherwise from the origin.
    async fn cached(self: Arc<Self>, mut job: Job) -> Response<Body> {
        let mut stale = None;
        let mut request = None;
        if let Some(found) = self.find(&mut job).await {
            match found.stored.before_request(&job.request, self.clock.now()) {
                BeforeRequest::Fresh(head) => {
                    if let Some(answer) = self.serve(&job, &found, head, Verdict::Hit).await {
                        return answer;
                    }
                }
                BeforeRequest::Stale { request: revalidation, matches: true } => {
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
            request = Some(job.original.clone());
        }
        let request = request.unwrap_or_else(|| job.request.clone());
        self.fetch(job, stale, request).await
    }

    /// From the origin, which is asked for `request`; `found` is what the cache has, no longer fresh.
    async fn fetch(
        self: Arc<Self>,
        job: Job,
        found: Option<Found>,
        request: request::Parts,
    ) -> Response<Body> {
        let answer = self.ask(Request::from_parts(request, empty())).await;
        let failed = answer.as_ref().map_or(true, |response| response.status().is_server_error());
        let now = self.clock.now();
        if failed
            && let Some(found) = &found
            && let Some(head) = found.stored.if_error(&job.request, now)
            && let Some(answer) = self.serve(&job, found, head, Verdict::Stale).await
        {
            return answer;
        }
        let (head, body) = match answer {
            Ok(response) => response.into_parts(),
            Err(error) => return self.failed(&error, Verdict::Miss),
        };
        if job.head_only {
            return self.finish(head, body, Verdict::Miss);
        }
        let found = match found {
            Some(mut found) if head.status == StatusCode::NOT_MODIFIED => {
                if let Some((stored, head)) = found.stored.refreshed(&job.request, &head, now) {
                    found.stored = stored;
                    self.refresh(&job, &found).await;
                    if let Some(answer) = self.serve(&job, &found, head, Verdict::Hit).await {
                        return answer;
                    }
                }
                // About another response than ours, or ours does not read: once more, for the whole.
                let request = job.request.clone();
                return Box::pin(self.fetch(job, None, request)).await;
            }
            found => found,
        };
        self.deliver(job, found, head, body).await
    }

    /// Hands a new response to the client, and to the cache if it may be stored.
    async fn deliver(
        self: Arc<Self>,
        job: Job,
        found: Option<Found>,
        mut head: response::Parts,
        body: Body,
    ) -> Response<Body> {
        let len = content_length(&head);
        // Without a length and without chunks the end of the connection ends the body: nothing tells whether it is whole.
        let has_end = len.is_some() || is_chunked(&head) || body.is_end_stream();
        headers::strip_hop_by_hop(&mut head.headers);
        let plan = if has_end && len.unwrap_or(0) <= self.max_body {
            Plan::of(&job, &head, self.clock.now())
        } else {
            None
        };
        let Some(plan) = plan else {
            if let Some(found) = found
                && !head.status.is_server_error()
            {
                // The origin has a new response, which replaces ours although it is not to be kept.
                self.store.remove(&found.key).await.map_err(|e| self.errors.report(&e)).ok();
            }
            if job.conditions.wants_range() && head.status == StatusCode::OK {
                // Ours was a request for the whole, and most of it would be thrown away.
                drop(body);
                return self.pass(&job.key, job.original, empty()).await;
            }
            if job.conditions.select(head.status, &head.headers, 0) == Selection::NotModified {
                Selection::NotModified.apply(&mut head, 0);
                return self.finish(head, empty(), Verdict::Bypass);
            }
            return self.finish(head, body, Verdict::Bypass);
        };
        let collector = Collector::new(len, self.max_body, &self.budget);
        if job.conditions.is_empty() {
            if head.status == StatusCode::OK {
                head.headers.entry(header::ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
            }
            let (sender, mut receiver) = mpsc::channel(2);
            tokio::spawn(Self::pump(Arc::clone(&self), body, len, collector, plan, sender));
            let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
            return self.finish(head, streamed(pieces), Verdict::Miss);
        }
        match collect(body, collector).await {
            Ok(Some(whole)) => {
                self.keep(plan, whole.clone()).await;
                let len = whole.len() as u64;
                let range = job.conditions.select(head.status, &head.headers, len).apply(&mut head, len);
                let part = whole.slice(range.start as usize..range.end as usize);
                self.finish(head, full(part), Verdict::Miss)
            }
            Ok(None) => self.pass(&job.key, job.original, empty()).await,
            Err(error) => self.failed(&OriginError::Unreachable(error.to_string()), Verdict::Miss),
        }
    }

    /// Sends a body to the client as it comes, and stores it when it is whole, before the client sees its end: a client
    /// that asks again finds it.
    async fn pump(
        self: Arc<Self>,
        mut body: Body,
        len: Option<u64>,
        collector: Collector,
        plan: Plan,
        client: mpsc::Sender<Result<Bytes, BoxError>>,
    ) {
        let mut collector = Some(collector);
        let mut passed = 0;
        let mut last = None;
        while let Some(frame) = body.frame().await {
            let data = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_trailers)) => continue,
                Err(error) => {
                    // Nobody listens any more: fine, the error was for them.
                    client.send(Err(error)).await.ok();
                    return;
                }
            };
            passed += data.len() as u64;
            collector = collector.and_then(|mut c| c.push(&data).then_some(c));
            if len == Some(passed) {
                last = Some(data);
            } else if client.send(Ok(data)).await.is_err() {
                return;
            }
        }
        if let Some(whole) = collector.and_then(Collector::finish) {
            self.keep(plan, whole).await;
        }
        if let Some(last) = last {
            client.send(Ok(last)).await.ok();
        }
    }

    /// Straight to the origin and back.
    async fn pass(&self, key: &CacheKey, request: request::Parts, body: Body) -> Response<Body> {
        let safe = request.method.is_safe();
        let answer = self.ask(Request::from_parts(request, body)).await;
        // An error without an answer may have come after the origin had acted.
        let changed =
            answer.as_ref().map_or(true, |r| r.status().is_success() || r.status().is_redirection());
        if !safe && changed {
            self.invalidate(key).await;
        }
        match answer {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                headers::strip_hop_by_hop(&mut head.headers);
                self.finish(head, body, Verdict::Bypass)
            }
            Err(error) => self.failed(&error, Verdict::Bypass),
        }
    }

    /// Removes all variants of a URL.
    async fn purge(&self, key: &CacheKey, peer: IpAddr) -> Response<Body> {
        if !peer.to_canonical().is_loopback() {
            return text(StatusCode::FORBIDDEN, "only this machine may purge\n");
        }
        let known = self.store.contains(key);
        if !self.invalidate(key).await {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "gone for now, but not noted on the disk\n");
        }
        if known { text(StatusCode::OK, "purged\n") } else { text(StatusCode::NOT_FOUND, "was not cached\n") }
    }

    /// Removes all variants of a URL, and keeps fetches under way from storing what they got before.
    async fn invalidate(&self, key: &CacheKey) -> bool {
        self.epochs.bump(key);
        let namespace = Bytes::copy_from_slice(key.namespace());
        let scope = PurgeScope::Path { namespace, path: Bytes::copy_from_slice(key.path()) };
        self.store.purge(scope).await.map_err(|e| self.errors.report(&e)).is_ok()
    }

    /// What the cache has for a request, fresh or not.
    async fn find(&self, job: &mut Job) -> Option<Found> {
        let (hit, entry) = self.load(&job.key).await?;
        let names = match entry {
            Entry::Response(stored) => return Some(Found { key: job.key.clone(), hit, stored: *stored }),
            Entry::Vary(names) => names,
        };
        let key = job.key.clone().with_variant(names.variant(&job.request.headers));
        job.index = names;
        match self.load(&key).await? {
            (hit, Entry::Response(stored)) => Some(Found { key, hit, stored: *stored }),
            (_, Entry::Vary(_)) => None,
        }
    }

    async fn load(&self, key: &CacheKey) -> Option<(Hit, Entry)> {
        let hit = self.store.get(key).await.map_err(|e| self.errors.report(&e)).ok()??;
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
        let first = first.map_err(|e| self.errors.report(&e)).ok()??;
        let body = counted(body::from_reader(first, reader), Arc::clone(&self.counters.served));
        Some(self.finish(head, body, verdict))
    }

    /// Writes down that a response was revalidated.
    async fn refresh(&self, job: &Job, found: &Found) {
        let expiry = found.stored.expiry(self.clock.now());
        let entry = Entry::Response(Box::new(found.stored.clone()));
        let Some(meta) = entry.encode() else { return };
        if self.epochs.still(job.epoch) {
            let done = self.store.refresh(&found.key, &found.hit, meta, expiry).await;
            done.map_err(|e| self.errors.report(&e)).ok();
            self.take_back(&found.key, job.epoch).await;
        }
    }

    /// Stores a whole response.
    async fn keep(&self, plan: Plan, body: Bytes) {
        if !self.epochs.still(plan.epoch) {
            return;
        }
        // The list first: a variant that no list leads to is room wasted, a list that leads nowhere a plain miss.
        if let Some((key, meta)) = plan.index
            && !self.insert(&key, Bytes::new(), meta, Expiry::Never).await
        {
            return;
        }
        self.insert(&plan.key, body, plan.meta, plan.expiry).await;
        self.take_back(&plan.key, plan.epoch).await;
    }

    async fn insert(&self, key: &CacheKey, body: Bytes, meta: Bytes, expiry: Expiry) -> bool {
        let options = InsertOptions::new().meta(meta).expiry(expiry);
        self.store.insert_with(key, body, options).await.map_err(|e| self.errors.report(&e)).is_ok()
    }

    /// Removes what was stored while its URL was being invalidated.
    async fn take_back(&self, key: &CacheKey, epoch: crate::epochs::Epoch) {
        if !self.epochs.still(epoch) {
            self.store.remove(key).await.map_err(|e| self.errors.report(&e)).ok();
        }
    }

    /// Asks the origin, and counts the bytes that come.
    async fn ask(&self, request: Request<Body>) -> Result<Response<Body>, OriginError> {
        let response = self.origin.fetch(request).await?;
        // Wrapping a body that has ended would hide that it has.
        Ok(response.map(|body| {
            if body.is_end_stream() { body } else { counted(body, Arc::clone(&self.counters.fetched)) }
        }))
    }

    fn failed(&self, error: &OriginError, verdict: Verdict) -> Response<Body> {
        let status = match error {
            OriginError::Unreachable(_) => StatusCode::BAD_GATEWAY,
            OriginError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        };
        tracing::debug!(%error, "no answer from the origin");
        let (head, body) = text(status, "the origin does not answer\n").into_parts();
        self.finish(head, body, verdict)
    }

    /// Counts and marks an answer.
    fn finish(&self, mut head: response::Parts, body: Body, verdict: Verdict) -> Response<Body> {
        self.counters.count(verdict);
        headers::strip_hop_by_hop(&mut head.headers);
        head.headers.insert(X_CACHE, verdict.header());
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        response
    }
}

/// Collects a whole body; `None` where it is too large.
async fn collect(mut body: Body, mut collector: Collector) -> Result<Option<Bytes>, BoxError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data()
            && !collector.push(&data)
        {
            return Ok(None);
        }
    }
    collector.finish().map(Some).ok_or_else(|| "the body is shorter than it should be".into())
}

fn content_length(head: &response::Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn is_chunked(head: &response::Parts) -> bool {
    headers::list(&head.headers, &header::TRANSFER_ENCODING)
        .any(|coding| coding.eq_ignore_ascii_case("chunked"))
}

/// An answer of our own.
fn text(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(full(words));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CONTENT_LENGTH, words.len().into());
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
