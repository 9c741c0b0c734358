//! The engine's face: opens, answers the API, counts, closes.

use crate::{
    claim::{Claimed, claim},
    commit::Debts,
    counters::Counters,
    direct::DirectReads,
    inflight::Inflight,
    insert::check_key,
    log::Log,
    object::Objects,
    reclaim::ReclaimState,
    recover::{Recovered, recover},
    roll::{full_disk, is_full},
    shared::{Limits, Shared, Signals},
    sync::{AtomicBool, Mutex, Ordering},
    turns::Turns,
};
use bytes::Bytes;
use cache_core::{
    Admission, BoxError, BoxFuture, Cache, CacheKey, Clock, Config, DiskBackend, Durability, EntryId,
    EntryWriter, Error, Expiry, Fetched, Fill, Follower, GetOptions, Hit, InsertOptions, Inserted,
    NamespaceStats, PurgeMode, PurgeScope, RecoveryReport, Result, Stats, Target,
};
use cache_index::{MAX_SEGMENTS, Position};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Instant,
};
use tokio::runtime::Handle;

/// A disk cache over a backend. Cheap to clone; see [`Cache`] and the facade `disk-cache` for what the verbs promise.
pub struct Engine<B: DiskBackend> {
    pub(crate) shared: Arc<Shared<DirectReads<B>>>,
}

impl<B: DiskBackend> Clone for Engine<B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<B: DiskBackend> fmt::Debug for Engine<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("dir", &self.shared.config.dir).finish_non_exhaustive()
    }
}

impl<B: DiskBackend> Engine<B> {
    /// Opens a directory. Background tasks run on `handle`'s runtime, which must outlive the engine and have its timer
    /// enabled.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::Locked`], [`Error::UnsupportedFormat`], [`Error::Corrupt`],
    /// [`Error::StorageFull`], [`Error::Io`]. The directory's content is as good as before.
    ///
    /// # Cancellation
    /// Dropped, it leaves the directory to be opened again.
    pub async fn open(config: Config, clock: Arc<dyn Clock>, backend: B, handle: Handle) -> Result<Self> {
        Self::opened(config, clock, backend, handle).await
    }

    /// Boxed, as every verb but a get is where it begins: a crate that opens a cache links the engine instead of compiling it.
    fn opened(
        config: Config,
        clock: Arc<dyn Clock>,
        backend: B,
        handle: Handle,
    ) -> BoxFuture<'static, Result<Self>> {
        Box::pin(Self::recovered(config, clock, backend, handle))
    }

    async fn recovered(config: Config, clock: Arc<dyn Clock>, backend: B, handle: Handle) -> Result<Self> {
        let begun = Instant::now();
        config.validate()?;
        let backend = DirectReads::new(backend, &config).await?;
        let claimed = claim(&backend, &config, &*clock).await?;
        let limits = Limits::new(&config, claimed.superblock.segment_size);
        let recovered = recover(&backend, &claimed, &config, limits).await?;
        let Claimed { layout, lock, superblock } = claimed;
        let Recovered { index, purges, space, next, version, objects: found, mut report } = recovered;
        let objects = Objects::new();
        for object in found {
            let lease = space.lease_found(object.disk);
            objects.found(object.id, layout.object(object.id), lease, object.unproven);
        }
        let mut shared = Shared {
            backend,
            handle,
            clock,
            uuid: superblock.uuid,
            secret: superblock.secret(),
            limits,
            index,
            purges,
            log: Mutex::new(Log::new(next, version, Vec::new(), space.capacity())),
            space,
            signals: Signals::default(),
            turns: Turns::new(),
            objects,
            inflight: Inflight::new(),
            admission: OnceLock::new(),
            counters: Counters::default(),
            reclaim: tokio::sync::Mutex::new(ReclaimState::default()),
            lock: Mutex::new(Some(lock)),
            report: RecoveryReport::default(),
            closed: AtomicBool::new(false),
            opening: Mutex::new(None),
            healthy: AtomicBool::new(true),
            layout,
            config,
        };
        report.dropped.segments_over_capacity = shared.fit_capacity().await?;
        shared.begin().await?;
        report.entries = shared.index.len();
        report.live_bytes = shared.index.live_bytes();
        report.elapsed = begun.elapsed();
        tracing::info!(
            dir = %shared.config.dir.display(), asked = ?shared.config.backend, backend = %shared.backend.kind(),
            entries = report.entries, source = ?report.source, elapsed = ?report.elapsed, "opened"
        );
        shared.report = report;
        let shared = Arc::new(shared);
        shared.spawn(shared.clone().writer());
        shared.spawn(shared.clone().committer());
        shared.spawn(shared.clone().sealer());
        let opener = shared.spawn(shared.clone().opener());
        *shared.opening.lock() = Some(opener);
        shared.spawn(shared.clone().reclaimer());
        shared.spawn(shared.clone().unlinker());
        Ok(Self { shared })
    }

    /// What the open found.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.shared.report
    }

    /// Removes a key, or one exact entry of it, durably; returns the entry that was there. A key that is not known gets its
    /// tombstone all the same: an evicted record of it may still be in the log.
    ///
    /// # Errors
    /// Those of the log. In this process the key stays removed all the same.
    pub async fn remove_entry<'a>(&self, target: impl Into<Target<'a>>) -> Result<Option<EntryId>> {
        let _under_way = self.enter()?;
        self.shared.remove_entry(target.into(), Durability::Synced).await
    }

    /// Removes a key; `durability` is what the call waits for. `true` where the cache knew it.
    ///
    /// # Errors
    /// Those of [`Engine::remove_entry`].
    pub async fn remove_with(&self, key: &CacheKey, durability: Durability) -> Result<bool> {
        let _under_way = self.enter()?;
        check_key(key)?;
        let was_there = self.shared.remove(key, None, false, durability).await? == Some(true);
        if was_there {
            self.shared.counters.removes.one();
        }
        Ok(was_there)
    }

    /// Makes a key, or one exact entry of it, stale from now on, durably; the body is kept. Returns the entry.
    ///
    /// # Errors
    /// Those of the log. In this process the key stays stale all the same.
    pub async fn expire<'a>(&self, target: impl Into<Target<'a>>) -> Result<Option<EntryId>> {
        let _under_way = self.enter()?;
        self.shared.expire(target.into()).await
    }

    /// Gives an entry a new meta and expiry and lifts a soft purge, by compare-and-swap; one small record where the body is
    /// out of line. `false`: the entry is not there.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; those of the log and of the read. The entry is as it was then.
    pub async fn update_meta<'a>(
        &self,
        target: impl Into<Target<'a>>,
        meta: Bytes,
        expiry: Expiry,
    ) -> Result<bool> {
        let _under_way = self.enter()?;
        self.shared.update_meta(target.into(), meta, expiry).await
    }

    /// All that was acknowledged before is on stable storage.
    ///
    /// # Errors
    /// A failure that lost acknowledged records, once, even if it happened in the background before.
    pub async fn flush(&self) -> Result<()> {
        let _under_way = self.enter()?;
        self.shared.flush().await
    }

    /// Flushes, writes the snapshot, unlocks. Later calls get [`Error::Closed`]; hits stay readable.
    ///
    /// # Errors
    /// That of the flush; the cache is closed and unlocked all the same. [`Error::Closed`] where it was closed before.
    ///
    /// # Cancellation
    /// Closing goes on in the background only where the runtime is told to; dropped half way, the directory is as after a
    /// crash, and stays locked until the last handle is gone.
    pub async fn close(&self) -> Result<()> {
        self.shared.close().await
    }

    /// What was counted for one namespace.
    pub fn stats_of(&self, namespace: impl AsRef<[u8]>) -> NamespaceStats {
        self.shared.counters.of_namespace(namespace.as_ref())
    }

    /// Asks a policy from now on whether a key that is not stored is worth storing. The first policy set stays.
    pub fn admit_by(&self, policy: Arc<dyn Admission>) {
        // A second one is refused by the cell.
        drop(self.shared.admission.set(policy));
    }

    /// Recounts the index from scratch.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.shared.index.check_invariants()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared<DirectReads<B>>> {
        &self.shared
    }

    pub(crate) fn enter(&self) -> Result<crate::counters::InFlight<'_>> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        Ok(self.shared.counters.here().enter())
    }
}

impl<B: DiskBackend> Cache for Engine<B> {
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Hit>> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        self.shared.get(key, options).await
    }

    async fn insert_with(&self, key: &CacheKey, body: Bytes, options: InsertOptions) -> Result<Inserted> {
        let _under_way = self.enter()?;
        self.shared.insert(key, body, options).await
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        self.remove_with(key, Durability::Synced).await
    }

    async fn purge_with(&self, scope: PurgeScope, mode: PurgeMode) -> Result<()> {
        let _under_way = self.enter()?;
        self.shared.purge(scope, mode, Durability::Synced).await
    }

    fn contains(&self, key: &CacheKey) -> bool {
        !self.shared.is_closed() && self.shared.contains(key)
    }

    fn stats(&self) -> Stats {
        self.shared.stats()
    }

    async fn writer(&self, key: &CacheKey, options: InsertOptions) -> Result<EntryWriter> {
        Self::writer(self, key, options).await.map(EntryWriter::new)
    }

    fn follow(&self, target: Target<'_>) -> Option<Follower> {
        Self::follow(self, target)
    }

    async fn get_or_fetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::get_or_fetch(self, key, |fill| fetch(Fill::new(fill))).await
    }

    async fn refetch<F, Fut, E>(&self, key: &CacheKey, fetch: F) -> Result<Fetched>
    where
        F: FnOnce(Fill) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::refetch(self, key, |fill| fetch(Fill::new(fill))).await
    }

    async fn update_meta(&self, target: Target<'_>, meta: Bytes, expiry: Expiry) -> Result<bool> {
        Self::update_meta(self, target, meta, expiry).await
    }

    async fn expire(&self, target: Target<'_>) -> Result<Option<EntryId>> {
        Self::expire(self, target).await
    }

    async fn remove_entry(&self, target: Target<'_>) -> Result<Option<EntryId>> {
        Self::remove_entry(self, target).await
    }

    async fn flush(&self) -> Result<()> {
        Self::flush(self).await
    }

    async fn close(&self) -> Result<()> {
        Self::close(self).await
    }
}

impl<B: DiskBackend> Shared<B> {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Over a smaller capacity than before: evicts, and drops the oldest segments. Returns how many.
    async fn fit_capacity(&self) -> Result<u64> {
        self.evict_down_to(self.limits.live);
        self.unlink_doomed().await;
        let mut dropped = 0;
        // Reclaim has kept far below this, unless it was killed each time before it came to work.
        let too_many = || self.index.segment_ids().len() + 2 > MAX_SEGMENTS as usize;
        while self.space.used() + self.limits.segment > self.space.capacity() || too_many() {
            if !self.drop_oldest_here().await? {
                return Err(self.unfitting());
            }
            self.unlink_doomed().await;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// What is in the directory and cannot be dropped takes all of the capacity.
    fn unfitting(&self) -> Error {
        let reason = "what is in the directory does not fit the capacity: raise it, or empty the directory";
        Error::StorageFull { needed: self.limits.segment, reason: reason.to_owned() }
    }

    /// Begins this session's first segment, whose id is the upper half of its entry ids.
    async fn begin(&self) -> Result<()> {
        let (id, after) = self.next_id()?;
        let size = self.limits.segment;
        let Some(lease) = self.space.try_lease(size, 0) else { return Err(self.unfitting()) };
        let segment = match self.create_segment(id, lease).await {
            Ok(segment) => segment,
            Err((error, lease)) => {
                if !is_full(&error) || !self.drop_oldest_here().await? {
                    return Err(full_disk(size, &self.layout.segment(id), error));
                }
                let again = self.create_segment(id, lease).await;
                again.map_err(|(e, _)| full_disk(size, &self.layout.segment(id), e))?
            }
        };
        self.index.attach(id, segment.clone());
        let mut log = self.log.lock();
        log.activate(segment);
        log.next_id = after;
        log.entry_prefix = id.get();
        log.synced_through = Position::new(id, 0);
        Ok(())
    }

    fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let asked = self.log.lock().ask();
            self.all_synced(Debts::Wait(asked)).await?;
            self.log.lock().unreported.take().map_or(Ok(()), Err)
        })
    }
}
