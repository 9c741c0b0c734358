//! A cache in memory, for tests: the trait's promises without a disk.

use crate::store::Store;
use bytes::Bytes;
use disk_cache::{
    BackendKind, Body, Cache, CacheKey, Clock, EntryId, Error, Expiry, GetOptions, Hit, HitParts,
    InsertOptions, Inserted, PurgeMode, PurgeScope, Result, Stats, SystemClock,
};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A cache in memory. It knows no quota.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryCache(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<HashMap<CacheKey, HitParts>>,
    last_id: AtomicU64,
    failing: AtomicBool,
}

impl MemoryCache {
    /// Makes every operation fail from now on, or work again.
    #[cfg(test)]
    pub(crate) fn set_failing(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::SeqCst);
    }

    /// Makes the bodies that are here unreadable.
    #[cfg(test)]
    pub(crate) fn damage(&self) {
        for parts in self.entries().values_mut() {
            parts.body = Body::Source(Arc::new(Damaged(parts.disk_size)));
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CacheKey, HitParts>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<()> {
        if self.0.failing.load(Ordering::SeqCst) {
            return Err(Error::io("read", "memory", io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }
}

/// A body of so many bytes, none of which read.
#[cfg(test)]
struct Damaged(u64);

#[cfg(test)]
impl disk_cache::BodySource for Damaged {
    fn len(&self) -> Option<u64> {
        Some(self.0)
    }

    fn read(&self, _range: std::ops::Range<u64>) -> disk_cache::BoxFuture<'_, Result<Bytes>> {
        Box::pin(async { Err(Error::Corrupt { path: "memory".into(), reason: "a test says so".to_owned() }) })
    }
}

impl Cache for MemoryCache {
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Hit>> {
        self.check()?;
        let Some(mut parts) = self.entries().get(key).cloned() else { return Ok(None) };
        parts.stale |= parts.expires_at.is_some_and(|at| at <= SystemClock.now());
        Ok((!parts.stale || options.allows_stale()).then(|| Hit::new(parts)))
    }

    async fn insert_with(&self, key: &CacheKey, body: Bytes, options: InsertOptions) -> Result<Inserted> {
        self.check()?;
        options.validate()?;
        let created_at = SystemClock.now();
        let id = EntryId(self.0.last_id.fetch_add(1, Ordering::SeqCst) + 1);
        let disk_size = body.len() as u64;
        let expires_at = match options.get_expiry() {
            Expiry::After(ttl) => created_at.checked_add(ttl),
            Expiry::At(at) => Some(at),
            _ => None,
        };
        let meta = options.get_meta().clone();
        let body = Body::Inline(body);
        let parts = HitParts { id, meta, created_at, expires_at, stale: false, disk_size, body };
        self.entries().insert(key.clone(), parts);
        Ok(Inserted::Stored { id, disk_size })
    }

    async fn remove(&self, key: &CacheKey) -> Result<bool> {
        self.check()?;
        Ok(self.entries().remove(key).is_some())
    }

    async fn purge_with(&self, scope: PurgeScope, mode: PurgeMode) -> Result<()> {
        self.check()?;
        let hit = |key: &CacheKey| match &scope {
            PurgeScope::All => true,
            PurgeScope::Namespace(namespace) => key.namespace() == namespace,
            PurgeScope::Path { namespace, path } => key.namespace() == namespace && key.path() == path,
            PurgeScope::Prefix { namespace, prefix } => {
                key.namespace() == namespace && key.path().starts_with(prefix)
            }
            _ => false,
        };
        self.entries().retain(|key, parts| {
            let stays = mode == PurgeMode::Expire || !hit(key);
            parts.stale |= stays && hit(key);
            stays
        });
        Ok(())
    }

    fn contains(&self, key: &CacheKey) -> bool {
        self.entries().contains_key(key)
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::new(BackendKind::Memory);
        stats.entries = self.len() as u64;
        stats.disk_bytes = self.entries().values().map(|parts| parts.disk_size).sum();
        stats
    }
}

impl Store for MemoryCache {}
