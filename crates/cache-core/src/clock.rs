//! Wall clocks. Time decides expiry and nothing else: order comes from the log.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, SystemTime},
};

/// Where the cache gets the time from. Asked only for entries that have an expiry, and at inserts.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now. May jump in either direction.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that moves only when it is told to, for tests of expiry.
#[derive(Debug)]
pub struct ManualClock(Mutex<SystemTime>);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: SystemTime) -> Self {
        Self(Mutex::new(start))
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, to: SystemTime) {
        *self.lock() = to;
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.lock() += by;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SystemTime> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.lock()
    }
}
