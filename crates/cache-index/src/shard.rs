//! One of 256 parts of the index: its own lock, hash table, slots, order of use and objects.
//!
//! **Invariants**, while the lock is free:
//! - The hash table holds the number of every slot that is in the list, under its tag, and nothing else.
//! - The objects hold one row for every such slot that says it has one.

use crate::{
    Entry, ObjectRef, Position, SegmentId, Tag,
    lru::Lru,
    segments::{Seat, SegmentTable},
    slab::Slab,
    slot::{NONE, Slot},
    sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering},
};
use hashbrown::HashTable;

/// What a shard without entries shows as its oldest tick.
pub(crate) const EMPTY: u64 = u64::MAX;

/// Lines of its own, so that a shard's lock does not slow its neighbour down.
#[repr(align(128))]
pub(crate) struct Shard<S>(Mutex<Core<S>>);

/// No longer than a pair of cache lines, together with its lock: a look-up misses everything else anyway.
struct Core<S> {
    segments: Arc<SegmentTable<S>>,
    map: HashTable<u32>,
    slab: Slab,
    lru: Lru,
    /// A table of its own only where there are some: most entries have none.
    objects: Option<Box<Objects>>,
}

type Objects = HashTable<(u32, ObjectRef)>;

const _: () = assert!(cfg!(shuttle) || size_of::<Shard<()>>() == 128, "a shard fills one pair of lines");

impl<S: Clone> Shard<S> {
    pub(crate) fn new(segments: Arc<SegmentTable<S>>) -> Self {
        let core =
            Core { segments, map: HashTable::new(), slab: Slab::new(), lru: Lru::new(), objects: None };
        Self(Mutex::new(core))
    }

    /// `oldest` is where this shard shows the tick of its tail.
    pub(crate) fn lock<'a>(&'a self, oldest: &'a AtomicU64) -> Locked<'a, S> {
        let mut locked = self.lock_unsettled(oldest);
        let Core { lru, slab, .. } = &mut *locked.core;
        lru.settle(slab);
        locked
    }

    /// For what asks nothing of the order of use, and changes nothing but by a touch.
    pub(crate) fn lock_unsettled<'a>(&'a self, oldest: &'a AtomicU64) -> Locked<'a, S> {
        Locked { core: self.0.lock(), oldest }
    }
}

/// A shard whose lock is held.
pub(crate) struct Locked<'a, S> {
    core: MutexGuard<'a, Core<S>>,
    oldest: &'a AtomicU64,
}

impl<S: Clone> Locked<'_, S> {
    pub(crate) fn find(&self, tag: Tag) -> Option<u32> {
        let Core { map, slab, .. } = &*self.core;
        map.find(tag.0, |&n| slab.get(n).tag() == tag).copied()
    }

    pub(crate) fn find_at(&self, tag: Tag, expect: Position) -> Option<u32> {
        self.find(tag).filter(|&n| self.position(n) == expect)
    }

    pub(crate) fn entry(&self, n: u32) -> Entry {
        let slot = self.slot(n);
        let mut entry = slot.entry(self.core.segments.lowest());
        if slot.has_object() {
            entry.object = self.object(n);
        }
        entry
    }

    pub(crate) fn slot(&self, n: u32) -> &Slot {
        self.core.slab.get(n)
    }

    pub(crate) fn seat(&self, id: SegmentId) -> Option<&Seat<S>> {
        self.core.segments.seat(id)
    }

    pub(crate) fn tail(&self) -> Option<u32> {
        self.core.lru.oldest()
    }

    /// The slot used next after this one.
    pub(crate) fn newer(&self, n: u32) -> Option<u32> {
        Some(self.slot(n).newer()).filter(|&n| n != NONE)
    }

    pub(crate) fn insert(&mut self, tag: Tag, entry: &Entry, tick: u64) {
        let Core { map, slab, lru, .. } = &mut *self.core;
        let n = slab.take(Slot::new(tag, entry, tick));
        lru.push(slab, n);
        map.insert_unique(tag.0, n, |&n| slab.get(n).tag().0);
        if entry.object.is_some() {
            self.set_object(n, entry.object);
        }
        if self.tail() == Some(n) {
            self.show_oldest();
        }
    }

    /// Puts another entry into a slot; its tag, tick and place in the list stay.
    pub(crate) fn overwrite(&mut self, n: u32, entry: &Entry) {
        if self.slot(n).has_object() || entry.object.is_some() {
            self.set_object(n, entry.object);
        }
        self.core.slab.get_mut(n).set_entry(entry);
    }

    pub(crate) fn set_stale(&mut self, n: u32) {
        self.core.slab.get_mut(n).set_stale();
    }

    pub(crate) fn touch(&mut self, n: u32, tick: u64) {
        let was_tail = self.tail() == Some(n);
        let Core { slab, lru, .. } = &mut *self.core;
        slab.get_mut(n).set_tick(tick);
        lru.touch(slab, n);
        if was_tail {
            self.show_oldest();
        }
    }

    pub(crate) fn remove(&mut self, n: u32) {
        let was_tail = self.tail() == Some(n);
        if self.slot(n).has_object() {
            self.set_object(n, None);
        }
        let Core { map, slab, lru, .. } = &mut *self.core;
        if let Ok(row) = map.find_entry(slab.get(n).tag().0, |&other| other == n) {
            row.remove();
        }
        lru.unlink(slab, n);
        slab.give_back(n);
        if was_tail {
            self.show_oldest();
        }
    }

    /// Makes room for `more` entries in the hash table; less room than that only means to grow later.
    pub(crate) fn reserve(&mut self, more: usize) -> bool {
        let Core { map, slab, .. } = &mut *self.core;
        map.try_reserve(more, |&n| slab.get(n).tag().0).is_ok()
    }

    /// Takes a new segment table and gives the old one back, to be dropped outside the lock.
    pub(crate) fn swap_segments(&mut self, segments: Arc<SegmentTable<S>>) -> Arc<SegmentTable<S>> {
        std::mem::replace(&mut self.core.segments, segments)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let objects =
            self.core.objects.as_ref().map_or(0, |objects| size_of::<Objects>() + objects.allocation_size());
        self.core.map.allocation_size() + self.core.slab.memory_bytes() + objects
    }

    pub(crate) fn each_object(&self, mut f: impl FnMut(Tag, Entry)) {
        let lowest = self.core.segments.lowest();
        for (n, object) in self.core.objects.iter().flat_map(|objects| objects.iter()) {
            let slot = self.slot(*n);
            f(slot.tag(), Entry { object: Some(*object), ..slot.entry(lowest) });
        }
    }

    fn object(&self, n: u32) -> Option<ObjectRef> {
        self.core.objects.as_ref()?.find(object_hash(n), |row| row.0 == n).map(|row| row.1)
    }

    fn position(&self, n: u32) -> Position {
        self.slot(n).position(self.core.segments.lowest())
    }

    fn set_object(&mut self, n: u32, object: Option<ObjectRef>) {
        let objects = self.core.objects.get_or_insert_default();
        if let Ok(row) = objects.find_entry(object_hash(n), |row| row.0 == n) {
            row.remove();
        }
        if let Some(object) = object {
            objects.insert_unique(object_hash(n), (n, object), |row| object_hash(row.0));
        }
    }

    fn show_oldest(&self) {
        let tick = self.tail().map_or(EMPTY, |n| self.slot(n).tick());
        self.oldest.store(tick, Ordering::Release);
    }
}

/// Slot numbers are small and dense; Fibonacci hashing spreads them over the top and the bottom bits.
fn object_hash(n: u32) -> u64 {
    let mixed = u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 32
}

/// What `check_invariants` reads.
impl<S: Clone> Locked<'_, S> {
    pub(crate) fn segments(&self) -> &Arc<SegmentTable<S>> {
        &self.core.segments
    }

    pub(crate) fn slab(&self) -> &Slab {
        &self.core.slab
    }

    #[cfg(test)]
    pub(crate) fn slot_mut(&mut self, n: u32) -> &mut Slot {
        self.core.slab.get_mut(n)
    }

    pub(crate) fn head(&self) -> Option<u32> {
        self.core.lru.newest()
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.core.map.len(), self.core.objects.as_ref().map_or(0, |objects| objects.len()))
    }

    pub(crate) fn shown(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flags;

    fn entry(object: Option<ObjectRef>) -> Entry {
        let position = Position::new(SegmentId::new(1), 0);
        Entry { position, len: 8, expires_ms: 0, flags: Flags::default(), object }
    }

    #[test]
    fn a_shard_takes_the_memory_that_was_reserved_and_that_of_slots_and_objects() {
        let shard = Shard::<()>::new(Arc::new(SegmentTable::empty()));
        let oldest = AtomicU64::new(EMPTY);
        let mut shard = shard.lock(&oldest);
        assert!(!shard.reserve(usize::MAX));
        assert!(shard.reserve(1000));
        let reserved = shard.memory_bytes();
        assert!(reserved >= 1000 * size_of::<u32>(), "{reserved}");
        for n in 0..1000 {
            shard.insert(Tag(n), &entry(None), n);
        }
        let slots = shard.slab().memory_bytes();
        assert_eq!(shard.memory_bytes(), reserved + slots);
        let object = ObjectRef { id: 1, disk: 4096 };
        shard.overwrite(0, &entry(Some(object)));
        let rows = shard.memory_bytes() - reserved - slots;
        assert!((size_of::<(u32, ObjectRef)>()..4096).contains(&rows), "{rows}");
    }
}
