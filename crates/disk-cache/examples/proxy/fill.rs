//! The fetch that all clients missing a URL share: asks the origin, and writes what may be stored while they read along.
//!
//! **Invariants**: what is stored is a whole body whose end was seen; what was fetched before its URL was purged is not
//! stored; a body that cannot be stored reaches the clients that wait for it all the same.

use crate::{
    body::{Body, BoxError, empty},
    entry::Entry,
    headers,
    job::{Found, Job},
    origin::OriginError,
    plan::Plan,
    proxy::{Proxy, content_length, is_chunked},
};
use bytes::Bytes;
use disk_cache::{EntryWriter, Expiry, Fill, Follower, InsertOptions, Inserted};
use http::{Request, StatusCode, request, response};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What the client hears whose request the fetch made; the others look into the cache.
#[derive(Debug)]
pub(crate) enum Said {
    /// The head of what the fill writes.
    Head(response::Parts),
    /// The same, and the body, which is written under the key of a variant.
    Variant(response::Parts, Follower),
    /// The origin confirms what the cache has.
    Confirmed(Box<Found>, response::Parts),
    /// A response that is not stored.
    Response(response::Parts, Body),
}

/// One request on its way to the origin.
pub(crate) struct Fetch {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) job: Job,
    /// What the cache has, no longer fresh.
    pub(crate) found: Option<Found>,
    /// What to ask.
    pub(crate) request: request::Parts,
    pub(crate) said: oneshot::Sender<Said>,
}

impl Fetch {
    /// Asks, says what came, and writes it if it may be stored.
    ///
    /// # Errors
    /// [`OriginError`], or a body that ended early.
    pub(crate) async fn run(self, fill: Fill) -> Result<Inserted, BoxError> {
        let Self { proxy, mut job, mut found, mut request, said } = self;
        // The second time for a confirmation of another response than ours.
        loop {
            let (mut head, body) = proxy.ask(Request::from_parts(request, empty())).await?.into_parts();
            if head.status == StatusCode::NOT_MODIFIED
                && let Some(mut old) = found.take()
            {
                let now = proxy.clock().now();
                let Some((stored, head)) = old.stored.refreshed(&job.request, &head, now) else {
                    request = job.request.clone();
                    continue;
                };
                old.stored = stored;
                proxy.refresh(&old).await;
                say(said, Said::Confirmed(Box::new(old), head));
                return Ok(fill.uncacheable());
            }
            let len = content_length(&head);
            // Without a length and without chunks the end of the connection ends the body: nothing tells if it is whole.
            let has_end = len.is_some() || is_chunked(&head) || body.is_end_stream();
            headers::strip_hop_by_hop(&mut head.headers);
            let fits = has_end && len.unwrap_or(0) <= proxy.max_body();
            let plan = if fits { Plan::of(&mut job, &head, proxy.clock().now()) } else { None };
            let Some(plan) = plan else {
                if let Some(old) = found
                    && !head.status.is_server_error()
                {
                    // The origin has a new response, which replaces ours although it is not to be kept.
                    proxy.forget(&old.key).await;
                }
                say(said, Said::Response(head, body));
                return Ok(fill.uncacheable());
            };
            let writer = if plan.key == *fill.key() {
                say(said, Said::Head(head));
                fill.begin(plan.options).await?
            } else {
                let superseded = fill.is_superseded();
                let Some(writer) = proxy.begin_variant(&plan, superseded).await else {
                    say(said, Said::Response(head, body));
                    return Ok(fill.uncacheable());
                };
                say(said, Said::Variant(head, writer.follow()));
                // Those that wait find the list of names now, and by it this body or another one.
                fill.uncacheable();
                writer
            };
            return pump(writer, body, len).await;
        }
    }
}

/// Where nobody listens any more the fill goes on by itself.
fn say(said: oneshot::Sender<Said>, what: Said) {
    drop(said.send(what));
}

impl Proxy {
    /// Begins to write a response under the key of its variant, and lists the headers that lead to it.
    async fn begin_variant(&self, plan: &Plan, superseded: bool) -> Option<EntryWriter> {
        let cache = self.cache();
        let begun = cache.writer(&plan.key, plan.options.clone()).await;
        let mut writer = begun.map_err(|e| self.report(&e)).ok()?;
        writer.keep_feeding(true);
        // A purge since then has met the writer; one before it, the fetch.
        if superseded {
            return None;
        }
        if let Some((key, meta)) = &plan.index {
            // The list first: a variant that no list leads to is room wasted, a list that leads nowhere a plain miss.
            let options = InsertOptions::new().meta(meta.clone()).expiry(Expiry::Never);
            cache.insert_with(key, Bytes::new(), options).await.map_err(|e| self.report(&e)).ok()?;
        }
        Some(writer)
    }

    /// Writes down that a response was revalidated: of exactly this body, since a newer one has its own meta.
    async fn refresh(&self, found: &Found) {
        let expiry = found.stored.expiry(self.clock().now());
        let Some(meta) = Entry::Response(Box::new(found.stored.clone())).encode() else { return };
        let done = self.cache().update_meta((&found.key, found.hit.id()), meta, expiry).await;
        done.map_err(|e| self.report(&e)).ok();
    }
}

/// Writes a body as it comes. Where it ends early the writer is dropped, and with it what was written.
async fn pump(mut writer: EntryWriter, mut body: Body, len: Option<u64>) -> Result<Inserted, BoxError> {
    let mut written = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            written += data.len() as u64;
            writer.write(data).await?;
        }
    }
    if len.is_some_and(|len| len != written) {
        return Err(OriginError::Unreachable("the body is shorter than it should be".to_owned()).into());
    }
    Ok(writer.commit().await?)
}
