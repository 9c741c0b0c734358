//! What the proxy counts, and the line it logs of it.

use crate::verdict::Verdict;
use disk_cache::{ByteSize, Stats};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Totals since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    joined: AtomicU64,
    bypasses: AtomicU64,
    /// Bytes of bodies sent from the cache.
    pub(crate) served: Arc<AtomicU64>,
    /// Bytes of bodies received from the origin.
    pub(crate) fetched: Arc<AtomicU64>,
}

impl Counters {
    /// Counts one answer.
    pub(crate) fn count(&self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Hit => &self.hits,
            Verdict::Miss => &self.misses,
            Verdict::Stale => &self.stale,
            Verdict::Joined => &self.joined,
            Verdict::Bypass => &self.bypasses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Logs one line of totals, with the cache's size.
    pub(crate) fn log(&self, stats: &Stats) {
        let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        tracing::info!(
            hits = n(&self.hits),
            misses = n(&self.misses),
            stale = n(&self.stale),
            joined = n(&self.joined),
            bypasses = n(&self.bypasses),
            served = %Readable(n(&self.served)),
            fetched = %Readable(n(&self.fetched)),
            entries = stats.entries,
            disk = %Readable(stats.disk_bytes),
            capacity = %ByteSize::bytes_of(stats.capacity),
            backend = %stats.backend,
        );
    }
}

/// Bytes as people read them, rounded.
struct Readable(u64);

impl std::fmt::Display for Readable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut size, mut unit) = (self.0 as f64, "B");
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if size < 1024.0 {
                break;
            }
            (size, unit) = (size / 1024.0, larger);
        }
        if unit == "B" { write!(f, "{size}B") } else { write!(f, "{size:.1}{unit}") }
    }
}
