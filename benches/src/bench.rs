//! What all rows of a run share.

use crate::{
    Result, backing,
    client::{Client, Pace},
    data_dir::DataDir,
    dataset::Dataset,
    options::LoadOptions,
    peer_process::{PeerProcess, Setup},
    store::{Crowd, Peer},
    table,
};
use disk_cache::{BackendChoice, ByteSize, DiskCache, Error};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A run: its options, its tasks, its directory, and the backends that work here.
#[derive(Debug)]
pub struct Bench {
    /// What was asked for.
    pub options: LoadOptions,
    /// Those who ask.
    pub client: Client,
    dir: DataDir,
    choices: Vec<(BackendChoice, String)>,
    peers: Vec<Box<dyn Peer>>,
}

impl Bench {
    /// Sets a run up, and says which backends it goes without.
    ///
    /// # Errors
    /// Where there is no directory, no thread, or no backend.
    pub fn new(options: LoadOptions, dir: DataDir, peers: Vec<Box<dyn Peer>>) -> Result<Self> {
        let mut bench = Self { client: Client::start()?, choices: Vec::new(), peers, options, dir };
        for &choice in bench.options.backend.choices() {
            let dir = bench.path("choice");
            match bench.open(&dir, choice, ByteSize::mib(64)) {
                Ok(cache) => {
                    let kind = cache.stats().backend;
                    let name = if choice == BackendChoice::Auto {
                        format!("auto: {kind}")
                    } else {
                        kind.to_string()
                    };
                    bench.choices.push((choice, name));
                    bench.close(&cache)?;
                    std::fs::remove_dir_all(&dir)?;
                }
                Err(Error::BackendUnavailable { backend, reason }) => {
                    table::line(&format!(
                        "SKIPPED: all rows of {backend}, which cannot be used here ({reason})"
                    ));
                }
                Err(other) => return Err(other.into()),
            }
        }
        if bench.choices.is_empty() {
            return Err("none of the backends asked for can be used here".into());
        }
        Ok(bench)
    }

    /// The backends that work here, with their names.
    pub fn choices(&self) -> &[(BackendChoice, String)] {
        &self.choices
    }

    /// Other caches to stand beside.
    pub fn peers(&self) -> impl Iterator<Item = &dyn Peer> {
        self.peers.iter().map(|peer| &**peer)
    }

    /// Starts a peer's process with a cache of so many bytes in `dir`; requests will take `draws`.
    ///
    /// # Errors
    /// Where it cannot be started, or the cache does not open.
    pub fn start(
        &self,
        peer: &dyn Peer,
        dir: PathBuf,
        capacity: u64,
        data: &Dataset,
        draws: &[u32],
    ) -> Result<PeerProcess> {
        PeerProcess::start(peer, &Setup::new(dir, capacity, self.options.tasks, data).drawing(draws))
    }

    /// Those who ask for a dataset in this process.
    pub fn crowd<'a>(&'a self, data: &'a Arc<Dataset>) -> Crowd<'a> {
        Crowd { client: &self.client, tasks: self.options.tasks, data }
    }

    /// A place in the run's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The run's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How long a round is; `sampled` for operations of a microsecond.
    pub fn pace(&self, sampled: bool) -> Pace {
        Pace { time: self.options.time(), sampled }
    }

    /// Opens a cache.
    ///
    /// # Errors
    /// Those of the open.
    pub fn open(&self, dir: &Path, choice: BackendChoice, capacity: ByteSize) -> Result<DiskCache, Error> {
        self.client.block_on(DiskCache::builder(dir).backend(choice).capacity(capacity).open())
    }

    /// Closes a cache.
    ///
    /// # Errors
    /// Those of the close.
    pub fn close(&self, cache: &DiskCache) -> Result<()> {
        Ok(self.client.block_on(cache.close())?)
    }

    /// Waits until the file system has written what earlier rounds left behind, so that no round pays for another, and sees
    /// to it that free memory is at hand.
    ///
    /// # Errors
    /// Those of the device.
    pub fn settle(&self) -> Result<()> {
        rustix::fs::syncfs(std::fs::File::open(self.dir.path())?)?;
        backing::touch_free_memory();
        Ok(())
    }
}
