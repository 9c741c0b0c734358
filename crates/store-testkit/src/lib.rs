//! What the engine's tests share: caches in memory that are cheap to open, a driver beside the model, an order of all steps.
//!
//! **Invariant**: the engine is compiled here for the backends that most tests use, once ([`erased`]); a test binary links it.
#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, and box nothing"
)]

pub mod drive;
pub mod turns;
pub mod workload;

use bytes::Bytes;
use cache_core::{BoxFuture, ByteSize, Cache, CacheKey, Config, DynCache, GetOptions, Result, SystemClock};
use cache_store::Engine;
use cache_testkit::{FaultBackend, MemoryBackend, Seen};
use std::{str::FromStr, sync::Arc};
use tokio::runtime::Handle;

/// Where the caches are.
pub const DIR: &str = "/cache";

/// A small cache: segments of 16 KiB, bodies over 2 KiB out of line.
pub fn config() -> Config {
    let mut config = Config::new(DIR, ByteSize::kib(256));
    config.segment_size = Some(ByteSize::kib(16));
    config.write_buffer = ByteSize::kib(64);
    config.min_free_space = ByteSize::bytes_of(0);
    config
}

/// Opens a small cache.
///
/// # Panics
/// Where it does not open.
pub async fn open(backend: &MemoryBackend) -> Engine<MemoryBackend> {
    open_with(backend, config()).await
}

/// Opens a cache.
///
/// # Panics
/// Where it does not open.
pub async fn open_with(backend: &MemoryBackend, config: Config) -> Engine<MemoryBackend> {
    let clock = Arc::new(SystemClock);
    Engine::open(config, clock, backend.clone(), Handle::current()).await.unwrap()
}

/// Caches in memory, without and with planted faults, opened and without their types.
pub fn erased(config: &Config) -> [BoxFuture<'static, Result<Arc<dyn DynCache>>>; 2] {
    let (config, other, clock) = (config.clone(), config.clone(), Arc::new(SystemClock));
    let (here, backend) = (Handle::current(), disk());
    let plain = Engine::open(config, clock.clone(), backend.clone(), here.clone());
    let faulty = Engine::open(other, clock, FaultBackend::new(backend), here);
    [
        Box::pin(async { Ok(Arc::new(plain.await?) as Arc<dyn DynCache>) }),
        Box::pin(async { Ok(Arc::new(faulty.await?) as Arc<dyn DynCache>) }),
    ]
}

/// Files in memory.
pub fn disk() -> MemoryBackend {
    MemoryBackend::with_dir("/")
}

/// The key of that number.
pub fn key(n: u64) -> CacheKey {
    CacheKey::new("ns", format!("path-{n}"))
}

/// A body that tells its key and version in every 16 bytes.
pub fn body(n: u64, version: u64, len: usize) -> Bytes {
    let pattern = [n.to_le_bytes(), version.to_le_bytes()].concat();
    pattern.iter().copied().cycle().take(len).collect::<Vec<u8>>().into()
}

/// The body under a key, without counting as a use.
///
/// # Panics
/// Where it cannot be read.
pub async fn peek(engine: &impl Cache, key: &CacheKey) -> Option<Bytes> {
    let hit = engine.get_with(key, GetOptions::new().peek(true)).await.unwrap()?;
    Some(hit.bytes().await.unwrap())
}

/// A cache of segments of 4 KiB, bodies over 512 bytes out of line: cheap to open, and its log turns over soon.
pub fn tiny(segments: u64) -> Config {
    let mut config = Config::new(DIR, ByteSize::kib(4 * segments));
    config.segment_size = Some(ByteSize::kib(4));
    config.write_buffer = ByteSize::kib(8);
    config.min_free_space = ByteSize::bytes_of(0);
    // So that reclaim never gives an entry up: a miss is a loss then.
    config.max_write_amplification = 100.0;
    config
}

/// A look that leaves no trace, stale entries allowed.
///
/// # Errors
/// Those of the get.
pub async fn peek_stale(engine: &impl Cache, key: &CacheKey) -> Result<Option<Seen>> {
    let options = GetOptions::new().peek(true).allow_stale(true);
    let Some(hit) = engine.get_with(key, options).await? else { return Ok(None) };
    let body = hit.bytes().await?;
    Ok(Some(Seen { body, meta: hit.meta().clone(), stale: hit.is_stale() }))
}

/// A number from the environment, for runs longer than the default.
pub fn from_env<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A runtime of one thread whose time stands still while there is work, and jumps to the next timer when there is none: a
/// wait for ever shows as a timeout at once.
///
/// # Panics
/// Where there is none to be had.
pub fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Waits.
///
/// # Panics
/// Where the future would wait for ever.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(std::time::Duration::from_secs(3600), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} waits for ever"),
    }
}
