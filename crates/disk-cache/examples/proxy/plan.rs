//! How a response is to be stored.

use crate::{entry::Entry, epochs::Epoch, job::Job, stored::StoredResponse, vary::VaryIndex};
use bytes::Bytes;
use disk_cache::{CacheKey, Expiry, MAX_KEY_LEN};
use http::response::Parts;
use std::time::SystemTime;

/// How a response is to be stored once its body is there.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Under which key.
    pub(crate) key: CacheKey,
    /// With which meta.
    pub(crate) meta: Bytes,
    /// For how long.
    pub(crate) expiry: Expiry,
    /// The list of header names to store under the plain key before, where the one there is not the same.
    pub(crate) index: Option<(CacheKey, Bytes)>,
    /// Only if nothing was invalidated since.
    pub(crate) epoch: Epoch,
}

impl Plan {
    /// The plan; `None` where the response must not be stored, is not worth it, or does not fit.
    pub(crate) fn of(job: &Job, head: &Parts, now: SystemTime) -> Option<Self> {
        let stored = StoredResponse::of(&job.request, head, now)?;
        let names: VaryIndex = job.index.union(stored.vary())?;
        let expiry = stored.expiry(now);
        let meta = Entry::Response(Box::new(stored)).encode()?;
        let key = if names.is_empty() {
            job.key.clone()
        } else {
            job.key.clone().with_variant(names.variant(&job.request.headers))
        };
        let index =
            if names == job.index { None } else { Some((job.key.clone(), Entry::Vary(names).encode()?)) };
        (key.as_bytes().len() <= MAX_KEY_LEN).then_some(Self { key, meta, expiry, index, epoch: job.epoch })
    }
}
