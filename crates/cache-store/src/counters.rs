//! What the engine counts. What every get counts is striped by thread, so that threads do not take a cache line from one
//! another.

use crate::sync::{AtomicU64, Mutex, Ordering, thread_number};
use cache_core::NamespaceStats;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// A counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub(crate) fn one(&self) {
        self.add(1);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What every operation on a key touches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
    pub(crate) hits: Count,
    pub(crate) misses: Count,
    pub(crate) fast_reads: Count,
    in_flight: AtomicU64,
    namespaces: Mutex<HashMap<Arc<[u8]>, NamespaceStats>>,
}

const STRIPES: usize = 16;
/// Namespaces that are counted: those met first, so that a flood of names costs bounded memory.
const MAX_NAMESPACES: usize = 1024;

/// All counters of an engine.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
    /// The namespaces that are counted, whichever stripe met them first.
    namespaces: Mutex<HashSet<Arc<[u8]>>>,
    pub(crate) inserts: Count,
    pub(crate) removes: Count,
    pub(crate) evictions: Count,
    pub(crate) early_evictions: Count,
    pub(crate) expirations: Count,
    pub(crate) purged: Count,
    pub(crate) shed: Count,
    pub(crate) not_admitted: Count,
    pub(crate) corruptions: Count,
    pub(crate) read_errors: Count,
    pub(crate) write_errors: Count,
    pub(crate) cleanup_errors: Count,
    pub(crate) bytes_written: Count,
    pub(crate) bytes_relocated: Count,
}

/// Counts an operation as under way until dropped.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stripe {
    /// An operation begins.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }
}

impl Counters {
    /// The stripe of this thread.
    pub(crate) fn here(&self) -> &Stripe {
        self.stripe(thread_number())
    }

    /// That of the thread with this number.
    pub(crate) fn stripe(&self, thread: usize) -> &Stripe {
        &self.stripes[thread % STRIPES]
    }

    pub(crate) fn sum(&self, of: impl Fn(&Stripe) -> &Count) -> u64 {
        self.stripes.iter().map(|s| of(s).get()).sum()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.stripes.iter().map(|s| s.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// Counts something for a namespace.
    pub(crate) fn namespace(&self, stripe: &Stripe, name: &[u8], count: impl FnOnce(&mut NamespaceStats)) {
        let mut counted = stripe.namespaces.lock();
        if let Some(stats) = counted.get_mut(name) {
            return count(stats);
        }
        if let Some(name) = self.counted(name) {
            count(counted.entry(name).or_default());
        }
    }

    /// A namespace as it is kept; `None`: it came after too many others.
    fn counted(&self, name: &[u8]) -> Option<Arc<[u8]>> {
        let mut all = self.namespaces.lock();
        if all.len() < MAX_NAMESPACES {
            return Some(all.get_or_insert_with(name, |name| Arc::from(name)).clone());
        }
        all.get(name).cloned()
    }

    pub(crate) fn of_namespace(&self, name: &[u8]) -> NamespaceStats {
        let mut sum = NamespaceStats::default();
        for stripe in &self.stripes {
            if let Some(part) = stripe.namespaces.lock().get(name) {
                sum.hits += part.hits;
                sum.misses += part.misses;
                sum.inserts += part.inserts;
                sum.purges += part.purges;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_counted_over_all_keys_and_one_that_came_too_late_not_at_all() {
        let counters = Counters::default();
        for stripe in &counters.stripes {
            counters.namespace(stripe, b"first", |n| n.hits += 1);
        }
        for (n, stripe) in (1..MAX_NAMESPACES as u64).zip(counters.stripes.iter().cycle()) {
            counters.namespace(stripe, &n.to_le_bytes(), |n| n.misses += 1);
        }
        for stripe in &counters.stripes {
            counters.namespace(stripe, b"late", |n| n.hits += 1);
            counters.namespace(stripe, &1u64.to_le_bytes(), |n| n.misses += 1);
        }
        assert_eq!(counters.of_namespace(b"first").hits, STRIPES as u64);
        assert_eq!(counters.of_namespace(b"late"), NamespaceStats::default());
        assert_eq!(
            counters.of_namespace(&1u64.to_le_bytes()).misses,
            STRIPES as u64 + 1,
            "also in stripes that had not met it"
        );
    }
}
