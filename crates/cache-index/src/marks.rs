//! Where the purges of a scope lie, and a table of that by hashed scope.
//!
//! **Invariants**: marks only move forward, until they are forgotten. The newest mark of a table is known without a look at
//! its rows, since every purge asks for it.

use crate::{Position, SegmentId, purge::Verdict};
use cache_core::PurgeMode;
use hashbrown::HashTable;

/// The positions of the latest purges of one scope, by mode; [`Position::ZERO`] is none, since no entry lies before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) remove: Position,
    pub(crate) expire: Position,
}

impl Marks {
    pub(crate) fn of(mode: PurgeMode, at: Position) -> Self {
        match mode {
            PurgeMode::Expire => Self { expire: at, ..Self::default() },
            // A mode that this version does not know: purging too much is safe.
            _ => Self { remove: at, ..Self::default() },
        }
    }

    pub(crate) fn later(self, other: Self) -> Self {
        Self { remove: self.remove.max(other.remove), expire: self.expire.max(other.expire) }
    }

    pub(crate) fn newest(self) -> Position {
        self.remove.max(self.expire)
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The marks that are set.
    pub(crate) fn rows(self) -> impl Iterator<Item = (PurgeMode, Position)> {
        [(PurgeMode::Remove, self.remove), (PurgeMode::Expire, self.expire)]
            .into_iter()
            .filter(|(_, at)| *at != Position::ZERO)
    }

    /// Takes the marks up to `last` out.
    fn take_through(&mut self, last: Position) -> Self {
        let mut taken = Self::default();
        for (mark, out) in [(&mut self.remove, &mut taken.remove), (&mut self.expire, &mut taken.expire)] {
            if *mark <= last {
                *out = std::mem::take(mark);
            }
        }
        taken
    }

    /// Drops the marks in segments before `oldest`.
    pub(crate) fn forget_before(&mut self, oldest: SegmentId) {
        for mark in [&mut self.remove, &mut self.expire] {
            if mark.segment() < oldest {
                *mark = Position::ZERO;
            }
        }
    }

    pub(crate) fn verdict(self, at: Position) -> Verdict {
        Verdict { removed: at < self.remove, stale: at < self.expire, ask_record: false }
    }
}

/// Marks by hashed scope. The hashes are keyed and uniform, so they are their own hash.
#[derive(Debug)]
pub(crate) struct HashMarks {
    rows: HashTable<(u64, Marks)>,
    newest: Position,
    /// No mark lies before.
    oldest: Position,
}

impl Default for HashMarks {
    fn default() -> Self {
        Self { rows: HashTable::new(), newest: Position::ZERO, oldest: Position::from_raw(u64::MAX) }
    }
}

impl HashMarks {
    pub(crate) fn get(&self, scope: u64) -> Marks {
        self.rows.find(scope, |row| row.0 == scope).map(|row| row.1).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, scope: u64, marks: Marks) {
        if marks.is_empty() {
            return;
        }
        self.newest = self.newest.max(marks.newest());
        self.oldest = marks.rows().map(|(_, at)| at).fold(self.oldest, Position::min);
        let row = self.rows.entry(scope, |row| row.0 == scope, |row| row.0);
        let row = row.or_insert_with(|| (scope, Marks::default())).into_mut();
        row.1 = row.1.later(marks);
    }

    pub(crate) fn forget_before(&mut self, oldest: SegmentId) {
        if self.oldest.segment() < oldest {
            self.update(|marks| marks.forget_before(oldest));
        }
    }

    /// Takes the marks up to `last` out, and gives the latest of them.
    pub(crate) fn take_through(&mut self, last: Position) -> Marks {
        let mut latest = Marks::default();
        self.update(|marks| latest = latest.later(marks.take_through(last)));
        latest
    }

    fn update(&mut self, mut change: impl FnMut(&mut Marks)) {
        let mut kept = Self { rows: std::mem::take(&mut self.rows), ..Self::default() };
        kept.rows.retain(|(_, marks)| {
            change(marks);
            kept.newest = kept.newest.max(marks.newest());
            kept.oldest = marks.rows().map(|(_, at)| at).fold(kept.oldest, Position::min);
            !marks.is_empty()
        });
        *self = kept;
    }

    pub(crate) fn newest(&self) -> Position {
        self.newest
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Marks)> {
        self.rows.iter().copied()
    }

    /// How many scopes have a mark.
    pub(crate) fn scopes(&self) -> usize {
        self.rows.len()
    }

    /// How many marks are set.
    pub(crate) fn len(&self) -> usize {
        self.iter().map(|(_, marks)| marks.rows().count()).sum()
    }
}
