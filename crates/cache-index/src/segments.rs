//! The segments that entries may point into: a handle and a count of live bytes each.
//!
//! **Invariants**: a table never changes; attaching and detaching build a new one, which every shard takes over under its
//! own lock. So whoever holds a shard's lock finds the segment of each of its entries. The counts are shared between the
//! tables. The ids of a table span fewer than [`MAX_SEGMENTS`].

use crate::{
    Index, SegmentId,
    slot::SEGMENT_BITS,
    sync::{Arc, AtomicU64, Ordering},
};

/// The ids of the segments in use span fewer than this many, so that a slot needs 14 bits of an id.
pub const MAX_SEGMENTS: u32 = 1 << SEGMENT_BITS;

#[derive(Clone, Debug)]
pub(crate) struct Seat<S> {
    pub(crate) handle: S,
    live: Arc<AtomicU64>,
}

impl<S> Seat<S> {
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.live.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, bytes: u64) {
        self.live.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Seats by id, beginning with the lowest id in use.
#[derive(Debug)]
pub(crate) struct SegmentTable<S> {
    lowest: u32,
    seats: Vec<Option<Seat<S>>>,
}

impl<S: Clone> SegmentTable<S> {
    pub(crate) fn empty() -> Self {
        Self { lowest: 0, seats: Vec::new() }
    }

    /// The lowest id in use; 0 where there is none.
    pub(crate) fn lowest(&self) -> u32 {
        self.lowest
    }

    pub(crate) fn seat(&self, id: SegmentId) -> Option<&Seat<S>> {
        let above = id.get().checked_sub(self.lowest)?;
        self.seats.get(above as usize)?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SegmentId, &Seat<S>)> {
        (self.lowest..=u32::MAX)
            .zip(&self.seats)
            .filter_map(|(id, seat)| Some((SegmentId::new(id), seat.as_ref()?)))
    }

    /// This table with more segments; an id that is there gets a new handle and keeps its count.
    ///
    /// # Panics
    /// If the ids would span [`MAX_SEGMENTS`] or more.
    pub(crate) fn with(&self, more: impl IntoIterator<Item = (SegmentId, S)>) -> Self {
        let more: Vec<_> = more.into_iter().map(|(id, handle)| (id.get(), handle)).collect();
        let ids = || self.iter().map(|(id, _)| id.get()).chain(more.iter().map(|(id, _)| *id));
        let (Some(lowest), Some(highest)) = (ids().min(), ids().max()) else { return Self::empty() };
        assert!(
            highest - lowest < MAX_SEGMENTS,
            "segments {lowest} to {highest} span more than the {MAX_SEGMENTS} ids that the index can tell apart"
        );
        let mut seats: Vec<Option<Seat<S>>> = vec![None; (highest - lowest) as usize + 1];
        for (id, seat) in self.iter() {
            seats[(id.get() - lowest) as usize] = Some(seat.clone());
        }
        for (id, handle) in more {
            let seat = &mut seats[(id - lowest) as usize];
            let live = seat.take().map_or_else(Arc::default, |old| old.live);
            *seat = Some(Seat { handle, live });
        }
        Self { lowest, seats }
    }

    /// This table without one segment.
    pub(crate) fn without(&self, id: SegmentId) -> Self {
        let rest: Vec<_> = self.iter().filter(|(other, _)| *other != id).collect();
        let (Some((lowest, _)), Some((highest, _))) = (rest.first(), rest.last()) else {
            return Self::empty();
        };
        let lowest = lowest.get();
        let mut seats: Vec<Option<Seat<S>>> = vec![None; (highest.get() - lowest) as usize + 1];
        for (id, seat) in rest {
            seats[(id.get() - lowest) as usize] = Some(seat.clone());
        }
        Self { lowest, seats }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // A count is a word behind the two of its Arc.
        self.seats.capacity() * size_of::<Option<Seat<S>>>() + self.iter().count() * 3 * size_of::<usize>()
    }
}

/// The verbs on segments.
impl<S: Clone> Index<S> {
    /// Lets entries point into segment `id`. An id that is attached already gets the new handle.
    ///
    /// # Panics
    /// If the attached ids would span [`MAX_SEGMENTS`] or more.
    pub fn attach(&self, id: SegmentId, handle: S) {
        self.attach_all([(id, handle)]);
    }

    /// [`Self::attach`] for many at once, at the cost of one.
    ///
    /// # Panics
    /// If the attached ids would span [`MAX_SEGMENTS`] or more.
    pub fn attach_all(&self, segments: impl IntoIterator<Item = (SegmentId, S)>) {
        let mut table = self.segments.write();
        let next = Arc::new(table.with(segments));
        let old = self.take_over(&mut table, next);
        drop(table);
        drop(old);
    }

    /// Forgets a segment that no entry points into any more, and gives its handle back.
    pub fn detach(&self, id: SegmentId) -> Option<S> {
        let mut table = self.segments.write();
        let seat = table.seat(id)?;
        debug_assert!(seat.live() == 0, "segment {id} is detached with {} live bytes", seat.live());
        let handle = seat.handle.clone();
        let next = Arc::new(table.without(id));
        let old = self.take_over(&mut table, next);
        drop(table);
        // Outside the lock: the last table that knew a segment may close its file.
        drop(old);
        Some(handle)
    }

    /// The handle of an attached segment.
    pub fn segment(&self, id: SegmentId) -> Option<S> {
        self.segments.read().seat(id).map(|seat| seat.handle.clone())
    }

    pub(crate) fn is_attached(&self, id: SegmentId) -> bool {
        self.segments.read().seat(id).is_some()
    }

    /// The attached segments, ascending.
    pub fn segment_ids(&self) -> Vec<SegmentId> {
        self.segments.read().iter().map(|(id, _)| id).collect()
    }

    /// Bytes that the records of a segment's entries take in it, with their rows; objects do not count. 0 for a segment
    /// that is not attached.
    pub fn segment_live_bytes(&self, id: SegmentId) -> u64 {
        self.segments.read().seat(id).map_or(0, Seat::live)
    }

    /// Swaps a new segment table in and gives the old one back with the shards' hold on it.
    fn take_over(
        &self,
        table: &mut Arc<SegmentTable<S>>,
        next: Arc<SegmentTable<S>>,
    ) -> Arc<SegmentTable<S>> {
        for mut shard in self.shards.each() {
            // Not the last hold on the old table: `table` has one too.
            drop(shard.swap_segments(Arc::clone(&next)));
        }
        std::mem::replace(table, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(table: &SegmentTable<u32>) -> Vec<u32> {
        table.iter().map(|(id, _)| id.get()).collect()
    }

    fn some(list: &[u32]) -> Vec<(SegmentId, u32)> {
        list.iter().map(|&id| (SegmentId::new(id), id * 10)).collect()
    }

    #[test]
    fn a_table_finds_what_was_attached_in_any_order() {
        let table = SegmentTable::empty().with(some(&[7])).with(some(&[9, 5]));
        assert_eq!((ids(&table), table.lowest()), (vec![5, 7, 9], 5));
        assert_eq!(table.seat(SegmentId::new(9)).map(|s| s.handle), Some(90));
        for absent in [0, 4, 6, 8, 10, u32::MAX] {
            assert!(table.seat(SegmentId::new(absent)).is_none(), "{absent}");
        }
    }

    #[test]
    fn a_table_without_its_ends_shrinks() {
        let table = SegmentTable::empty().with(some(&[5, 7, 9])).without(SegmentId::new(5));
        assert_eq!((ids(&table), table.lowest()), (vec![7, 9], 7));
        let table = table.without(SegmentId::new(9)).without(SegmentId::new(1));
        assert_eq!((ids(&table), table.seats.len()), (vec![7], 1));
        assert_eq!(ids(&table.without(SegmentId::new(7))), []);
    }

    #[test]
    fn a_table_counts_its_seats_and_the_live_bytes_behind_them() {
        let (seat, count) = (size_of::<Option<Seat<u32>>>(), 3 * size_of::<usize>());
        assert_eq!(SegmentTable::<u32>::empty().memory_bytes(), 0);
        assert_eq!(SegmentTable::empty().with(some(&[5, 7])).memory_bytes(), 3 * seat + 2 * count);
    }

    #[test]
    fn a_new_handle_keeps_the_count_and_so_do_older_tables() {
        let first = SegmentTable::empty().with(some(&[3]));
        first.seat(SegmentId::new(3)).expect("attached").add(40);
        let second = first.with([(SegmentId::new(3), 1), (SegmentId::new(4), 2)]);
        first.seat(SegmentId::new(3)).expect("attached").sub(8);
        assert_eq!(second.seat(SegmentId::new(3)).map(|s| (s.handle, s.live())), Some((1, 32)));
    }

    #[test]
    fn ids_span_fewer_than_two_to_the_fourteenth() {
        let table = SegmentTable::empty().with(some(&[10, 10 + MAX_SEGMENTS - 1]));
        assert_eq!(ids(&table).len(), 2);
        let too_wide = std::panic::catch_unwind(|| table.with([(SegmentId::new(10 + MAX_SEGMENTS), 0)]));
        assert!(too_wide.is_err());
    }
}
