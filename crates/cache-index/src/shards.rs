//! All shards, and what each shows as its oldest tick.
//!
//! **Invariants**: `oldest` shows the tick of a shard's tail, or [`EMPTY`], while the shard's lock is free. It only grows while
//! the shard has entries, and what it jumps to from [`EMPTY`] is a fresh tick: so a tail that was the smallest of all still is,
//! if it is still there.

use crate::{
    segments::SegmentTable,
    shard::{EMPTY, Locked, Shard},
    sync::{Arc, AtomicU64, Ordering},
};

/// A model checker goes through every lock, and needs few.
const SHARDS: usize = if cfg!(shuttle) { 4 } else { 256 };

pub(crate) struct Shards<S> {
    shards: Box<[Shard<S>; SHARDS]>,
    /// Side by side, since an eviction looks at all of them.
    oldest: Box<[AtomicU64; SHARDS]>,
}

impl<S: Clone> Shards<S> {
    pub(crate) const COUNT: usize = SHARDS;

    pub(crate) fn new(segments: &Arc<SegmentTable<S>>) -> Self {
        Self {
            shards: Box::new(std::array::from_fn(|_| Shard::new(Arc::clone(segments)))),
            oldest: Box::new(std::array::from_fn(|_| AtomicU64::new(EMPTY))),
        }
    }

    pub(crate) fn lock(&self, i: usize) -> Locked<'_, S> {
        self.shards[i].lock(&self.oldest[i])
    }

    /// For what asks nothing of the order of use, and changes nothing but by a touch.
    pub(crate) fn lock_unsettled(&self, i: usize) -> Locked<'_, S> {
        self.shards[i].lock_unsettled(&self.oldest[i])
    }

    /// Each of them locked, one after another.
    pub(crate) fn each(&self) -> impl Iterator<Item = Locked<'_, S>> {
        (0..SHARDS).map(|i| self.lock(i))
    }

    /// The smallest tick that a shard shows, and which one; `None`: all are empty.
    pub(crate) fn oldest(&self) -> Option<(u64, usize)> {
        let shown = self.oldest.iter().map(|tick| tick.load(Ordering::Acquire)).zip(0..);
        shown.min().filter(|&(tick, _)| tick != EMPTY)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let shards: usize = self.each().map(|shard| shard.memory_bytes()).sum();
        size_of_val(&*self.shards) + size_of_val(&*self.oldest) + shards
    }
}
