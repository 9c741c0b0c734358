//! Which key lies where, in the exact order of use.
//!
//! **Invariants**
//! - At most one entry per tag; every entry's segment is attached.
//! - The counts of entries and bytes change under the lock of the shard that changed, by exactly what it changed.
//! - A tick is taken under the lock of the shard it is for, so every shard's list is in order of ticks, and the entry with
//!   the smallest tick of all is the tail of some shard.
//!
//! **Concurrency**: an operation on a tag takes the one lock of its shard. Closures run under that lock: they must be
//! short and must not call the index, or they wait for themselves.

use crate::{
    Entry, Position, Tag,
    segments::SegmentTable,
    shard::Locked,
    shards::Shards,
    sync::{Arc, AtomicU64, Ordering, Padded, RwLock},
};
use std::{
    cmp::Reverse,
    collections::binary_heap::{BinaryHeap, PeekMut},
};

/// How often [`Index::evict`] looks again when others keep using the entry it was about to take.
const LOOKS: usize = 16;

/// From so many entries on a thread takes less than it saves.
const WORTH_THREADS: usize = 1 << 14;
/// More of them would wait for memory and not for processors.
const MOST_THREADS: usize = 8;

/// Whether a look-up counts as a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The entry becomes the most recently used one.
    Yes,
    /// It stays where it is.
    No,
}

/// The index; see the module text. `S` is what an entry's segment is known by to the caller, cheap to clone.
pub struct Index<S> {
    pub(crate) shards: Shards<S>,
    pub(crate) segments: RwLock<Arc<SegmentTable<S>>>,
    row_overhead: u32,
    pub(crate) tick: Padded<AtomicU64>,
    pub(crate) totals: Padded<Totals>,
}

#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) entries: AtomicU64,
    pub(crate) live_bytes: AtomicU64,
}

impl<S: Clone> Index<S> {
    /// An empty index. A record costs `row_overhead` bytes on disk beyond its own length (its row in a footer).
    pub fn new(row_overhead: u32) -> Self {
        let segments = Arc::new(SegmentTable::empty());
        Self {
            shards: Shards::new(&segments),
            segments: RwLock::new(segments),
            row_overhead,
            tick: Padded(AtomicU64::new(1)),
            totals: Padded::default(),
        }
    }

    /// Makes room for `entries` more, so that a load from a snapshot does not rehash. A hint: without the memory it does
    /// nothing.
    pub fn reserve(&self, entries: u64) {
        // Tags are uniform, so shards differ by a few standard deviations of sqrt(n / 256).
        let mean = entries.div_ceil(self.shards() as u64);
        let per_shard = usize::try_from(mean.saturating_add(3 * mean.isqrt())).unwrap_or(usize::MAX);
        for mut shard in self.shards.each() {
            if !shard.reserve(per_shard) {
                return;
            }
        }
    }

    /// Looks a tag up and lets `f` see the entry and its segment, under one lock. [`Touch::Yes`] makes it the most recently
    /// used entry.
    pub fn get<R>(&self, tag: Tag, f: impl FnOnce(&Entry, &S) -> (Touch, R)) -> Option<R> {
        let mut shard = self.look(tag);
        let n = shard.find(tag)?;
        let entry = shard.entry(n);
        let (touch, answer) = f(&entry, &shard.seat(entry.position.segment())?.handle);
        if touch == Touch::Yes {
            shard.touch(n, self.next_tick());
        }
        Some(answer)
    }

    /// The entry of a tag; not a use.
    pub fn peek(&self, tag: Tag) -> Option<Entry> {
        let shard = self.look(tag);
        shard.find(tag).map(|n| shard.entry(n))
    }

    /// When the entry of `tag` was last used, if it still lies at `at`: a number that grows with every use of any entry.
    pub fn tick_of(&self, tag: Tag, at: Position) -> Option<u64> {
        let shard = self.look(tag);
        shard.find_at(tag, at).map(|n| shard.slot(n).tick())
    }

    /// What [`Self::tick_of`] gives for the next use, of whatever entry.
    pub fn next_use(&self) -> u64 {
        self.tick.0.load(Ordering::Relaxed)
    }

    /// Puts an entry in, as the most recently used one, over whatever the tag had; gives that back.
    ///
    /// An entry whose segment is not attached is a caller's mistake: it is not taken in, and the older one goes all the
    /// same, since it is not what the log says any more.
    pub fn publish(&self, tag: Tag, entry: Entry) -> Option<Entry> {
        let mut shard = self.lock(tag);
        self.publish_in(&mut shard, tag, &entry, || self.next_tick())
    }

    /// [`Self::publish`] for many, in their order. Shard by shard, so that a look-up finds in the processor's cache what the one
    /// before it has touched, and on as many threads as there are processors; alone, because the ticks are taken beforehand.
    pub fn publish_all(&mut self, entries: &[(Tag, Entry)])
    where
        S: Send + Sync,
    {
        let first = self.tick.0.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let rows = by_shard::<S>(entries);
        let publish = |from: usize, rows: &[Vec<u32>]| {
            for (i, rows) in (from..).zip(rows) {
                let mut shard = self.shards.lock(i);
                for &n in rows {
                    let (tag, entry) = &entries[n as usize];
                    self.publish_in(&mut shard, *tag, entry, || first + u64::from(n));
                }
            }
        };
        if entries.len() < WORTH_THREADS {
            return publish(0, &rows);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let share = rows.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let mut parts = rows.chunks(share).enumerate().map(|(n, part)| (n * share, part));
            let own = parts.next();
            for (from, part) in parts {
                let publish = &publish;
                // Where there is no thread to be had, this one does it.
                let started = std::thread::Builder::new().spawn_scoped(scope, move || publish(from, part));
                if started.is_err() {
                    publish(from, part);
                }
            }
            if let Some((from, part)) = own {
                publish(from, part);
            }
        });
    }

    fn publish_in(
        &self,
        shard: &mut Locked<'_, S>,
        tag: Tag,
        entry: &Entry,
        tick: impl FnOnce() -> u64,
    ) -> Option<Entry> {
        let found = shard.find(tag);
        if !attached(shard, entry) {
            return found.map(|n| self.drop_slot(shard, n));
        }
        let tick = tick();
        let Some(n) = found else {
            shard.insert(tag, entry, tick);
            self.account(shard, None, Some(entry));
            return None;
        };
        let old = shard.entry(n);
        shard.overwrite(n, entry);
        shard.touch(n, tick);
        self.account(shard, Some(&old), Some(entry));
        Some(old)
    }

    /// Puts an entry in the place of the one at `expect`, in the order of use too; gives the old one back. `None`: there is
    /// none at `expect` any more, nothing was changed.
    pub fn replace(&self, tag: Tag, expect: Position, entry: Entry) -> Option<Entry> {
        let mut shard = self.lock(tag);
        let n = shard.find_at(tag, expect)?;
        if !attached(&shard, &entry) {
            return None;
        }
        let old = shard.entry(n);
        shard.overwrite(n, &entry);
        self.account(&shard, Some(&old), Some(&entry));
        Some(old)
    }

    /// Takes the entry of a tag out.
    pub fn remove(&self, tag: Tag) -> Option<Entry> {
        let mut shard = self.lock(tag);
        let n = shard.find(tag)?;
        Some(self.drop_slot(&mut shard, n))
    }

    /// Takes the entry of a tag out if it lies at `expect`.
    pub fn remove_at(&self, tag: Tag, expect: Position) -> Option<Entry> {
        let mut shard = self.lock(tag);
        let n = shard.find_at(tag, expect)?;
        Some(self.drop_slot(&mut shard, n))
    }

    /// Sets the stale flag of a tag's entry, if it lies at `expect` where one is given. Gives the entry as it was before;
    /// `None` if there is no such entry. Not a use.
    pub fn mark_stale(&self, tag: Tag, expect: Option<Position>) -> Option<Entry> {
        let mut shard = self.lock(tag);
        let n = match expect {
            Some(at) => shard.find_at(tag, at),
            None => shard.find(tag),
        }?;
        let before = shard.entry(n);
        shard.set_stale(n);
        Some(before)
    }

    /// Takes the least recently used entry of all out. With others at work, the least recently used one of some moment
    /// during the call.
    pub fn evict(&self) -> Option<(Tag, Entry)> {
        for attempt in 0.. {
            let (seen, at) = self.shards.oldest()?;
            let mut shard = self.shards.lock(at);
            let Some(n) = shard.tail() else { continue };
            if shard.slot(n).tick() == seen || attempt >= LOOKS {
                let tag = shard.slot(n).tag();
                return Some((tag, self.drop_slot(&mut shard, n)));
            }
        }
        None
    }

    /// Takes the entries of one shard out that `keep` refuses, and gives them back. Looks at the least recently used first,
    /// under the shard's lock.
    pub fn retain(&self, shard: usize, mut keep: impl FnMut(Tag, &Entry) -> bool) -> Vec<Entry> {
        let mut dropped = Vec::new();
        if shard >= self.shards() {
            return dropped;
        }
        let mut shard = self.shards.lock(shard);
        let mut at = shard.tail();
        while let Some(n) = at {
            at = shard.newer(n);
            if !keep(shard.slot(n).tag(), &shard.entry(n)) {
                dropped.push(self.drop_slot(&mut shard, n));
            }
        }
        dropped
    }

    /// How many shards there are for [`Self::retain`].
    pub fn shards(&self) -> usize {
        Shards::<S>::COUNT
    }

    /// Shows all entries, the least recently used first. Holds every lock meanwhile, so that it is one moment's state.
    pub fn export(&self, mut f: impl FnMut(Tag, &Entry)) {
        let shards = self.lock_all();
        let head = |(i, shard): (usize, &Locked<'_, S>)| {
            let n = shard.tail()?;
            Some(Reverse((shard.slot(n).tick(), i, n)))
        };
        let mut heads: BinaryHeap<_> = shards.iter().enumerate().filter_map(head).collect();
        while let Some(mut top) = heads.peek_mut() {
            let Reverse((_, i, n)) = *top;
            let shard = &shards[i];
            f(shard.slot(n).tag(), &shard.entry(n));
            match shard.newer(n) {
                Some(next) => *top = Reverse((shard.slot(next).tick(), i, next)),
                None => {
                    PeekMut::pop(top);
                }
            }
        }
    }

    /// Shows the entries that have a body of their own, in no order. Costs nothing for the others. Holds one lock at a time.
    pub fn each_object(&self, mut f: impl FnMut(Tag, &Entry)) {
        for shard in self.shards.each() {
            shard.each_object(|tag, entry| f(tag, &entry));
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.totals.0.entries.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on disk that the entries take: the sum of their [`Self::disk_size`].
    pub fn live_bytes(&self) -> u64 {
        self.totals.0.live_bytes.load(Ordering::Relaxed)
    }

    /// Memory of the index in bytes.
    pub fn memory_bytes(&self) -> u64 {
        (size_of::<Self>() + self.shards.memory_bytes() + self.segments.read().memory_bytes()) as u64
    }

    /// Bytes on disk that one entry takes: record, row, object.
    pub fn disk_size(&self, entry: &Entry) -> u64 {
        self.record_size(entry).saturating_add(entry.object.map_or(0, |o| o.disk))
    }

    /// Bytes that an entry takes in its segment.
    pub(crate) fn record_size(&self, entry: &Entry) -> u64 {
        u64::from(entry.len) + u64::from(self.row_overhead)
    }

    /// Locks all shards, in the one order in which more than one lock may be taken.
    pub(crate) fn lock_all(&self) -> Vec<Locked<'_, S>> {
        self.shards.each().collect()
    }

    /// Bits that the hash tables look at last: they take the lowest ones and the highest seven.
    pub(crate) fn shard_of(tag: Tag) -> usize {
        usize::from((tag.0 >> 40) as u8) % Shards::<S>::COUNT
    }

    fn lock(&self, tag: Tag) -> Locked<'_, S> {
        self.shards.lock(Self::shard_of(tag))
    }

    fn look(&self, tag: Tag) -> Locked<'_, S> {
        self.shards.lock_unsettled(Self::shard_of(tag))
    }

    fn next_tick(&self) -> u64 {
        self.tick.0.fetch_add(1, Ordering::Relaxed)
    }

    fn drop_slot(&self, shard: &mut Locked<'_, S>, n: u32) -> Entry {
        let old = shard.entry(n);
        shard.remove(n);
        self.account(shard, Some(&old), None);
        old
    }

    /// Counts what changed. One wrapping addition each: a reader never sees the half of a change.
    fn account(&self, shard: &Locked<'_, S>, old: Option<&Entry>, new: Option<&Entry>) {
        let size = |e: Option<&Entry>| e.map_or(0, |e| self.disk_size(e));
        let grown = size(new).wrapping_sub(size(old));
        self.totals.0.live_bytes.fetch_add(grown, Ordering::Relaxed);
        let more = u64::from(new.is_some()).wrapping_sub(u64::from(old.is_some()));
        if more != 0 {
            self.totals.0.entries.fetch_add(more, Ordering::Relaxed);
        }
        if let Some(e) = new
            && let Some(seat) = shard.seat(e.position.segment())
        {
            seat.add(self.record_size(e));
        }
        if let Some(e) = old
            && let Some(seat) = shard.seat(e.position.segment())
        {
            seat.sub(self.record_size(e));
        }
    }
}

/// The sizes alone: the entries may be many millions.
impl<S> std::fmt::Debug for Index<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("totals", &self.totals.0).finish_non_exhaustive()
    }
}

/// The numbers of the entries of each shard, in their order.
fn by_shard<S: Clone>(entries: &[(Tag, Entry)]) -> Vec<Vec<u32>> {
    let some = 2 * entries.len() / Shards::<S>::COUNT;
    let mut rows: Vec<_> = (0..Shards::<S>::COUNT).map(|_| Vec::with_capacity(some)).collect();
    for (n, (tag, _)) in (0..).zip(entries) {
        rows[Index::<S>::shard_of(*tag)].push(n);
    }
    rows
}

fn attached<S: Clone>(shard: &Locked<'_, S>, entry: &Entry) -> bool {
    let found = shard.seat(entry.position.segment()).is_some();
    debug_assert!(found, "segment {} of an entry is not attached", entry.position.segment());
    found
}
