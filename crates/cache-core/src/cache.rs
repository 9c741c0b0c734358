//! `Cache`: what a service codes against. `DynCache`: the same behind `Arc<dyn _>`.
//!
//! `DynCache`'s verbs have other names and `Arc<dyn DynCache>` itself implements `Cache`, so there is one vocabulary:
//! import `Cache` and call `.get(&key)` on either, without ambiguity where both traits are in scope.

use crate::{
    BoxFuture, CacheKey, GetOptions, Hit, InsertOptions, Inserted, PurgeMode, PurgeScope, Result, Stats,
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
}
