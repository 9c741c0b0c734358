//! A streaming insert.
//!
//! **Invariants**: nothing is there before the commit; who reads along sees each piece as soon as it is written. The engine's
//! own writer stands behind a trait object, so that one type serves every backend and an `Arc<dyn DynCache>`.

use crate::{BoxFuture, EntryId, Follower, Inserted, Result};
use bytes::Bytes;
use std::fmt;

/// What an engine makes an [`EntryWriter`] of; the verbs promise what the writer's do.
pub trait BodySink: Send + Sync + 'static {
    /// [`EntryWriter::id`].
    fn id(&self) -> EntryId;

    /// [`EntryWriter::follow`].
    fn follow(&self) -> Follower;

    /// [`EntryWriter::keep_feeding`].
    fn keep_feeding(&mut self, feed: bool);

    /// [`EntryWriter::write`].
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>>;

    /// [`EntryWriter::commit`].
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Inserted>>;
}

/// A streaming insert. Dropped without [`EntryWriter::commit`] it leaves nothing, and its followers get
/// [`crate::Error::WriterAborted`].
#[must_use = "dropped without a commit it stores nothing"]
pub struct EntryWriter {
    sink: Box<dyn BodySink>,
}

impl fmt::Debug for EntryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryWriter").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl EntryWriter {
    /// A writer into an engine's sink.
    pub fn new(sink: impl BodySink) -> Self {
        Self { sink: Box::new(sink) }
    }

    /// Identity of the body.
    pub fn id(&self) -> EntryId {
        self.sink.id()
    }

    /// Reads this very write from its start, waiting for more.
    pub fn follow(&self) -> Follower {
        self.sink.follow()
    }

    /// What happens when the body cannot be stored, because it is too large or the disk is full or fails. `false`, the
    /// default of [`crate::Cache::writer`]: `write` tells, and followers get [`crate::Error::WriterAborted`]. `true`, the
    /// default of [`crate::Fill::begin`]: followers are fed from memory at the pace of the slowest, as long as there are any,
    /// and only `commit` tells. One that takes nothing for half a minute gets [`crate::Error::WriterAborted`], and the others go
    /// on. A task that writes must not wait for a reader of the same body then.
    pub fn keep_feeding(&mut self, feed: bool) {
        self.sink.keep_feeding(feed);
    }

    /// Adds to the body; an empty piece adds nothing. Followers see it at once. At most about 1 MiB waits in memory for the
    /// disk beside the last piece.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] past `max_entry_size`; [`crate::Error::StorageFull`] also where bodies on their way take
    /// half of the capacity; [`crate::Error::Io`]. The body will not be stored, and `commit` says the same.
    ///
    /// # Cancellation
    /// Dropped before it returned, it has not taken the piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.sink.write(piece).await
    }

    /// Publishes the body.
    ///
    /// # Errors
    /// Those of [`EntryWriter::write`] and of [`crate::Cache::insert_with`]. The older value of the key is gone then.
    ///
    /// # Cancellation
    /// Dropped, the body is there whole or not at all.
    pub async fn commit(self) -> Result<Inserted> {
        self.sink.commit().await
    }
}
