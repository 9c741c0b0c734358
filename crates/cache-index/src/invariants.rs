//! A recount of everything the index keeps, for tests and for the crash harness.
//!
//! **Invariants**: reads one moment's state under all locks; finds what it finds without trusting any count or link.

use crate::{
    Index, SegmentId,
    shard::{EMPTY, Locked},
    slot::MAX_TICK,
    sync::{Arc, Ordering},
};
use std::{collections::BTreeMap, fmt::Debug};

#[derive(Default)]
struct Recount {
    entries: u64,
    live_bytes: u64,
    segments: BTreeMap<SegmentId, u64>,
}

impl<S: Clone> Index<S> {
    /// Recounts everything from scratch. Holds every lock meanwhile and takes time in proportion to the entries.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check_invariants(&self) -> Result<(), String> {
        let table = self.segments.read();
        let shards = self.lock_all();
        let next_tick = self.tick.0.load(Ordering::Relaxed);
        let mut count = Recount::default();
        for (i, shard) in shards.iter().enumerate() {
            self.check_shard(i, shard, next_tick, &mut count).map_err(|e| format!("shard {i}: {e}"))?;
            ensure(Arc::ptr_eq(shard.segments(), &table), || format!("shard {i} has an old segment table"))?;
        }
        equal("entries", self.len(), count.entries)?;
        equal("live bytes", self.live_bytes(), count.live_bytes)?;
        for (id, seat) in table.iter() {
            equal(
                &format!("live bytes of segment {id}"),
                seat.live(),
                count.segments.remove(&id).unwrap_or(0),
            )?;
        }
        ensure(count.segments.is_empty(), || {
            format!("entries in segments that are not attached: {:?}", count.segments)
        })
    }

    fn check_shard(
        &self,
        i: usize,
        shard: &Locked<'_, S>,
        next_tick: u64,
        sum: &mut Recount,
    ) -> Result<(), String> {
        let used = shard.slab().used() as usize;
        let mut seen = vec![false; used];
        let (mut listed, mut objects) = (0, 0);
        let (mut last, mut last_tick) = (None, None);
        let mut at = shard.tail();
        while let Some(n) = at {
            let mark = seen.get_mut(n as usize).ok_or_else(|| format!("slot {n} of {used} is listed"))?;
            ensure(!std::mem::replace(mark, true), || format!("slot {n} is listed twice"))?;
            let slot = shard.slot(n);
            let (tag, tick, entry) = (slot.tag(), slot.tick(), shard.entry(n));
            ensure(last == Some(slot.older()) || last.is_none(), || {
                format!("slot {n} has a wrong link back")
            })?;
            ensure(last_tick < Some(tick) || tick == MAX_TICK, || {
                format!("slot {n} is older than the one before")
            })?;
            ensure(tick < next_tick, || format!("slot {n} has a tick from the future"))?;
            ensure(Self::shard_of(tag) == i, || format!("tag {tag} is in the wrong shard"))?;
            ensure(shard.find(tag) == Some(n), || format!("tag {tag} is not found at its slot {n}"))?;
            ensure(slot.has_object() == entry.object.is_some(), || format!("tag {tag} lacks its object"))?;
            objects += usize::from(slot.has_object());
            listed += 1;
            sum.entries += 1;
            sum.live_bytes += self.disk_size(&entry);
            *sum.segments.entry(entry.position.segment()).or_default() += self.record_size(&entry);
            (last, last_tick) = (Some(n), Some(tick));
            at = shard.newer(n);
        }
        ensure(shard.head() == last, || format!("the list ends at {last:?}, not at {:?}", shard.head()))?;
        for n in shard.slab().free_slots() {
            let mark = seen.get_mut(n as usize).ok_or_else(|| format!("slot {n} of {used} is free"))?;
            ensure(!std::mem::replace(mark, true), || format!("slot {n} is free twice, or free and listed"))?;
        }
        ensure(seen.iter().all(|s| *s), || "a slot is neither listed nor free".into())?;
        equal("rows of the hash table and objects", shard.counts(), (listed, objects))?;
        equal("the oldest tick", shard.shown(), shard.tail().map_or(EMPTY, |n| shard.slot(n).tick()))
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn equal<T: PartialEq + Debug + Copy>(what: &str, kept: T, found: T) -> Result<(), String> {
    ensure(kept == found, || format!("{what}: {kept:?} are kept, {found:?} were found"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Flags, ObjectRef, Position, Tag};

    fn index() -> Index<()> {
        let index = Index::new(8);
        index.attach(SegmentId::new(1), ());
        for n in 0..4 {
            let position = Position::new(SegmentId::new(1), n * 8);
            let object = (n == 2).then_some(ObjectRef { id: 1, disk: 4096 });
            index.publish(Tag(n), Entry { position, len: 8, expires_ms: 0, flags: Flags::default(), object });
        }
        assert_eq!(index.check_invariants(), Ok(()));
        index
    }

    fn complaint(index: &Index<()>) -> String {
        index.check_invariants().expect_err("the damage was not found")
    }

    #[test]
    fn a_wrong_count_is_found() {
        let index = index();
        index.totals.0.live_bytes.fetch_add(8, Ordering::Relaxed);
        assert!(complaint(&index).starts_with("live bytes"));
        index.totals.0.live_bytes.fetch_sub(8, Ordering::Relaxed);
        index.totals.0.entries.fetch_sub(1, Ordering::Relaxed);
        assert!(complaint(&index).starts_with("entries"));
        index.totals.0.entries.fetch_add(1, Ordering::Relaxed);
        index.segments.read().seat(SegmentId::new(1)).expect("attached").add(1);
        assert!(complaint(&index).starts_with("live bytes of segment 1"));
    }

    #[test]
    fn a_broken_list_is_found() {
        for (n, damage) in [(1, 3), (2, 0), (0, u32::MAX), (3, 700)] {
            let newer = index();
            newer.shards.lock(0).slot_mut(n).set_newer(damage);
            complaint(&newer);
            if n != 0 {
                let older = index();
                older.shards.lock(0).slot_mut(n).set_older(damage);
                complaint(&older);
            }
        }
    }

    #[test]
    fn ticks_out_of_order_or_from_the_future_are_found() {
        for tick in [0, 1, 1 << 40] {
            let index = index();
            index.shards.lock(0).slot_mut(2).set_tick(tick);
            complaint(&index);
        }
    }

    #[test]
    fn an_entry_in_a_segment_that_is_gone_is_found() {
        let index = index();
        index.attach(SegmentId::new(2), ());
        // What `detach` refuses to do in a debug build.
        let next = Arc::new(index.segments.read().without(SegmentId::new(1)));
        for shard in &mut index.lock_all() {
            shard.swap_segments(Arc::clone(&next));
        }
        *index.segments.write() = next;
        assert!(complaint(&index).contains("not attached"));
    }
}
