//! What a failed write or sync leaves to be said again, before anything else is written.
//!
//! **Invariant**: bounded. Past [`MAX_ROWS`] everything folds into one purge of all that is earlier than the last of them:
//! purging too much is safe.

use crate::format::record::{Kind, flag};
use cache_core::{PurgeMode, PurgeScope};
use cache_index::Position;
use std::collections::{BTreeMap, VecDeque};

const MAX_ROWS: usize = 1 << 16;

/// One record to be said again, as of its first place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// A tombstone or an expire.
    Key {
        kind: Kind,
        digest: [u8; 16],
        as_of: Position,
    },
    Purge {
        scope: PurgeScope,
        mode: PurgeMode,
        as_of: Position,
    },
}

impl Owed {
    fn as_of(&self) -> Position {
        match self {
            Self::Key { as_of, .. } | Self::Purge { as_of, .. } => *as_of,
        }
    }

    pub(crate) fn flags(&self) -> u8 {
        match self {
            Self::Purge { mode: PurgeMode::Expire, .. } => flag::PURGE_EXPIRES,
            _ => 0,
        }
    }
}

/// Records owed to the log.
#[derive(Debug, Default)]
pub(crate) struct Debt {
    queue: VecDeque<Owed>,
    /// Tombstones by key, so that a key is owed once.
    tombstones: BTreeMap<[u8; 16], Position>,
}

impl Debt {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tombstones.is_empty()
    }

    pub(crate) fn owe(&mut self, owed: Owed) {
        if let Owed::Key { kind: Kind::Tombstone, digest, as_of } = owed {
            let at = self.tombstones.entry(digest).or_insert(as_of);
            *at = (*at).max(as_of);
        } else {
            self.queue.push_back(owed);
        }
        if self.queue.len() + self.tombstones.len() > MAX_ROWS {
            self.fold();
        }
    }

    /// Takes one; a caller that cannot place it gives it back with [`Debt::owe`].
    pub(crate) fn take(&mut self) -> Option<Owed> {
        if let Some(owed) = self.queue.pop_front() {
            return Some(owed);
        }
        let digest = *self.tombstones.keys().next()?;
        let as_of = self.tombstones.remove(&digest)?;
        Some(Owed::Key { kind: Kind::Tombstone, digest, as_of })
    }

    fn fold(&mut self) {
        let latest = self.queue.iter().map(Owed::as_of).chain(self.tombstones.values().copied()).max();
        self.queue.clear();
        self.tombstones.clear();
        if let Some(as_of) = latest {
            self.queue.push_back(Owed::Purge { scope: PurgeScope::All, mode: PurgeMode::Remove, as_of });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_index::SegmentId;

    fn tombstone(n: u32, offset: u64) -> Owed {
        let mut digest = [0; 16];
        digest[..4].copy_from_slice(&n.to_le_bytes());
        Owed::Key { kind: Kind::Tombstone, digest, as_of: Position::new(SegmentId::new(1), offset) }
    }

    #[test]
    fn a_key_is_owed_once_at_its_latest_place() {
        let mut debt = Debt::default();
        debt.owe(tombstone(1, 80));
        debt.owe(tombstone(1, 8));
        assert_eq!(debt.take(), Some(tombstone(1, 80)));
        assert!(debt.is_empty());
    }

    #[test]
    fn too_many_debts_fold_into_one_purge_of_all_that_is_earlier() {
        let mut debt = Debt::default();
        for n in 0..=MAX_ROWS as u32 {
            debt.owe(tombstone(n, u64::from(n) * 8));
        }
        let as_of = Position::new(SegmentId::new(1), MAX_ROWS as u64 * 8);
        let all = Owed::Purge { scope: PurgeScope::All, mode: PurgeMode::Remove, as_of };
        assert_eq!(debt.take(), Some(all));
        assert!(debt.is_empty());
    }
}
