//! What a get returns.

use crate::{Body, BodyReader, BodyStream, EntryId, Result};
use bytes::Bytes;
use std::{ops::Range, time::SystemTime};

/// An entry that was found: its metadata, and its body in hand or on demand. It stays readable to its end while the entry
/// is evicted, replaced or purged, because it holds the memory or the file.
#[derive(Clone, Debug)]
pub struct Hit {
    parts: HitParts,
}

/// What an engine makes a [`Hit`] of.
#[derive(Clone, Debug)]
pub struct HitParts {
    /// Identity of the body.
    pub id: EntryId,
    /// What the insert gave as meta.
    pub meta: Bytes,
    /// When the insert happened.
    pub created_at: SystemTime,
    /// When the entry turns stale.
    pub expires_at: Option<SystemTime>,
    /// Whether it is stale now.
    pub stale: bool,
    /// Bytes on disk.
    pub disk_size: u64,
    /// The body, whose length is known.
    pub body: Body,
}

impl Hit {
    /// A hit of its parts.
    pub fn new(parts: HitParts) -> Self {
        Self { parts }
    }

    /// Identity of the body.
    pub fn id(&self) -> EntryId {
        self.parts.id
    }

    /// Length of the body in bytes.
    pub fn len(&self) -> u64 {
        self.parts.body.len().unwrap_or(0)
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The opaque metadata given at the insert or the last `update_meta`.
    pub fn meta(&self) -> &Bytes {
        &self.parts.meta
    }

    /// When the body was inserted, to the millisecond.
    pub fn created_at(&self) -> SystemTime {
        self.parts.created_at
    }

    /// When the entry turns stale by time, to the millisecond; `None`: never.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.parts.expires_at
    }

    /// Whether the entry was stale when it was found, by time or by a soft purge.
    pub fn is_stale(&self) -> bool {
        self.parts.stale
    }

    /// Bytes this entry takes on disk.
    pub fn disk_size(&self) -> u64 {
        self.parts.disk_size
    }

    /// The whole body.
    ///
    /// # Errors
    /// For a large body: a device that does not read, or a piece that does not verify ([`crate::Error::Corrupt`]).
    pub async fn bytes(&self) -> Result<Bytes> {
        if let Body::Inline(b) = &self.parts.body {
            return Ok(b.clone());
        }
        self.parts.body.read_all(0..self.len()).await
    }

    /// Just these bytes of the body; of a large one only the pieces they lie in are read.
    ///
    /// # Errors
    /// [`crate::Error::InvalidRange`] where the range is not inside the body; those of [`Hit::bytes`].
    pub async fn read_range(&self, range: Range<u64>) -> Result<Bytes> {
        self.parts.body.read_all(range).await
    }

    /// A reader that owns what it needs and can seek.
    pub fn reader(&self) -> BodyReader {
        BodyReader::new(self.parts.body.clone())
    }

    /// The body as a stream of pieces.
    pub fn stream(&self) -> BodyStream {
        self.reader().into_stream()
    }
}
