//! One thread, one directory, and the section whose costs count.

use crate::{
    allocator,
    counting::{Calls, Counting},
    run::{BEGINS, ENDS},
};
use backend_tokio::TokioBackend;
use benches::{Result, data_dir::DataDir};
use cache_store::Engine;
use disk_cache::{ByteSize, Config, SystemClock};
use serde::{Deserialize, Serialize};
use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Runtime;

/// What a workload counted in its section.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) backend_calls: u64,
    pub(crate) syncs: u64,
    pub(crate) written_bytes: u64,
    /// Bytes of bodies inserted; 0 where there is nothing to relate what is written to.
    pub(crate) inserted_bytes: u64,
    /// What the processor is said to be capable of: under valgrind this is not the machine's.
    pub(crate) processor: String,
}

/// The runtime of one thread, on which caller and cache take turns, and the run's directory.
pub(crate) struct Rig {
    runtime: Runtime,
    dir: DataDir,
    calls: Arc<Calls>,
}

impl Rig {
    pub(crate) fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, dir: DataDir::new(None)?, calls: Arc::default() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What does not count.
    pub(crate) fn prepare<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Waits until the background work has nothing left to do: until it has asked nothing of the backend for a while.
    pub(crate) async fn rest(&self) {
        let (mut calls, mut same) = (self.calls.calls(), 0);
        while same < 4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.calls.calls();
            same = if now == calls { same + 1 } else { 0 };
            calls = now;
        }
    }

    /// What counts.
    pub(crate) fn count<T>(
        &self,
        operations: usize,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(Counts, T)> {
        let (calls, syncs, written) = (self.calls.calls(), self.calls.syncs(), self.calls.written());
        mark(BEGINS);
        let (allocations, bytes) = allocator::counts();
        let done = counted_section(&self.runtime, work);
        let (allocations_after, bytes_after) = allocator::counts();
        mark(ENDS);
        let counts = Counts {
            operations: operations as u64,
            allocations: allocations_after - allocations,
            allocated_bytes: bytes_after - bytes,
            backend_calls: self.calls.calls() - calls,
            syncs: self.calls.syncs() - syncs,
            written_bytes: self.calls.written() - written,
            inserted_bytes: 0,
            processor: processor(),
        };
        Ok((counts, done?))
    }

    /// Opens a cache that writes only when a buffer is full or somebody asks: no timer decides how often.
    pub(crate) async fn open(&self, dir: &Path, capacity: ByteSize) -> Result<Engine<Counting>> {
        let mut config = Config::new(dir, capacity);
        config.segment_size = Some(ByteSize::mib(4));
        config.flush_interval = Duration::from_secs(60);
        // Few buffers, so that it matters little how many of them are ever made.
        config.write_buffer = ByteSize::mib(4);
        config.min_free_space = ByteSize::mib(1);
        let handle = self.runtime.handle().clone();
        let backend = Counting::new(TokioBackend::new(handle.clone()), self.calls.clone());
        Ok(Engine::open(config, Arc::new(SystemClock), backend, handle).await?)
    }
}

/// Named for valgrind, which counts between its beginning and its end.
#[inline(never)]
fn counted_section<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
    runtime.block_on(work)
}

/// A system call that does nothing and that a trace shows: the beginning and the end of what counts.
fn mark(name: &str) {
    // It is not there.
    drop(std::fs::metadata(name));
}

fn processor() -> String {
    let mut features = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
            ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
            ("sha", std::arch::is_x86_feature_detected!("sha")),
            ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ];
        features.extend(known.iter().filter(|(_, has)| *has).map(|(name, _)| *name));
    }
    features.join(" ")
}
