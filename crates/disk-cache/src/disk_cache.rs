//! The cache as its users see it.

use crate::{Builder, keeping_open::KeepingOpen, platform::Platform, runtime::OwnRuntime};
use bytes::Bytes;
use cache_core::{
    BoxError, Cache, CacheKey, Durability, DynCache, EntryId, EntryWriter, Expiry, Fetched, Fill, Follower,
    GetOptions, Hit, InsertOptions, Inserted, NamespaceStats, PurgeMode, PurgeScope, RecoveryReport, Result,
    Stats, Target,
};
use cache_store::Engine;
use std::{path::PathBuf, sync::Arc};

/// A disk cache; a cheap clone. See the [crate's text](crate) for an example.
///
/// When the last clone is dropped without [`DiskCache::close`], the cache closes in the background.
///
/// # Cancellation
/// Every future may be dropped at any await: the operation then either happened or did not, and the cache is correct.
#[derive(Clone, Debug)]
pub struct DiskCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine<Platform>,
    runtime: Arc<OwnRuntime>,
}

impl DiskCache {
    /// Begins to set up a cache in a directory, which is made where it is missing.
    pub fn builder(dir: impl Into<PathBuf>) -> Builder {
        Builder::new(dir.into())
    }

    pub(crate) fn new(engine: Engine<Platform>, runtime: Arc<OwnRuntime>) -> Self {
        Self { inner: Arc::new(Inner { engine, runtime }) }
    }

    /// Looks a key up.
    ///
    /// # Errors
    /// [`crate::Error::Io`] where the device does not read, [`crate::Error::Closed`]. A damaged entry is a miss, counted.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<Hit>> {
        self.inner.engine.get_with(key, GetOptions::default()).await
    }

    /// Looks a key up, as told.
    ///
    /// # Errors
    /// Those of [`DiskCache::get`].
    pub async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Hit>> {
        self.inner.engine.get_with(key, options).await
    }

    /// Stores a body with the defaults.
    ///
    /// # Errors
    /// Those of [`DiskCache::insert_with`].
    pub async fn insert(&self, key: &CacheKey, body: Bytes) -> Result<Inserted> {
        self.inner.engine.insert_with(key, body, InsertOptions::default()).await
    }

    /// Stores a body with meta, expiry, tags and what else [`InsertOptions`] holds.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::StorageFull`], [`crate::Error::Io`], [`crate::Error::Closed`]. The older
    /// value of the key is gone then as well: a caller that replaces a value must never be given the old one again.
    pub async fn insert_with(&self, key: &CacheKey, body: Bytes, options: InsertOptions) -> Result<Inserted> {
        self.inner.engine.insert_with(key, body, options).await
    }

    /// Begins to store a body of unknown length: memory stays flat, and nothing is there before
    /// [`EntryWriter::commit`].
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], after which the older value of the key is gone as after a refused insert;
    /// [`crate::Error::Closed`].
    ///
    /// ```
    /// # use disk_cache::{ByteSize, CacheKey, DiskCache, InsertOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), disk_cache::Error> {
    /// # let tmp = tempfile::tempdir().expect("a directory for the example");
    /// # let cache = DiskCache::builder(tmp.path().join("cache")).capacity(ByteSize::mib(64)).open().await?;
    /// let key = CacheKey::new("bucket", "video.mp4");
    /// let mut writer = cache.writer(&key, InsertOptions::new()).await?;
    /// let follower = writer.follow();
    /// writer.write("the first ".into()).await?;
    /// let mut reader = follower.reader();
    /// assert_eq!(reader.next().await?.as_deref(), Some(&b"the first "[..]));
    /// writer.write("and the last".into()).await?;
    /// writer.commit().await?;
    /// assert_eq!(follower.bytes().await?, "the first and the last");
    /// # cache.close().await
    /// # }
    /// ```
    pub async fn writer(&self, key: &CacheKey, options: InsertOptions) -> Result<EntryWriter> {
        let inner = self.inner.engine.writer(key, options).await?;
        Ok(EntryWriter::new(KeepingOpen { inner, cache: self.clone() }))
    }

    /// The write in flight of a key, or one exact write, to read along; `None` where there is none. No I/O. What an insert, a
    /// remove or a purge has overtaken is found by its exact id only.
    pub fn follow<'a>(&self, target: impl Into<Target<'a>>) -> Option<Follower> {
        self.inner.engine.follow(target)
    }

    /// Looks a key up; where it is missing, one `fetch` runs for all that miss it at the same time.
    ///
    /// The fetch runs as a task of its own on the caller's tokio runtime and goes on when the first caller goes away. Aborted
    /// before [`Fill::begin`], it hands over to the next waiter's fetch; after it, followers get
    /// [`crate::Error::WriterAborted`]. A write of the key that [`DiskCache::writer`] began is followed as well.
    ///
    /// # Errors
    /// Those of [`DiskCache::get`]; [`crate::Error::Fetch`] with what the fetch returned before it began to write, for all that
    /// wait; what the cache itself refused the fetch ([`crate::Error::TooLarge`], say) as it is. Of one that fails later, readers
    /// get [`crate::Error::WriterAborted`], and the cache logs why. The next call fetches again.
    ///
    /// # Cancellation
    /// The fetch goes on.
    ///
    /// ```
    /// # use disk_cache::{ByteSize, CacheKey, DiskCache, Error, Fetched, InsertOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let tmp = tempfile::tempdir().expect("a directory for the example");
    /// # let cache = DiskCache::builder(tmp.path().join("cache")).capacity(ByteSize::mib(64)).open().await?;
    /// let key = CacheKey::new("bucket", "a.txt");
    /// let fetched = cache
    ///     .get_or_fetch(&key, |fill| async move {
    ///         let mut writer = fill.begin(InsertOptions::new().meta("text/plain")).await?;
    ///         writer.write("from the origin".into()).await?;
    ///         writer.commit().await
    ///     })
    ///     .await?;
    /// match &fetched {
    ///     Fetched::Hit(hit) => assert_eq!(hit.bytes().await?, "from the origin"),
    ///     Fetched::Following(follower) => assert_eq!(follower.bytes().await?, "from the origin"),
    ///     _ => unreachable!("the fetch stores what it gets"),
    /// }
    /// # cache.close().await
    /// # }
    /// ```
    pub async fn get_or_fetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let cache = self.clone();
        let fetch = move |inner| fetch(Fill::new(KeepingOpen { inner, cache }));
        self.inner.engine.get_or_fetch(key, fetch).await
    }

    /// [`DiskCache::get_or_fetch`] that does not look first: what is stored is to be replaced. Calls at the same time share
    /// one fetch.
    ///
    /// # Errors
    /// Those of [`DiskCache::get_or_fetch`].
    ///
    /// # Cancellation
    /// The fetch goes on.
    pub async fn refetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let cache = self.clone();
        let fetch = move |inner| fetch(Fill::new(KeepingOpen { inner, cache }));
        self.inner.engine.refetch(key, fetch).await
    }

    /// Gives an entry a new meta and expiry and lifts a soft purge, by compare-and-swap; one small record where the body is
    /// large. `false`: the entry is not there.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`], [`crate::Error::Io`], [`crate::Error::Closed`]; the entry is as it was then.
    pub async fn update_meta<'a>(
        &self,
        target: impl Into<Target<'a>>,
        meta: Bytes,
        expiry: Expiry,
    ) -> Result<bool> {
        self.inner.engine.update_meta(target, meta, expiry).await
    }

    /// Makes a key, or one exact entry of it, stale from now on, durably; the body is kept. Returns the entry.
    ///
    /// # Errors
    /// Those of the log. In this process the key stays stale all the same.
    pub async fn expire<'a>(&self, target: impl Into<Target<'a>>) -> Result<Option<EntryId>> {
        self.inner.engine.expire(target).await
    }

    /// Whether a plain get would find the key, as far as can be told without I/O; see [`Cache::contains`].
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.inner.engine.contains(key)
    }

    /// Removes a key, durably. `true` where the cache knew it.
    ///
    /// # Errors
    /// Those of the log. In this process the key stays removed all the same.
    pub async fn remove(&self, key: &CacheKey) -> Result<bool> {
        self.remove_with(key, Durability::Synced).await
    }

    /// Removes a key; `durability` is what the call waits for.
    ///
    /// # Errors
    /// Those of [`DiskCache::remove`].
    pub async fn remove_with(&self, key: &CacheKey, durability: Durability) -> Result<bool> {
        self.inner.engine.remove_with(key, durability).await
    }

    /// Removes a key, or one exact entry of it, durably; returns the entry that was there.
    ///
    /// # Errors
    /// Those of [`DiskCache::remove`].
    pub async fn remove_entry<'a>(&self, target: impl Into<Target<'a>>) -> Result<Option<EntryId>> {
        self.inner.engine.remove_entry(target).await
    }

    /// Removes all entries of a scope, durably.
    ///
    /// # Errors
    /// Those of the log. In this process the scope stays purged all the same.
    pub async fn purge(&self, scope: PurgeScope) -> Result<()> {
        self.purge_with(scope, PurgeMode::Remove).await
    }

    /// Removes all entries of a scope, or makes them stale, durably.
    ///
    /// # Errors
    /// Those of [`DiskCache::purge`].
    pub async fn purge_with(&self, scope: PurgeScope, mode: PurgeMode) -> Result<()> {
        self.inner.engine.purge_with(scope, mode).await
    }

    /// Removes everything, durably, and gives the space back.
    ///
    /// # Errors
    /// Those of [`DiskCache::purge`].
    pub async fn clear(&self) -> Result<()> {
        self.purge(PurgeScope::All).await
    }

    /// All that was acknowledged is on stable storage when this returns.
    ///
    /// # Errors
    /// A failure that lost acknowledged records, once, even if it happened in the background before.
    pub async fn flush(&self) -> Result<()> {
        self.inner.engine.flush().await
    }

    /// Flushes, writes the snapshot that makes the next open fast, and unlocks the directory. Goes on when the returned
    /// future is dropped. Later calls get [`crate::Error::Closed`].
    ///
    /// # Errors
    /// That of the flush; the cache is closed all the same. [`crate::Error::Closed`] where it was closed before.
    pub async fn close(&self) -> Result<()> {
        let Some(handle) = self.inner.runtime.handle() else { return Err(crate::Error::Closed) };
        let engine = self.inner.engine.clone();
        match handle.spawn(async move { engine.close().await }).await {
            Ok(closed) => closed,
            Err(died) => Err(crate::Error::io("close", "the cache's directory", std::io::Error::other(died))),
        }
    }

    /// What the cache counted.
    pub fn stats(&self) -> Stats {
        self.inner.engine.stats()
    }

    /// What was counted for one namespace (of the first 1,024 that were met).
    pub fn stats_of(&self, namespace: impl AsRef<[u8]>) -> NamespaceStats {
        self.inner.engine.stats_of(namespace)
    }

    /// What the open found.
    pub fn recovery_report(&self) -> &RecoveryReport {
        self.inner.engine.recovery_report()
    }
}

/// For code that takes any cache.
impl From<DiskCache> for Arc<dyn DynCache> {
    fn from(cache: DiskCache) -> Self {
        Arc::new(cache) as Self
    }
}

impl Cache for DiskCache {
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Hit>> {
        self.inner.engine.get_with(key, options).await
    }
    async fn insert_with(&self, key: &CacheKey, body: Bytes, options: InsertOptions) -> Result<Inserted> {
        self.inner.engine.insert_with(key, body, options).await
    }
    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        self.inner.engine.remove(key).await
    }
    async fn purge_with(&self, scope: PurgeScope, mode: PurgeMode) -> Result<()> {
        self.inner.engine.purge_with(scope, mode).await
    }
    fn contains(&self, key: &CacheKey) -> bool {
        self.inner.engine.contains(key)
    }
    fn stats(&self) -> Stats {
        self.inner.engine.stats()
    }
    async fn writer(&self, key: &CacheKey, options: InsertOptions) -> Result<EntryWriter> {
        Self::writer(self, key, options).await
    }
    fn follow(&self, target: Target<'_>) -> Option<Follower> {
        self.inner.engine.follow(target)
    }
    async fn get_or_fetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::get_or_fetch(self, key, fetch).await
    }
    async fn refetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::refetch(self, key, fetch).await
    }
    async fn update_meta(&self, target: Target<'_>, meta: Bytes, expiry: Expiry) -> Result<bool> {
        self.inner.engine.update_meta(target, meta, expiry).await
    }
    async fn expire(&self, target: Target<'_>) -> Result<Option<EntryId>> {
        self.inner.engine.expire(target).await
    }
    async fn remove_entry(&self, target: Target<'_>) -> Result<Option<EntryId>> {
        self.inner.engine.remove_entry(target).await
    }
    async fn flush(&self) -> Result<()> {
        self.inner.engine.flush().await
    }
    async fn close(&self) -> Result<()> {
        Self::close(self).await
    }
}

/// Closes in the background: on a thread of its own, because a runtime must not be dropped, nor waited for, inside another.
impl Drop for Inner {
    fn drop(&mut self) {
        let (engine, runtime) = (self.engine.clone(), self.runtime.clone());
        let closing = std::thread::Builder::new().name("disk-cache-close".to_owned()).spawn(move || {
            match runtime.handle().map(|handle| handle.block_on(engine.close())) {
                None | Some(Ok(()) | Err(crate::Error::Closed)) => {}
                Some(Err(error)) => tracing::warn!(%error, "closing a dropped cache failed"),
            }
            // The runtime ends with the last one who needs it: here, or when the last hit of a large body is dropped.
        });
        if let Err(error) = closing {
            tracing::warn!(%error, "no thread to close a dropped cache: the next open reads the log");
        }
    }
}
