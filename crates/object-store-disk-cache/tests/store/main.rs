//! The cache before real stores: in memory, and in a directory.

mod failures;
mod freshness;
mod reads;
mod suite;
mod watched;
mod writes;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use object_store_disk_cache::{
    DiskCacheStore, Freshness,
    disk_cache::{ByteSize, DiskCache, ManualClock},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::{TempDir, tempdir};
use watched::Watched;

const BLOCK: u64 = 4 << 10;
const HOUR: Duration = Duration::from_secs(3600);

/// A cache before a watched store, with blocks of [`BLOCK`] bytes.
struct Rig {
    store: DiskCacheStore,
    behind: Arc<Watched>,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Rig {
    async fn new(freshness: Freshness) -> Self {
        Self::before(Arc::new(InMemory::new()), freshness).await
    }

    async fn before(inner: Arc<dyn ObjectStore>, freshness: Freshness) -> Self {
        let dir = tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(SystemTime::now()));
        let behind = Watched::new(inner);
        let cache = open(&dir, &clock).await;
        let store = store(&behind, cache, freshness);
        Self { store, behind, clock, dir }
    }

    /// Closes the cache and opens it again.
    async fn restart(&mut self, freshness: Freshness) {
        self.store.cache().close().await.expect("it closes");
        self.store = store(&self.behind, open(&self.dir, &self.clock).await, freshness);
    }

    /// Writes past the cache, as another client does.
    async fn put_behind(&self, path: &Path, body: &Bytes) {
        self.behind.put(path, body.clone().into()).await.expect("it is put");
    }

    async fn get(&self, path: &Path) -> Bytes {
        self.store.get(path).await.expect("it is there").bytes().await.expect("it reads")
    }
}

async fn open(dir: &TempDir, clock: &Arc<ManualClock>) -> DiskCache {
    let builder = DiskCache::builder(dir.path().join("cache")).capacity(ByteSize::mib(128));
    builder.min_free_space(ByteSize::default()).clock(clock.clone()).open().await.expect("it opens")
}

fn store(behind: &Arc<Watched>, cache: DiskCache, freshness: Freshness) -> DiskCacheStore {
    let store = DiskCacheStore::new(behind.clone(), cache, "test://store");
    store.freshness(freshness).block_size(ByteSize::bytes_of(BLOCK))
}

/// Bytes that differ from place to place, and from `seed` to `seed`.
fn body(seed: u64, len: u64) -> Bytes {
    (0..len).map(|at| ((at + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn path() -> Path {
    Path::from("a folder/an object")
}
