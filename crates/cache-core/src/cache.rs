//! `Cache`: what a service codes against. `DynCache`: the same behind `Arc<dyn _>`.
//!
//! `DynCache`'s verbs have other names and `Arc<dyn DynCache>` itself implements `Cache`, so there is one vocabulary:
//! import `Cache` and call `.get(&key)` on either, without ambiguity where both traits are in scope.

use crate::{
    BoxError, BoxFetch, BoxFuture, CacheKey, EntryId, EntryWriter, Expiry, Fetched, Fill, Follower,
    GetOptions, Hit, InsertOptions, Inserted, PurgeMode, PurgeScope, Result, Stats, Target,
};
use bytes::Bytes;
use std::{future::Future, sync::Arc};

/// A cache of bodies under keys.
///
/// # Cancellation
/// Every future may be dropped at any await: the operation then either happened or did not, and the cache is correct.
///
/// # Generic code
/// A function over `&impl Cache` takes a cache and an `Arc<dyn DynCache>` alike, in spawned tasks too; one that spawns a task
/// with the cache in it asks for `Cache + 'static`. The trait itself does not: rustc, which forgets lifetimes inside a
/// spawned future, would refuse `Arc<dyn DynCache>` there.
///
/// ```
/// use cache_core::{Cache, CacheKey, DynCache};
/// use std::{future::Future, sync::Arc};
///
/// async fn lookup(cache: &impl Cache) -> bool {
///     matches!(cache.get(&CacheKey::from("key")).await, Ok(Some(_)))
/// }
/// fn spawn(task: impl Future + Send + 'static) {
///     # drop(task);
/// }
/// fn serve(cache: Arc<dyn DynCache>) {
///     spawn(async move { lookup(&cache).await });
/// }
/// ```
pub trait Cache: Send + Sync {
    /// Looks a key up.
    ///
    /// # Errors
    /// A device that does not read ([`crate::Error::Io`]); [`crate::Error::Closed`]. A damaged entry is a miss.
    fn get_with(
        &self,
        key: &CacheKey,
        options: GetOptions,
    ) -> impl Future<Output = Result<Option<Hit>>> + Send;

    /// Stores a body. `Bytes`, not `impl Into<Bytes>`: the returned future would capture the argument's type.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::StorageFull`], [`crate::Error::Io`], [`crate::Error::Closed`]. The
    /// older value of the key is gone then as well: a caller that replaces a value must never be given the old one again.
    fn insert_with(
        &self,
        key: &CacheKey,
        body: Bytes,
        options: InsertOptions,
    ) -> impl Future<Output = Result<Inserted>> + Send;

    /// Removes a key, durably. `true` where the cache knew it.
    ///
    /// # Errors
    /// Those of the log. In this process the key stays removed all the same.
    fn remove(&self, key: &CacheKey) -> impl Future<Output = Result<bool>> + Send;

    /// Removes all entries of a scope, or makes them stale, durably.
    ///
    /// # Errors
    /// Those of the log. In this process the scope stays purged all the same.
    fn purge_with(&self, scope: PurgeScope, mode: PurgeMode) -> impl Future<Output = Result<()>> + Send;

    /// Whether a plain get would find the key, as far as can be told without I/O: `false` where a younger purge by tag, or
    /// by prefix where the entry has a label, might apply.
    fn contains(&self, key: &CacheKey) -> bool;

    /// What the cache counted.
    fn stats(&self) -> Stats;

    /// Begins to store a body of unknown length: memory stays flat, and nothing is there before [`EntryWriter::commit`].
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], after which the older value of the key is gone as after a refused insert;
    /// [`crate::Error::Closed`].
    fn writer(
        &self,
        key: &CacheKey,
        options: InsertOptions,
    ) -> impl Future<Output = Result<EntryWriter>> + Send;

    /// The write in flight of a key, or one exact write, to read along; `None` where there is none. No I/O.
    fn follow(&self, target: Target<'_>) -> Option<Follower>;

    /// Looks a key up; where it is missing, one `fetch` runs for all that miss it at the same time, as a task of its own.
    ///
    /// # Errors
    /// Those of a get; [`crate::Error::Fetch`] with what the fetch returned before it began to write, for all that
    /// wait; what the cache itself refused the fetch ([`crate::Error::TooLarge`], say) as it is. Of one that fails later, readers
    /// get [`crate::Error::WriterAborted`], and the cache logs why.
    ///
    /// # Cancellation
    /// The fetch goes on.
    ///
    /// ```
    /// use cache_core::{BoxError, Cache, CacheKey, Fetched, InsertOptions, Inserted, Result};
    ///
    /// async fn page(cache: &impl Cache, path: &'static str) -> Result<Fetched> {
    ///     let fetch = async move |fill: cache_core::Fill| {
    ///         let mut writer = fill.begin(InsertOptions::new().meta("text/plain")).await?;
    ///         writer.write(path.into()).await?;
    ///         Ok::<Inserted, BoxError>(writer.commit().await?)
    ///     };
    ///     cache.get_or_fetch(&CacheKey::new("pages", path), fetch).await
    /// }
    /// ```
    fn get_or_fetch<F, Fut, E>(
        &self,
        key: &CacheKey,
        fetch: F,
    ) -> impl Future<Output = Result<Fetched>> + Send
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static;

    /// [`Cache::get_or_fetch`] that does not look first: what is stored is to be replaced.
    ///
    /// # Errors
    /// Those of [`Cache::get_or_fetch`].
    ///
    /// # Cancellation
    /// The fetch goes on.
    fn refetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> impl Future<Output = Result<Fetched>> + Send
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static;

    /// Gives an entry a new meta and expiry and lifts a soft purge, by compare-and-swap. `false`: the entry is not there.
    /// `Target`, not `impl Into<Target>`, as with the body of an insert: `(&key).into()`, `(&key, id).into()`.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::Io`], [`crate::Error::Closed`]; the entry is as it was then.
    fn update_meta(
        &self,
        target: Target<'_>,
        meta: Bytes,
        expiry: Expiry,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Makes a key, or one exact entry of it, stale from now on, durably; the body is kept. Returns the entry.
    ///
    /// # Errors
    /// Those of the log. In this process the key stays stale all the same.
    fn expire(&self, target: Target<'_>) -> impl Future<Output = Result<Option<EntryId>>> + Send;

    /// Removes a key, or one exact entry of it, durably; returns the entry that was there.
    ///
    /// # Errors
    /// Those of [`Cache::remove`].
    fn remove_entry(&self, target: Target<'_>) -> impl Future<Output = Result<Option<EntryId>>> + Send;

    /// All that was acknowledged is on stable storage when this returns.
    ///
    /// # Errors
    /// A failure that lost acknowledged records, once, even if it happened in the background before.
    fn flush(&self) -> impl Future<Output = Result<()>> + Send;

    /// Flushes, and ends the cache for all that share it. Later calls get [`crate::Error::Closed`].
    ///
    /// # Errors
    /// That of the flush; the cache is closed all the same. [`crate::Error::Closed`] where it was closed before.
    fn close(&self) -> impl Future<Output = Result<()>> + Send;

    /// [`Cache::get_with`] with the defaults.
    ///
    /// # Errors
    /// Those of [`Cache::get_with`].
    fn get(&self, key: &CacheKey) -> impl Future<Output = Result<Option<Hit>>> + Send {
        self.get_with(key, GetOptions::default())
    }

    /// [`Cache::insert_with`] with the defaults.
    ///
    /// # Errors
    /// Those of [`Cache::insert_with`].
    fn insert(&self, key: &CacheKey, body: Bytes) -> impl Future<Output = Result<Inserted>> + Send {
        self.insert_with(key, body, InsertOptions::default())
    }

    /// [`Cache::purge_with`], removing.
    ///
    /// # Errors
    /// Those of [`Cache::purge_with`].
    fn purge(&self, scope: PurgeScope) -> impl Future<Output = Result<()>> + Send {
        self.purge_with(scope, PurgeMode::Remove)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// Those of [`Cache::purge_with`].
    fn clear(&self) -> impl Future<Output = Result<()>> + Send {
        self.purge_with(PurgeScope::All, PurgeMode::Remove)
    }
}

/// The object-safe twin of [`Cache`]; every `Cache` is one. Code calls the verbs of `Cache` on `Arc<dyn DynCache>`.
pub trait DynCache: Send + Sync {
    /// [`Cache::get_with`].
    fn dyn_get<'a>(&'a self, key: &'a CacheKey, options: GetOptions) -> BoxFuture<'a, Result<Option<Hit>>>;
    /// [`Cache::insert_with`].
    fn dyn_insert<'a>(
        &'a self,
        key: &'a CacheKey,
        body: Bytes,
        options: InsertOptions,
    ) -> BoxFuture<'a, Result<Inserted>>;
    /// [`Cache::remove`].
    fn dyn_remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<bool>>;
    /// [`Cache::purge_with`].
    fn dyn_purge(&self, scope: PurgeScope, mode: PurgeMode) -> BoxFuture<'_, Result<()>>;
    /// [`Cache::contains`].
    fn dyn_contains(&self, key: &CacheKey) -> bool;
    /// [`Cache::stats`].
    fn dyn_stats(&self) -> Stats;
    /// [`Cache::writer`].
    fn dyn_writer<'a>(
        &'a self,
        key: &'a CacheKey,
        options: InsertOptions,
    ) -> BoxFuture<'a, Result<EntryWriter>>;
    /// [`Cache::follow`].
    fn dyn_follow(&self, target: Target<'_>) -> Option<Follower>;
    /// [`Cache::get_or_fetch`].
    fn dyn_get_or_fetch<'a>(&'a self, key: &'a CacheKey, fetch: BoxFetch) -> BoxFuture<'a, Result<Fetched>>;
    /// [`Cache::refetch`].
    fn dyn_refetch<'a>(&'a self, key: &'a CacheKey, fetch: BoxFetch) -> BoxFuture<'a, Result<Fetched>>;
    /// [`Cache::update_meta`].
    fn dyn_update_meta<'a>(
        &'a self,
        target: Target<'a>,
        meta: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool>>;
    /// [`Cache::expire`].
    fn dyn_expire<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<EntryId>>>;
    /// [`Cache::remove_entry`].
    fn dyn_remove_entry<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<EntryId>>>;
    /// [`Cache::flush`].
    fn dyn_flush(&self) -> BoxFuture<'_, Result<()>>;
    /// [`Cache::close`].
    fn dyn_close(&self) -> BoxFuture<'_, Result<()>>;
}

impl<C: Cache> DynCache for C {
    fn dyn_get<'a>(&'a self, key: &'a CacheKey, options: GetOptions) -> BoxFuture<'a, Result<Option<Hit>>> {
        Box::pin(self.get_with(key, options))
    }
    fn dyn_insert<'a>(
        &'a self,
        key: &'a CacheKey,
        body: Bytes,
        options: InsertOptions,
    ) -> BoxFuture<'a, Result<Inserted>> {
        Box::pin(self.insert_with(key, body, options))
    }
    fn dyn_remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.remove(key))
    }
    fn dyn_purge(&self, scope: PurgeScope, mode: PurgeMode) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.purge_with(scope, mode))
    }
    fn dyn_contains(&self, key: &CacheKey) -> bool {
        self.contains(key)
    }
    fn dyn_stats(&self) -> Stats {
        self.stats()
    }
    fn dyn_writer<'a>(
        &'a self,
        key: &'a CacheKey,
        options: InsertOptions,
    ) -> BoxFuture<'a, Result<EntryWriter>> {
        Box::pin(self.writer(key, options))
    }
    fn dyn_follow(&self, target: Target<'_>) -> Option<Follower> {
        self.follow(target)
    }
    fn dyn_get_or_fetch<'a>(&'a self, key: &'a CacheKey, fetch: BoxFetch) -> BoxFuture<'a, Result<Fetched>> {
        Box::pin(self.get_or_fetch(key, fetch))
    }
    fn dyn_refetch<'a>(&'a self, key: &'a CacheKey, fetch: BoxFetch) -> BoxFuture<'a, Result<Fetched>> {
        Box::pin(self.refetch(key, fetch))
    }
    fn dyn_update_meta<'a>(
        &'a self,
        target: Target<'a>,
        meta: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.update_meta(target, meta, expiry))
    }
    fn dyn_expire<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<EntryId>>> {
        Box::pin(self.expire(target))
    }
    fn dyn_remove_entry<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<EntryId>>> {
        Box::pin(self.remove_entry(target))
    }
    fn dyn_flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.flush())
    }
    fn dyn_close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.close())
    }
}

/// A fetch without its type.
fn boxed<F, Fut, E>(fetch: F) -> BoxFetch
where
    F: FnOnce(Fill) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    Box::new(move |fill| {
        let fetched = fetch(fill);
        Box::pin(async move { fetched.await.map_err(Into::into) })
    })
}

// `async fn`, not `-> impl Future`: the boxed future lives for the shorter of two lifetimes, which an opaque type cannot
// name (E0700).
impl Cache for Arc<dyn DynCache + '_> {
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Hit>> {
        (**self).dyn_get(key, options).await
    }
    async fn insert_with(&self, key: &CacheKey, body: Bytes, options: InsertOptions) -> Result<Inserted> {
        (**self).dyn_insert(key, body, options).await
    }
    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        (**self).dyn_remove(key).await
    }
    async fn purge_with(&self, scope: PurgeScope, mode: PurgeMode) -> Result<()> {
        (**self).dyn_purge(scope, mode).await
    }
    fn contains(&self, key: &CacheKey) -> bool {
        (**self).dyn_contains(key)
    }
    fn stats(&self) -> Stats {
        (**self).dyn_stats()
    }
    async fn writer(&self, key: &CacheKey, options: InsertOptions) -> Result<EntryWriter> {
        (**self).dyn_writer(key, options).await
    }
    fn follow(&self, target: Target<'_>) -> Option<Follower> {
        (**self).dyn_follow(target)
    }
    async fn get_or_fetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        (**self).dyn_get_or_fetch(key, boxed(fetch)).await
    }
    async fn refetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        (**self).dyn_refetch(key, boxed(fetch)).await
    }
    async fn update_meta(&self, target: Target<'_>, meta: Bytes, expiry: Expiry) -> Result<bool> {
        (**self).dyn_update_meta(target, meta, expiry).await
    }
    async fn expire(&self, target: Target<'_>) -> Result<Option<EntryId>> {
        (**self).dyn_expire(target).await
    }
    async fn remove_entry(&self, target: Target<'_>) -> Result<Option<EntryId>> {
        (**self).dyn_remove_entry(target).await
    }
    async fn flush(&self) -> Result<()> {
        (**self).dyn_flush().await
    }
    async fn close(&self) -> Result<()> {
        (**self).dyn_close().await
    }
}
