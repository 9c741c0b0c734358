//! Shuttle's locks and atomics behind the interface of those that they stand in for. Whatever a thread does with one is a
//! point at which another may go on. Atomics are sequentially consistent here, whatever order is asked for.

use shuttle::{
    Config, Runner,
    scheduler::RandomScheduler,
    sync::{self, RwLockReadGuard, RwLockWriteGuard},
};
use std::sync::PoisonError;

pub use shuttle::sync::{
    MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// A mutex without poisoning.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Locks it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A readers-writer lock without poisoning.
#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    /// Locks it for readers.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it for one writer.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `test` under so many random schedules of its threads as `DISK_CACHE_INTERLEAVINGS` says, from the seed
/// `DISK_CACHE_SEED`.
///
/// # Panics
/// If the test does under one of them, or its threads wait for one another for ever; the schedule is printed.
#[expect(clippy::print_stdout, reason = "whoever started the test reads it there")]
pub fn explore(test: impl Fn() + Send + Sync + 'static) {
    let number = |name, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (seed, schedules) = (number("DISK_CACHE_SEED", 1), number("DISK_CACHE_INTERLEAVINGS", 2_000));
    println!("seed {seed}");
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    // The module text says it.
    config.silence_warnings = true;
    let scheduler = RandomScheduler::new_from_seed(seed, schedules as usize);
    let tried = Runner::new(scheduler, config).run(test);
    println!("cases: {tried} interleavings");
}
