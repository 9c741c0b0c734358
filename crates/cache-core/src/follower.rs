//! A body that is still being written, for those that read along.
//!
//! **Invariants**: what was written is readable at once; where the writer gives up, readers get [`Error::WriterAborted`],
//! never an end that the body does not have. A type of its own, so that a [`crate::Hit`] always has a length.

use crate::{Body, BodyReader, BodySource, BodyStream, EntryId, Error, Result};
use bytes::{Bytes, BytesMut};
use std::{fmt, sync::Arc};

/// What an engine hands out of a write in flight.
pub trait GrowingBody: Send + Sync + 'static {
    /// Length in bytes; `None` until the writer has come to the end.
    fn len(&self) -> Option<u64>;

    /// Whether the body is known to be empty.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// A source of its own, so that the engine knows how far each reader is.
    fn reader(&self) -> Arc<dyn BodySource>;
}

/// An entry whose body is being written: its identity, its meta, and readers that wait for more. It may be kept after the
/// write has ended, and reads the same bytes then.
#[derive(Clone)]
pub struct Follower {
    id: EntryId,
    meta: Bytes,
    body: Arc<dyn GrowingBody>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("id", &self.id).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Follower {
    /// A follower of its parts.
    pub fn new(id: EntryId, meta: Bytes, body: Arc<dyn GrowingBody>) -> Self {
        Self { id, meta, body }
    }

    /// Identity of the body.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The opaque metadata that the write began with.
    pub fn meta(&self) -> &Bytes {
        &self.meta
    }

    /// Length of the body in bytes; `None` while it grows.
    pub fn len(&self) -> Option<u64> {
        self.body.len()
    }

    /// Whether the body is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// A reader at the body's start, which waits for what is not written yet.
    pub fn reader(&self) -> BodyReader {
        BodyReader::new(Body::Source(self.body.reader()))
    }

    /// The body as a stream of pieces.
    pub fn stream(&self) -> BodyStream {
        self.reader().into_stream()
    }

    /// The whole body, once it is written.
    ///
    /// # Errors
    /// [`Error::WriterAborted`]; those of the device.
    pub async fn bytes(&self) -> Result<Bytes> {
        let (mut all, mut reader) = (BytesMut::new(), self.reader());
        while let Some(piece) = reader.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

/// What `get_or_fetch` came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fetched {
    /// It was stored already.
    Hit(crate::Hit),
    /// A fetch writes it: this caller's own, or one that was under way.
    Following(Follower),
    /// The fetch says that it must not be stored: fetch it without the cache.
    Uncacheable,
}

impl Fetched {
    /// The opaque metadata; `None` where there is no entry.
    pub fn meta(&self) -> Option<&Bytes> {
        match self {
            Self::Hit(hit) => Some(hit.meta()),
            Self::Following(follower) => Some(follower.meta()),
            Self::Uncacheable => None,
        }
    }

    /// A reader of the body; `None` where there is no entry.
    pub fn reader(&self) -> Option<BodyReader> {
        match self {
            Self::Hit(hit) => Some(hit.reader()),
            Self::Following(follower) => Some(follower.reader()),
            Self::Uncacheable => None,
        }
    }

    /// The whole body, once it is written; `None` where there is no entry.
    ///
    /// # Errors
    /// Those of [`crate::Hit::bytes`] and [`Follower::bytes`].
    pub async fn bytes(&self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Hit(hit) => hit.bytes().await.map(Some),
            Self::Following(follower) => follower.bytes().await.map(Some),
            Self::Uncacheable => Ok(None),
        }
    }
}
