//! How a cache is opened.

use crate::{DiskCache, platform::choose, runtime::OwnRuntime};
use cache_core::{
    Admission, BackendChoice, ByteSize, Clock, Config, Durability, Error, OnDamage, Result, SystemClock,
};
use cache_store::Engine;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::JoinSet};

/// Collects what a cache is to be like; only the capacity is required. See [`Config`] for each value's meaning.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct Builder {
    config: Config,
    clock: Arc<dyn Clock>,
    admission: Option<Arc<dyn Admission>>,
}

impl Builder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self::from_config(Config::new(dir, ByteSize::default()))
    }

    /// A builder that starts from a configuration.
    pub fn from_config(config: Config) -> Self {
        Self { config, clock: Arc::new(SystemClock), admission: None }
    }

    /// Bytes on disk, a hard limit. Required.
    pub fn capacity(mut self, capacity: ByteSize) -> Self {
        self.config.capacity = capacity;
        self
    }

    /// Length of a log segment; derived from the capacity unless set.
    pub fn segment_size(mut self, size: ByteSize) -> Self {
        self.config.segment_size = Some(size);
        self
    }

    /// Which backend to use.
    pub fn backend(mut self, choice: BackendChoice) -> Self {
        self.config.backend = choice;
        self
    }

    /// What an insert waits for unless it says otherwise.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// How long an entry is fresh unless its insert says otherwise.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.config.default_ttl = Some(ttl);
        self
    }

    /// How long after its expiry reclaim still keeps an entry for readers that allow stale ones.
    pub fn stale_window(mut self, window: Duration) -> Self {
        self.config.stale_window = window;
        self
    }

    /// Largest body.
    pub fn max_entry_size(mut self, size: ByteSize) -> Self {
        self.config.max_entry_size = Some(size);
        self
    }

    /// Memory for records that wait to be written.
    pub fn write_buffer(mut self, size: ByteSize) -> Self {
        self.config.write_buffer = size;
        self
    }

    /// How long a record may wait in memory before it is written.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.config.flush_interval = interval;
        self
    }

    /// The cache does not grow while the file system has less than this left.
    pub fn min_free_space(mut self, size: ByteSize) -> Self {
        self.config.min_free_space = size;
        self
    }

    /// Bytes written to the log per byte inserted, at most, over time; from 1, where nothing is moved but from what a cache starts
    /// with, to 1000, where evictions follow the order of use exactly, whatever that writes.
    pub fn max_write_amplification(mut self, limit: f64) -> Self {
        self.config.max_write_amplification = limit;
        self
    }

    /// Reads past the page cache, so that the memory is left to others.
    pub fn direct_io(mut self, direct: bool) -> Self {
        self.config.direct_io = direct;
        self
    }

    /// Where the time comes from.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Asks a policy whether a key that is not stored is worth storing, [`crate::SecondHit`] for one. Without it everything is
    /// stored.
    pub fn admission(mut self, policy: Arc<dyn Admission>) -> Self {
        self.admission = Some(policy);
        self
    }

    /// What to do about a superblock that does not read.
    pub fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.config.on_damage = on_damage;
        self
    }

    /// Opens the cache.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::BackendUnavailable`], [`Error::Locked`], [`Error::UnsupportedFormat`],
    /// [`Error::Corrupt`], [`Error::StorageFull`], [`Error::Io`]. What is in the directory stays as good as it was.
    ///
    /// # Cancellation
    /// Safe: what is half open is let go of, what is open by then closes in the background; until that is done, another open
    /// gets [`Error::Locked`].
    pub async fn open(self) -> Result<DiskCache> {
        self.config.validate()?;
        let runtime = Arc::new(OwnRuntime::start()?);
        let Some(handle) = runtime.handle().cloned() else { return Err(Error::Closed) };
        // A set, because it ends its task when it is dropped.
        let mut opening = JoinSet::new();
        opening.spawn_on(self.open_on(handle.clone(), runtime.clone()), &handle);
        opening.join_next().await.map_or(Err(Error::Closed), |opened| opened.map_err(died)?)
    }

    /// Opens the cache from synchronous code; blocks the thread meanwhile.
    ///
    /// # Errors
    /// Those of [`Builder::open`].
    pub fn open_blocking(self) -> Result<DiskCache> {
        self.config.validate()?;
        let runtime = Arc::new(OwnRuntime::start()?);
        let Some(handle) = runtime.handle().cloned() else { return Err(Error::Closed) };
        let (done, opened) = std::sync::mpsc::sync_channel(1);
        let opening = self.open_on(handle.clone(), runtime.clone());
        handle.spawn(async move {
            // The one who waits does so until this is said.
            drop(done.send(opening.await));
        });
        opened.recv().map_err(died)?
    }

    async fn open_on(self, handle: Handle, runtime: Arc<OwnRuntime>) -> Result<DiskCache> {
        let backend = choose(self.config.backend, &runtime, &self.config.dir).await?;
        let engine = Engine::open(self.config, self.clock, backend, handle).await?;
        if let Some(policy) = self.admission {
            engine.admit_by(policy);
        }
        // From here on it closes itself, should nobody take it.
        Ok(DiskCache::new(engine, runtime))
    }
}

fn died(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("open", "the cache's directory", std::io::Error::other(error))
}
