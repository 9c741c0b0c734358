//! What the engine counts: relaxed atomics, the busy ones striped by key so that gets on different keys do not share a
//! cache line.

use crate::sync::{AtomicU64, Ordering, RwLock};
use cache_core::NamespaceStats;
use cache_index::Tag;
use std::{collections::HashMap, sync::Arc};

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

/// Counters that every get touches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct GetCounts {
    pub(crate) hits: Count,
    pub(crate) misses: Count,
    pub(crate) fast_reads: Count,
}

const STRIPES: usize = 16;
/// Namespaces that are counted: those met first, so that a flood of names costs bounded memory.
const MAX_NAMESPACES: usize = 1024;

/// The counters of one namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceCounts {
    pub(crate) hits: Count,
    pub(crate) misses: Count,
    pub(crate) inserts: Count,
    pub(crate) purges: Count,
}

/// All counters of an engine.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    gets: [GetCounts; STRIPES],
    namespaces: RwLock<HashMap<Box<[u8]>, Arc<NamespaceCounts>>>,
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
    pub(crate) in_flight: AtomicU64,
}

/// Counts an operation as under way until dropped.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn gets(&self, tag: Tag) -> &GetCounts {
        &self.gets[(tag.0 >> 20) as usize % STRIPES]
    }

    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    pub(crate) fn sum(&self, of: impl Fn(&GetCounts) -> &Count) -> u64 {
        self.gets.iter().map(|g| of(g).get()).sum()
    }

    /// Counts something for a namespace.
    pub(crate) fn namespace(&self, name: &[u8], count: impl Fn(&NamespaceCounts)) {
        if let Some(counts) = self.namespaces.read().get(name) {
            return count(counts);
        }
        let mut all = self.namespaces.write();
        if all.len() < MAX_NAMESPACES {
            count(all.entry(name.into()).or_default());
        }
    }

    pub(crate) fn of_namespace(&self, name: &[u8]) -> NamespaceStats {
        let mut stats = NamespaceStats::default();
        if let Some(counts) = self.namespaces.read().get(name) {
            stats.hits = counts.hits.get();
            stats.misses = counts.misses.get();
            stats.inserts = counts.inserts.get();
            stats.purges = counts.purges.get();
        }
        stats
    }
}
