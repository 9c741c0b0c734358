//! Segments, and places in the log.
//!
//! **Invariants**: ids only grow and are never used twice, so positions of different segments order as their segments do,
//! and a later position means a later record.

use std::fmt;

/// A segment of the log. The first one of a new directory is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(u32);

impl SegmentId {
    /// The segment with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The id after this one; `None` when all are used up.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in the log: `segment id << 32 | offset / 8`. Its order is the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before everything: no record lies here, since segment ids start at 1.
    pub const ZERO: Self = Self(0);

    /// Offsets lie below this many bytes: the index keeps 27 bits of `offset / 8`.
    pub const MAX_OFFSET: u64 = 1 << 30;

    /// The place `offset` bytes into `segment`: a multiple of 8 below [`Self::MAX_OFFSET`].
    pub const fn new(segment: SegmentId, offset: u64) -> Self {
        debug_assert!(offset.is_multiple_of(8), "records are packed at 8 bytes");
        debug_assert!(offset < Self::MAX_OFFSET, "segments are smaller than 1 GiB");
        Self((segment.0 as u64) << 32 | (offset >> 3) & 0xFFFF_FFFF)
    }

    /// The segment.
    pub const fn segment(self) -> SegmentId {
        SegmentId((self.0 >> 32) as u32)
    }

    /// Bytes from the start of the segment.
    pub const fn offset(self) -> u64 {
        (self.0 & 0xFFFF_FFFF) << 3
    }

    /// As one number, to be stored.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// What [`Self::raw`] gave. Any number makes a position that compares; only one whose offset is below
    /// [`Self::MAX_OFFSET`] may go into an entry.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// `segment@offset`, in bytes.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.segment(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_give_back_their_parts_at_the_bounds() {
        for id in [0, 1, u32::MAX] {
            for offset in [0, 8, Position::MAX_OFFSET - 8] {
                let p = Position::new(SegmentId::new(id), offset);
                assert_eq!((p.segment(), p.offset()), (SegmentId::new(id), offset));
                assert_eq!(Position::from_raw(p.raw()), p);
            }
        }
    }

    #[test]
    fn a_place_in_a_later_segment_is_later_whatever_the_offset() {
        let early = Position::new(SegmentId::new(6), Position::MAX_OFFSET - 8);
        let late = Position::new(SegmentId::new(7), 0);
        assert!(Position::ZERO < early && early < late && late < Position::new(SegmentId::new(7), 8));
        assert_eq!(late.to_string(), "7@0");
    }

    #[test]
    fn the_last_segment_has_no_next() {
        assert_eq!(SegmentId::new(1).next(), Some(SegmentId::new(2)));
        assert_eq!(SegmentId::new(u32::MAX).next(), None);
    }
}
