//! A streaming insert, and what a fetch is given to make one.
//!
//! **Invariant**: both keep the cache open: dropping the last [`DiskCache`] while a body is on its way does not end it.

use crate::{DiskCache, platform::Platform};
use bytes::Bytes;
use cache_core::{CacheKey, EntryId, Follower, InsertOptions, Inserted, Result};

/// A streaming insert. Dropped without [`EntryWriter::commit`] it leaves nothing, and its followers get
/// [`crate::Error::WriterAborted`].
#[derive(Debug)]
#[must_use = "dropped without a commit it stores nothing"]
pub struct EntryWriter {
    writer: cache_store::EntryWriter<Platform>,
    /// Behind the writer, so that it is dropped after it.
    _cache: DiskCache,
}

impl EntryWriter {
    pub(crate) fn new(writer: cache_store::EntryWriter<Platform>, cache: DiskCache) -> Self {
        Self { writer, _cache: cache }
    }

    /// Identity of the body.
    pub fn id(&self) -> EntryId {
        self.writer.id()
    }

    /// Reads this very write from its start, waiting for more.
    pub fn follow(&self) -> Follower {
        self.writer.follow()
    }

    /// What happens when the body cannot be stored, because it is too large or the disk is full or fails. `false`, the
    /// default of [`DiskCache::writer`]: `write` tells, and followers get [`crate::Error::WriterAborted`]. `true`, the default
    /// of [`Fill::begin`]: followers are fed from memory at the pace of the slowest, as long as there are any, and only
    /// `commit` tells. A task that writes must not wait for a reader of the same body then.
    pub fn keep_feeding(&mut self, feed: bool) {
        self.writer.keep_feeding(feed);
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
        self.writer.write(piece).await
    }

    /// Publishes the body.
    ///
    /// # Errors
    /// Those of [`EntryWriter::write`] and of [`DiskCache::insert_with`]. The older value of the key is gone then.
    ///
    /// # Cancellation
    /// Dropped, the body is there whole or not at all.
    pub async fn commit(self) -> Result<Inserted> {
        self.writer.commit().await
    }
}

/// What a fetch is given: it says once what came of it.
#[derive(Debug)]
#[must_use = "those that wait are told by it"]
pub struct Fill {
    fill: cache_store::Fill<Platform>,
    cache: DiskCache,
}

impl Fill {
    pub(crate) fn new(fill: cache_store::Fill<Platform>, cache: DiskCache) -> Self {
        Self { fill, cache }
    }

    /// The key that is fetched.
    pub fn key(&self) -> &CacheKey {
        self.fill.key()
    }

    /// Identity of the body to come.
    pub fn id(&self) -> EntryId {
        self.fill.id()
    }

    /// Begins to write: from here on those that wait can follow.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::Closed`].
    pub async fn begin(self, options: InsertOptions) -> Result<EntryWriter> {
        Ok(EntryWriter::new(self.fill.begin(options).await?, self.cache))
    }

    /// Whether something was said about the key since the fetch began, or may have been (a purge by tag, or by prefix of a
    /// label, which are not known yet): for a fetch that finds out that what it got belongs under another key.
    pub fn is_superseded(&self) -> bool {
        self.fill.is_superseded()
    }

    /// What was fetched must not be stored: those that wait get [`crate::Fetched::Uncacheable`] and fetch for themselves.
    pub fn uncacheable(self) -> Inserted {
        self.fill.uncacheable()
    }
}
