//! What a fetch is given to say what came of it.
//!
//! **Invariant**: it says so once: by the writer that it begins, by `uncacheable`, or, dropped, by handing over to the next that
//! waits.

use crate::{BoxFuture, CacheKey, EntryId, EntryWriter, InsertOptions, Inserted, Result};
use std::fmt;

/// Whatever a fetch fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A fetch whose type is gone, as [`crate::DynCache`] takes it.
pub type BoxFetch = Box<dyn FnOnce(Fill) -> BoxFuture<'static, Result<Inserted, BoxError>> + Send>;

/// What an engine makes a [`Fill`] of; the verbs promise what the fill's do.
pub trait PendingFetch: Send + Sync + 'static {
    /// [`Fill::key`].
    fn key(&self) -> &CacheKey;

    /// [`Fill::id`].
    fn id(&self) -> EntryId;

    /// [`Fill::begin`].
    fn begin(self: Box<Self>, options: InsertOptions) -> BoxFuture<'static, Result<EntryWriter>>;

    /// [`Fill::is_superseded`].
    fn is_superseded(&self) -> bool;

    /// [`Fill::uncacheable`].
    fn uncacheable(self: Box<Self>) -> Inserted;
}

/// What a fetch is given: it says once what came of it. Dropped without a word, the next waiter's fetch runs when this one has
/// returned.
#[must_use = "those that wait are told by it"]
pub struct Fill {
    fetch: Box<dyn PendingFetch>,
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Fill {
    /// A fill of an engine's fetch.
    pub fn new(fetch: impl PendingFetch) -> Self {
        Self { fetch: Box::new(fetch) }
    }

    /// The key that is fetched.
    pub fn key(&self) -> &CacheKey {
        self.fetch.key()
    }

    /// Identity of the body to come.
    pub fn id(&self) -> EntryId {
        self.fetch.id()
    }

    /// Begins to write: from here on those that wait can follow. The writer feeds them also where the body cannot be stored
    /// ([`EntryWriter::keep_feeding`]).
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], which removes the older value of the key like a refused insert; [`crate::Error::Closed`].
    pub async fn begin(self, options: InsertOptions) -> Result<EntryWriter> {
        self.fetch.begin(options).await
    }

    /// Whether something was said about the key since the fetch began, or may have been (a purge by tag, or by prefix of a
    /// label, which are not known yet): for a fetch that finds out that what it got belongs under another key.
    pub fn is_superseded(&self) -> bool {
        self.fetch.is_superseded()
    }

    /// What was fetched must not be stored: those that wait get [`crate::Fetched::Uncacheable`] and fetch for themselves.
    pub fn uncacheable(self) -> Inserted {
        self.fetch.uncacheable()
    }
}
