//! What the scenarios share.
#![allow(dead_code, reason = "every scenario uses its own part")]

use cache_index::{Entry, Flags, Index, ObjectRef, Position, SegmentId, Tag};

/// Bytes of a footer row in these tests.
pub(crate) const ROW: u32 = 72;

pub(crate) fn id(n: u32) -> SegmentId {
    SegmentId::new(n)
}

pub(crate) fn at(segment: u32, offset: u64) -> Position {
    Position::new(id(segment), offset)
}

/// Tags as SHA-256 would give them: spread over the shards.
pub(crate) fn tag(n: u64) -> Tag {
    Tag((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Tags that all lie in one shard.
pub(crate) fn neighbour(n: u64) -> Tag {
    Tag(0xAB00_0000_0000 | n)
}

pub(crate) fn entry(position: Position, len: u32) -> Entry {
    Entry { position, len, expires_ms: 0, flags: Flags::default(), object: None }
}

pub(crate) fn with_object(entry: Entry, id: u64, disk: u64) -> Entry {
    Entry { object: Some(ObjectRef { id, disk }), ..entry }
}

/// An index with segments 1 to `last`, each known by its number.
pub(crate) fn index(last: u32) -> Index<u32> {
    let index = Index::new(ROW);
    index.attach_all((1..=last).map(|n| (id(n), n)));
    index
}

pub(crate) fn exported(index: &Index<u32>) -> Vec<(Tag, Entry)> {
    let mut all = Vec::new();
    index.export(|tag, entry| all.push((tag, *entry)));
    all
}

/// Xorshift, so that a run can be told from its printed seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }
}
