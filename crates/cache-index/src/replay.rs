//! What a recovered log says, applied row by row.
//!
//! **Invariants**: rows come in the order of the log, so what comes later is newer. What a tombstone, an expiry or a purge
//! says is about earlier places than its `as_of` only: one that was lost in a failed write is logged again further on, as
//! of its first place, and must not hit what was stored in between.

use crate::{Entry, Index, Position, Purges, Tag};
use cache_core::{PurgeMode, PurgeScope};

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A body was stored, or its record was moved.
    Insert {
        /// The key.
        tag: Tag,
        /// What was stored; its position is that of the row.
        entry: Entry,
    },
    /// A key was removed.
    Tombstone {
        /// The key.
        tag: Tag,
        /// Entries before this are hit.
        as_of: Position,
    },
    /// A key was made stale.
    Expire {
        /// The key.
        tag: Tag,
        /// Entries before this are hit.
        as_of: Position,
    },
    /// A scope was purged.
    Purge {
        /// The scope.
        scope: PurgeScope,
        /// What is done to its entries.
        mode: PurgeMode,
        /// Entries before this are hit.
        as_of: Position,
    },
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Rows that stored an entry.
    pub inserted: u64,
    /// Of those, how many took the place of an older one.
    pub replaced: u64,
    /// Entries that a tombstone removed.
    pub removed: u64,
    /// Entries that an expiry made stale.
    pub expired: u64,
    /// Purges taken into the table.
    pub purges: u64,
    /// Entries that a purge of everything removed at the end. Those that other purges hit are dropped as they are met.
    pub swept: u64,
    /// Rows without effect, since a later one came before them or their segment is not attached.
    pub ignored: u64,
}

/// A replay under way. The segments that rows point into are attached before.
#[derive(Debug)]
pub struct Replay<'a, S> {
    index: &'a Index<S>,
    purges: &'a Purges,
    done: Replayed,
}

impl<'a, S: Clone> Replay<'a, S> {
    /// A replay into these two, which nobody else changes meanwhile.
    pub fn new(index: &'a Index<S>, purges: &'a Purges) -> Self {
        Self { index, purges, done: Replayed::default() }
    }

    /// Applies the next row.
    pub fn apply(&mut self, row: Row) {
        match row {
            Row::Insert { tag, entry } => self.insert(tag, entry),
            Row::Tombstone { tag, as_of } => {
                let hit = self.before(tag, as_of).and_then(|e| self.index.remove_at(tag, e.position));
                count(hit.is_some(), &mut self.done.removed, &mut self.done.ignored);
            }
            Row::Expire { tag, as_of } => {
                let hit = self.before(tag, as_of).and_then(|e| self.index.mark_stale(tag, Some(e.position)));
                count(hit.is_some(), &mut self.done.expired, &mut self.done.ignored);
            }
            Row::Purge { scope, mode, as_of } => {
                self.purges.add(&scope, mode, as_of);
                self.done.purges += 1;
            }
        }
    }

    /// Drops what a purge of everything hit, and tells what was done.
    pub fn finish(mut self) -> Replayed {
        let purged = self.purges.all_removed_before();
        if purged > Position::ZERO {
            for shard in 0..self.index.shards() {
                self.done.swept += self.index.retain(shard, |_, e| e.position >= purged).len() as u64;
            }
        }
        self.done
    }

    fn insert(&mut self, tag: Tag, entry: Entry) {
        let known = self.index.peek(tag);
        let late = known.is_some_and(|e| e.position > entry.position);
        if late || !self.index.is_attached(entry.position.segment()) {
            self.done.ignored += 1;
            return;
        }
        self.index.publish(tag, entry);
        self.done.inserted += 1;
        self.done.replaced += u64::from(known.is_some());
    }

    fn before(&self, tag: Tag, as_of: Position) -> Option<Entry> {
        self.index.peek(tag).filter(|e| e.position < as_of)
    }
}

fn count(hit: bool, yes: &mut u64, no: &mut u64) {
    *if hit { yes } else { no } += 1;
}
