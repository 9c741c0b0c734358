//! One entry in 36 bytes.
//!
//! ```text
//! word 0, 1   tag, 64 bits
//! word 2, 3   place: segment id mod 2^14 | offset / 8 in 27 bits | len / 8 in 17 bits | 6 flags
//! word 4      tick, low 32 bits
//! word 5      expiry in Unix milliseconds, low 32 bits
//! word 6      tick, high 16 bits | expiry, high 16 bits << 16
//! word 7, 8   links of the shard's list: the next newer slot, the next older one
//! ```
//!
//! **Invariants**: words of 32 bits, so that nothing is padded; what does not fit is cut to its own field and never spills
//! into another. The ids of the segments in use span fewer than 2^14, so that the lowest one tells which id is meant.

use crate::{Entry, Flags, Position, SegmentId, Tag};

/// No slot: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// Ticks saturate here: 2^48 uses last nine years at a million a second. Past that the order is exact inside a shard only.
pub(crate) const MAX_TICK: u64 = (1 << 48) - 1;

pub(crate) const SEGMENT_BITS: u32 = 14;
const OFFSET_BITS: u32 = 27;
const LEN_BITS: u32 = 17;
const FLAG_BITS: u32 = 6;
const LEN_SHIFT: u32 = FLAG_BITS;
const OFFSET_SHIFT: u32 = LEN_SHIFT + LEN_BITS;
const SEGMENT_SHIFT: u32 = OFFSET_SHIFT + OFFSET_BITS;

const OBJECT: u64 = 1;
const STALE: u64 = 1 << 1;
const TAGGED: u64 = 1 << 2;
const LABELLED: u64 = 1 << 3;
const UNPROVEN: u64 = 1 << 4;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot([u32; 9]);

const _: () = assert!(size_of::<Slot>() == 36, "a slot has no padding");
const _: () = assert!(SEGMENT_SHIFT + SEGMENT_BITS == 64, "a place fills its 64 bits");

impl Slot {
    pub(crate) const VACANT: Self = Self([0, 0, 0, 0, 0, 0, 0, NONE, NONE]);

    pub(crate) fn new(tag: Tag, entry: &Entry, tick: u64) -> Self {
        let mut slot = Self::VACANT;
        slot.0[0] = tag.0 as u32;
        slot.0[1] = (tag.0 >> 32) as u32;
        slot.set_entry(entry);
        slot.set_tick(tick);
        slot
    }

    pub(crate) fn tag(&self) -> Tag {
        Tag(wide(self.0[0], self.0[1]))
    }

    /// The entry without its object, of which the slot knows only that it has one. `lowest` is the lowest id in use.
    pub(crate) fn entry(&self, lowest: u32) -> Entry {
        let place = self.place();
        Entry {
            position: self.position(lowest),
            len: bits(place, LEN_SHIFT, LEN_BITS) as u32 * 8,
            expires_ms: wide(self.0[5], self.0[6] >> 16),
            flags: Flags {
                stale: place & STALE != 0,
                tagged: place & TAGGED != 0,
                labelled: place & LABELLED != 0,
                unproven: place & UNPROVEN != 0,
            },
            object: None,
        }
    }

    pub(crate) fn position(&self, lowest: u32) -> Position {
        let place = self.place();
        let low = bits(place, SEGMENT_SHIFT, SEGMENT_BITS) as u32;
        let above = low.wrapping_sub(lowest) & ((1 << SEGMENT_BITS) - 1);
        let segment = SegmentId::new(lowest.wrapping_add(above));
        Position::new(segment, bits(place, OFFSET_SHIFT, OFFSET_BITS) * 8)
    }

    pub(crate) fn has_object(&self) -> bool {
        self.place() & OBJECT != 0
    }

    /// Everything but tag, tick and links.
    pub(crate) fn set_entry(&mut self, entry: &Entry) {
        debug_assert!(
            entry.len < Entry::MAX_LEN && entry.len.is_multiple_of(8),
            "no record is {}",
            entry.len
        );
        debug_assert!(entry.position.offset() < Position::MAX_OFFSET, "no record lies at {}", entry.position);
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let place = u64::from(entry.position.segment().get()) << SEGMENT_SHIFT
            | bits(entry.position.offset() / 8, 0, OFFSET_BITS) << OFFSET_SHIFT
            | bits(u64::from(entry.len / 8), 0, LEN_BITS) << LEN_SHIFT
            | flag(entry.object.is_some(), OBJECT)
            | flag(entry.flags.stale, STALE)
            | flag(entry.flags.tagged, TAGGED)
            | flag(entry.flags.labelled, LABELLED)
            | flag(entry.flags.unproven, UNPROVEN);
        self.0[2] = place as u32;
        self.0[3] = (place >> 32) as u32;
        let expires = entry.expires_ms.min(Entry::MAX_EXPIRES_MS);
        self.0[5] = expires as u32;
        self.0[6] = self.0[6] & 0xFFFF | ((expires >> 32) as u32) << 16;
    }

    pub(crate) fn set_stale(&mut self) {
        self.0[2] |= STALE as u32;
    }

    pub(crate) fn tick(&self) -> u64 {
        wide(self.0[4], self.0[6] & 0xFFFF)
    }

    pub(crate) fn set_tick(&mut self, tick: u64) {
        let tick = tick.min(MAX_TICK);
        self.0[4] = tick as u32;
        self.0[6] = self.0[6] & 0xFFFF_0000 | (tick >> 32) as u32;
    }

    pub(crate) fn newer(&self) -> u32 {
        self.0[7]
    }

    pub(crate) fn older(&self) -> u32 {
        self.0[8]
    }

    pub(crate) fn set_newer(&mut self, slot: u32) {
        self.0[7] = slot;
    }

    pub(crate) fn set_older(&mut self, slot: u32) {
        self.0[8] = slot;
    }

    fn place(&self) -> u64 {
        wide(self.0[2], self.0[3])
    }
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn bits(word: u64, shift: u32, count: u32) -> u64 {
    word >> shift & ((1 << count) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(segment: u32, offset: u64, len: u32, expires_ms: u64, flags: u8) -> Entry {
        Entry {
            position: Position::new(SegmentId::new(segment), offset),
            len,
            expires_ms,
            flags: Flags {
                stale: flags & 1 != 0,
                tagged: flags & 2 != 0,
                labelled: flags & 4 != 0,
                unproven: flags & 8 != 0,
            },
            object: None,
        }
    }

    #[test]
    fn a_slot_gives_back_every_field_at_its_bounds() {
        for offset in [0, 8, Position::MAX_OFFSET - 8] {
            for len in [0, 8, Entry::MAX_LEN - 8] {
                for expires in [0, 1, u64::from(u32::MAX) + 1, Entry::MAX_EXPIRES_MS] {
                    for flags in 0..8 {
                        for tick in [0, 1 << 32, MAX_TICK] {
                            let e = entry(5, offset, len, expires, flags);
                            let slot = Slot::new(Tag(u64::MAX - 7), &e, tick);
                            assert_eq!(slot.entry(5), e);
                            assert_eq!((slot.tag(), slot.tick()), (Tag(u64::MAX - 7), tick));
                            assert_eq!((slot.newer(), slot.older()), (NONE, NONE));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_expiry_or_tick_beyond_48_bits_saturates() {
        let slot = Slot::new(Tag(1), &entry(1, 0, 8, u64::MAX, 0), u64::MAX);
        assert_eq!(slot.entry(1).expires_ms, Entry::MAX_EXPIRES_MS);
        assert_eq!(slot.tick(), MAX_TICK);
    }

    #[test]
    fn the_lowest_id_tells_which_segment_is_meant_across_the_wrap() {
        let span = 1u32 << SEGMENT_BITS;
        for lowest in [0, 1, span - 1, span, 3 * span - 5, u32::MAX - span + 1] {
            for above in [0, 1, 5, span / 2, span - 1] {
                let id = lowest + above;
                let slot = Slot::new(Tag(9), &entry(id, 16, 24, 0, 0), 1);
                assert_eq!(slot.position(lowest).segment(), SegmentId::new(id), "{lowest} + {above}");
            }
        }
    }

    #[test]
    fn changing_one_field_leaves_the_others() {
        let first = entry(1, 8, 16, Entry::MAX_EXPIRES_MS, 7);
        let mut slot = Slot::new(Tag(3), &first, MAX_TICK);
        slot.set_tick(0);
        assert_eq!(slot.entry(1), first);
        slot.set_tick(77);
        slot.set_newer(1);
        slot.set_older(2);
        let second = entry(2, 16, 8, 0, 0);
        slot.set_entry(&second);
        assert_eq!((slot.entry(1), slot.tick()), (second, 77));
        slot.set_stale();
        assert_eq!(slot.entry(1), Entry { flags: Flags { stale: true, ..Flags::default() }, ..second });
        assert_eq!((slot.newer(), slot.older(), slot.tag()), (1, 2, Tag(3)));
    }
}
