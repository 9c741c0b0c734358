//! An engine over files in memory, with every call noted.

use crate::{
    common::epoch,
    counting::{Call, Counting},
};
use cache_store::Engine;
use cache_testkit::{FaultBackend, MemoryBackend, Verb};
use disk_cache::{ByteSize, Config, InsertOptions, ManualClock};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::runtime::Handle;

pub(crate) type Backend = Counting<FaultBackend<MemoryBackend>>;

/// A disk, and engines on it.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) disk: MemoryBackend,
    pub(crate) faults: FaultBackend<MemoryBackend>,
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: Config,
}

/// Bytes of a segment; bodies over an eighth of it, 128 KiB, go out of line.
pub(crate) const SEGMENT: u64 = 1 << 20;

impl Rig {
    /// A disk with a cache of 64 segments to come.
    fn new(disk: MemoryBackend) -> Self {
        let faults = FaultBackend::new(disk.clone());
        let mut config = Config::new("/cache", ByteSize::bytes_of(64 * SEGMENT));
        config.segment_size = Some(ByteSize::bytes_of(SEGMENT));
        config.min_free_space = ByteSize::default();
        let clock = Arc::new(ManualClock::new(epoch()));
        Self { backend: Counting::new(faults.clone()), disk, faults, clock, config }
    }

    /// The same disk with another cache's directory.
    pub(crate) fn at(&self, name: &str) -> Self {
        let mut rig = self.clone();
        rig.config.dir.push(name);
        rig
    }

    /// Opens, and forgets the calls that took.
    pub(crate) async fn open(&self) -> Engine<Backend> {
        let engine = self.open_noting().await;
        self.calls().await;
        engine
    }

    pub(crate) async fn open_noting(&self) -> Engine<Backend> {
        let (config, clock, backend) = (self.config.clone(), self.clock.clone(), self.backend.clone());
        Engine::open(config, clock, backend, Handle::current()).await.unwrap()
    }

    /// What was called since the last look, all that was begun brought to its end.
    pub(crate) async fn calls(&self) -> Calls {
        rest().await;
        Calls(self.backend.take())
    }

    /// The same disk after a kill.
    pub(crate) fn killed(&self) -> Self {
        Self { config: self.config.clone(), ..Self::new(self.disk.kill()) }
    }
}

/// Calls, to count.
#[derive(Debug)]
pub(crate) struct Calls(pub(crate) Vec<Call>);

impl Calls {
    pub(crate) fn of(&self, verb: Verb) -> Vec<&Call> {
        self.0.iter().filter(|call| call.verb == verb).collect()
    }
    pub(crate) fn count(&self, verb: Verb) -> usize {
        self.of(verb).len()
    }
    /// Calls that name something in a directory.
    pub(crate) fn within(&self, dir: &str) -> Self {
        let dir = Path::new("/cache").join(dir);
        Self(self.0.iter().filter(|call| call.path.starts_with(&dir)).cloned().collect())
    }
    pub(crate) fn bytes(&self, verb: Verb) -> u64 {
        self.of(verb).iter().map(|call| call.len).sum()
    }
    pub(crate) fn assert_none(&self) {
        assert!(self.0.is_empty(), "{:?}", self.0.iter().map(|c| (c.verb, &c.path)).collect::<Vec<_>>());
    }
}

/// Waits until there is nothing left to do: time passes only then.
pub(crate) async fn rest() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Runs one case.
pub(crate) fn run<F: Future<Output = ()>>(case: impl FnOnce(Rig) -> F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let patience = Duration::from_secs(1_000_000);
        let case = case(Rig::new(MemoryBackend::with_dir("/")));
        tokio::time::timeout(patience, case).await.expect("it waits for ever");
    });
}

pub(crate) fn at(durability: disk_cache::Durability) -> InsertOptions {
    InsertOptions::new().durability(durability)
}
