//! Tells a fetch that its URL was invalidated while it ran.

use disk_cache::CacheKey;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often the URLs of each of a few groups were invalidated. Neighbours in a group disturb each other, which costs a
/// store now and then, and never keeps anything that should go.
#[derive(Debug)]
pub(crate) struct Epochs([AtomicU64; 256]);

/// The state of a URL's group at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    group: u8,
    count: u64,
}

impl Epochs {
    /// All at zero.
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// The moment before a fetch.
    pub(crate) fn now(&self, key: &CacheKey) -> Epoch {
        let group = group(key);
        Epoch { group, count: self.0[usize::from(group)].load(Ordering::SeqCst) }
    }

    /// Invalidates, before the purge: a store that looks after its insert then sees either this or is purged.
    pub(crate) fn bump(&self, key: &CacheKey) {
        self.0[usize::from(group(key))].fetch_add(1, Ordering::SeqCst);
    }

    /// Whether nothing was invalidated since.
    pub(crate) fn still(&self, epoch: Epoch) -> bool {
        self.0[usize::from(epoch.group)].load(Ordering::SeqCst) == epoch.count
    }
}

fn group(key: &CacheKey) -> u8 {
    key.digest()[0]
}
