//! How a response is to be stored.

use crate::{entry::Entry, headers, job::Job, stored::StoredResponse};
use bytes::Bytes;
use disk_cache::{CacheKey, InsertOptions, MAX_KEY_LEN};
use http::{HeaderName, response::Parts};
use std::time::SystemTime;

/// The field in which an origin names the tags of a response, and a purge those it means; separated by spaces.
pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// How a response is to be stored.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Under which key.
    pub(crate) key: CacheKey,
    /// With which meta, expiry and tags.
    pub(crate) options: InsertOptions,
    /// The list of header names to store under the plain key before, where the one there is not the same.
    pub(crate) index: Option<(CacheKey, Bytes)>,
}

impl Plan {
    /// The plan; `None` where the response must not be stored, is not worth it, or does not fit.
    pub(crate) fn of(job: &mut Job, head: &Parts, now: SystemTime) -> Option<Self> {
        let stored = StoredResponse::of(&job.request, head, now)?;
        let names = job.index.union(stored.vary())?;
        let expiry = stored.expiry(now);
        let meta = Entry::Response(Box::new(stored)).encode()?;
        let key = job.key_by(&names);
        let index = if names == job.index {
            None
        } else {
            Some((job.key.clone(), Entry::Vary(names.clone()).encode()?))
        };
        let tags = headers::words(&head.headers, &SURROGATE_KEY);
        let options =
            tags.into_iter().fold(InsertOptions::new().meta(meta).expiry(expiry), InsertOptions::tag);
        // With too many tags it could not be purged by the last ones.
        (key.as_bytes().len() <= MAX_KEY_LEN && options.validate().is_ok()).then_some(Self {
            key,
            options,
            index,
        })
    }
}
