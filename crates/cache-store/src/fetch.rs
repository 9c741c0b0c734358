//! One fetch for all concurrent misses of a key.
//!
//! **Invariants**: of all that miss a key at the same time one fetches, as a task of its own, and the others wait for its
//! word without polling; a fetch that goes away without one hands over to the next waiter. An error reaches all that wait,
//! and is forgotten.

use crate::{
    direct::DirectReads,
    engine::Engine,
    growth::Following,
    inflight::{Flight, Phase},
    insert::check_key,
    shared::Shared,
    writer::EntryWriter,
};
use cache_core::{
    BoxError, BoxFuture, Cache, CacheKey, DiskBackend, EntryId, Error, Fetched, Follower, InsertOptions,
    Inserted, PendingFetch, Result,
};
use std::{fmt, sync::Arc};
use tokio::runtime::Handle;

/// A fetch went away before it began to write.
#[derive(Clone, Copy, Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it panicked or was aborted before it began to write")
    }
}

impl std::error::Error for Gone {}

/// What a fetch is given: it says once what came of it. Dropped without a word, the next waiter's fetch runs when this one
/// has returned.
pub struct Fill<B: DiskBackend> {
    shared: Arc<Shared<DirectReads<B>>>,
    flight: Arc<Flight<DirectReads<B>>>,
}

impl<B: DiskBackend> fmt::Debug for Fill<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("id", &self.flight.id).finish_non_exhaustive()
    }
}

impl<B: DiskBackend> Fill<B> {
    /// The key that is fetched.
    pub fn key(&self) -> &CacheKey {
        &self.flight.key
    }

    /// Identity of the body to come.
    pub fn id(&self) -> EntryId {
        self.flight.id
    }

    /// Begins to write: from here on those that wait can follow. The writer feeds them also where the body cannot be stored
    /// ([`EntryWriter::keep_feeding`]).
    ///
    /// # Errors
    /// [`Error::TooLarge`], which removes the older value of the key like a refused insert; [`Error::Closed`].
    pub async fn begin(self, options: InsertOptions) -> Result<EntryWriter<B>> {
        let Self { shared, flight } = self;
        let mut writer = shared.begin_or_settle(&flight.key, options, Some(&flight)).await?;
        writer.keep_feeding(true);
        Ok(writer)
    }

    /// Whether something was said about the key since the fetch began, or may have been (a purge by tag, or by prefix of a
    /// label, which are not known yet): for a fetch that finds out that what it got belongs under another key.
    pub fn is_superseded(&self) -> bool {
        self.flight.may_be_doomed()
    }

    /// What was fetched must not be stored: those that wait fetch for themselves, and so does whoever misses later.
    pub fn uncacheable(self) -> Inserted {
        self.shared.inflight.remove(&self.flight);
        self.flight.becomes(Phase::Uncacheable);
        Inserted::Uncacheable
    }
}

impl<B: DiskBackend> PendingFetch for Fill<B> {
    fn key(&self) -> &CacheKey {
        self.key()
    }
    fn id(&self) -> EntryId {
        self.id()
    }
    fn begin(self: Box<Self>, options: InsertOptions) -> BoxFuture<'static, Result<cache_core::EntryWriter>> {
        Box::pin(async move { Fill::begin(*self, options).await.map(cache_core::EntryWriter::new) })
    }
    fn is_superseded(&self) -> bool {
        self.is_superseded()
    }
    fn uncacheable(self: Box<Self>) -> Inserted {
        Fill::uncacheable(*self)
    }
}

/// Ends a fetch, also where its task is dropped.
struct Leading<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    flight: Arc<Flight<B>>,
    outcome: Phase,
}

impl<B: DiskBackend> Drop for Leading<B> {
    fn drop(&mut self) {
        // Once it writes it is the writer that ends it.
        if matches!(self.flight.phase(), Phase::Fetching) {
            self.flight.doom();
            self.shared.inflight.remove(&self.flight);
            self.flight.becomes(std::mem::replace(&mut self.outcome, Phase::Fetching));
        } else if let Phase::Failed(error) = &self.outcome {
            // Nobody waits for it any more: who reads along is told that the body ends here.
            tracing::debug!(id = self.flight.id.0, %error, "a fetch failed while its body was being written");
        }
    }
}

impl<B: DiskBackend> Engine<B> {
    /// Looks a key up; where it is missing, one `fetch` runs for all that miss it. It runs as a task on the caller's tokio
    /// runtime (the engine's where there is none) and goes on when this future is dropped.
    ///
    /// # Errors
    /// Those of a get; [`Error::Fetch`] with what the fetch returned before it began to write, for all that wait; a
    /// cache's own error as it is.
    ///
    /// # Cancellation
    /// The fetch goes on.
    pub async fn get_or_fetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill<B>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let (mut fetch, mut first) = (Some(fetch), true);
        loop {
            if let Some(hit) = self.get(key).await? {
                return Ok(Fetched::Hit(hit));
            }
            // Only once: a key whose tag another one shares seems to be there and is not.
            let stored = || std::mem::take(&mut first) && self.contains(key);
            if let Some(fetched) = self.join_or_lead(key, &mut fetch, stored).await? {
                return Ok(fetched);
            }
        }
    }

    /// [`Engine::get_or_fetch`] that does not look first: what is stored is to be replaced.
    ///
    /// # Errors
    /// Those of [`Engine::get_or_fetch`].
    ///
    /// # Cancellation
    /// The fetch goes on.
    pub async fn refetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill<B>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let mut fetch = Some(fetch);
        loop {
            if let Some(fetched) = self.join_or_lead(key, &mut fetch, || false).await? {
                return Ok(fetched);
            }
        }
    }

    /// Waits for the flight of a key, or begins one unless the key was `stored` meanwhile. `None`: look again.
    async fn join_or_lead<F, Fut, E>(
        &self,
        key: &CacheKey,
        fetch: &mut Option<F>,
        stored: impl FnOnce() -> bool,
    ) -> Result<Option<Fetched>>
    where
        F: FnOnce(Fill<B>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        check_key(key)?;
        let shared = &self.shared;
        let (flight, leads) = shared.enter_flight(key, true)?;
        // Before the fetch begins, so that it keeps every byte for this reader.
        let body = Following::new(&flight.growth);
        if leads {
            let gone = Phase::Abandoned { done: false };
            let leading = Leading { shared: shared.clone(), flight: flight.clone(), outcome: gone };
            if stored() {
                return Ok(None);
            }
            // Taken by an earlier round only where that one has returned.
            let Some(fetch) = fetch.take() else { return Ok(None) };
            let fill = Fill { shared: shared.clone(), flight: flight.clone() };
            let runtime = Handle::try_current().unwrap_or_else(|_| shared.handle.clone());
            runtime.spawn(run(leading, fetch(fill)));
        }
        match flight.decided().await {
            Phase::Writing(meta) => {
                Ok(Some(Fetched::Following(Follower::new(flight.id, meta, Arc::new(body)))))
            }
            Phase::Uncacheable => Ok(Some(Fetched::Uncacheable)),
            Phase::Failed(error) => Err(error),
            Phase::Abandoned { done: true } if leads => Ok(Some(Fetched::Uncacheable)),
            Phase::Abandoned { done: false } if leads => Err(Error::Fetch(Arc::new(Gone))),
            Phase::Abandoned { .. } | Phase::Fetching => Ok(None),
        }
    }
}

async fn run<B, Fut, E>(mut leading: Leading<B>, fetch: Fut)
where
    B: DiskBackend,
    Fut: Future<Output = Result<Inserted, E>>,
    E: Into<BoxError> + 'static,
{
    leading.outcome = match fetch.await {
        Ok(_) => Phase::Abandoned { done: true },
        // What the cache refused is no failure of the origin's.
        Err(error) => Phase::Failed(match error.into().downcast::<Error>() {
            Ok(refused) => *refused,
            Err(failed) => Error::Fetch(Arc::from(failed)),
        }),
    };
}
