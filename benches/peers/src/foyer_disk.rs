//! foyer's disk tier: its memory tier holds nothing, so that every get is answered by the disk tier and its write queue, and
//! everything goes through the page cache, as with the cache beside it.
//!
//! It drops what comes faster than it writes. Here its queue takes all that comes, and who inserts waits whenever
//! [`AHEAD`] bytes have not been written, so that it drops as little as it can.

use benches::{
    Result,
    client::Client,
    naive::sync_all,
    store::{Opened, Peer, Store},
};
use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, IoEngineConfig, Load,
    PsyncIoEngineConfig, UringIoEngineConfig,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Mutex;

/// Bytes that are inserted before who inserts waits for the writes: as much memory as the cache beside it takes for writes.
const AHEAD: u64 = 16 << 20;
/// Its buffers and its queue: room for what is waiting, and for what comes while one waits.
const QUEUE: usize = 64 << 20;

/// Which of its I/O engines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Uring,
    Psync,
}

/// foyer with an engine.
#[derive(Debug)]
pub(crate) struct FoyerDisk(pub(crate) Engine);

impl Peer for FoyerDisk {
    fn name(&self) -> &'static str {
        match self.0 {
            Engine::Uring => "foyer io_uring",
            Engine::Psync => "foyer psync",
        }
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn open(&self, client: &Client, dir: &Path, capacity: u64, body: usize) -> Result<Box<dyn Opened>> {
        let capacity = usize::try_from(capacity)?;
        let device = FsDeviceBuilder::new(dir).with_capacity(capacity).build()?;
        // As many blocks as the cache beside it has segments, as far as a body fits; its own default is 16 MiB.
        let block = (capacity / 64).next_power_of_two().clamp(1 << 20, 16 << 20).max(body * 2);
        let config = BlockEngineConfig::new(device)
            .with_block_size(block)
            .with_flushers(2)
            .with_reclaimers(2)
            .with_clean_block_threshold(4)
            .with_buffer_pool_size(QUEUE)
            .with_submit_queue_size_threshold(QUEUE);
        let builder = HybridCacheBuilder::new()
            .memory(1)
            .with_shards(1)
            .with_weighter(|_: &String, _: &Bytes| 1)
            .storage();
        let builder = match self.0 {
            Engine::Uring => {
                let engine: Box<dyn IoEngineConfig> = Box::new(UringIoEngineConfig::new().with_io_depth(256));
                builder.with_io_engine_config(engine)
            }
            Engine::Psync => builder.with_io_engine_config(PsyncIoEngineConfig::new()),
        };
        let cache = client.block_on(builder.with_engine_config(config).build())?;
        Ok(Box::new(Disk { cache, dir: dir.into(), ahead: Arc::default(), writing: Arc::default() }))
    }
}

#[derive(Clone)]
struct Disk {
    cache: HybridCache<String, Bytes>,
    dir: Arc<Path>,
    /// Bytes inserted since the last wait.
    ahead: Arc<AtomicU64>,
    writing: Arc<Mutex<()>>,
}

impl Store for Disk {
    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self.cache.storage().load(name).await? {
            Load::Entry { value, .. } => Ok(Some(value)),
            Load::Piece { piece, .. } => Ok(Some(piece.value().clone())),
            Load::Throttled | Load::Miss => Ok(None),
        }
    }

    async fn insert(&self, name: &str, body: Bytes) -> Result<()> {
        let len = body.len() as u64;
        if self.ahead.fetch_add(len, Ordering::Relaxed) > AHEAD {
            let waits = self.writing.lock().await;
            if self.ahead.load(Ordering::Relaxed) > AHEAD {
                self.cache.storage().wait().await;
                self.ahead.store(0, Ordering::Relaxed);
            }
            drop(waits);
        }
        drop(self.cache.storage_writer(name.to_owned()).force().insert(body));
        Ok(())
    }

    /// It waits for its writes and has no sync: its file system's takes that part.
    async fn settle(&self) -> Result<()> {
        self.cache.storage().wait().await;
        sync_all(&self.dir).await
    }

    async fn close(&self) -> Result<()> {
        Ok(self.cache.close().await?)
    }
}
