//! What the proxy keeps in an entry's meta.

use crate::{stored::StoredResponse, vary::VaryIndex};
use bytes::Bytes;
use disk_cache::MAX_META_LEN;
use serde::{Deserialize, Serialize};

/// The meta of an entry, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The URL has variants: which headers choose. The body is empty.
    Vary(VaryIndex),
    /// A response; its body is the entry's.
    Response(Box<StoredResponse>),
}

impl Entry {
    /// The meta; `None` where it is too long for the cache.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let meta = serde_json::to_vec(self).ok()?;
        (meta.len() <= MAX_META_LEN).then(|| meta.into())
    }

    /// What a meta says; `None` where another version wrote it, which makes the entry a miss.
    pub(crate) fn decode(meta: &[u8]) -> Option<Self> {
        serde_json::from_slice(meta).ok()
    }
}
