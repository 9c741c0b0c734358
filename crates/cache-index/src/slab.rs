//! Where the slots of a shard live.
//!
//! **Invariants**: a slot keeps its number until it is freed. Memory grows by a chunk at a time and nothing is ever copied
//! to grow, so a shard never holds its lock for long and never holds twice its memory. Free slots are chained through
//! their `older` link and used again before new ones.

use crate::slot::{NONE, Slot};

const CHUNK_BITS: u32 = 7;
const CHUNK: usize = 1 << CHUNK_BITS;

type Chunk = Box<[Slot; CHUNK]>;

pub(crate) struct Slab {
    chunks: Vec<Chunk>,
    /// Slots below this number have been given out at least once.
    used: u32,
    free: u32,
}

impl Slab {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), used: 0, free: NONE }
    }

    pub(crate) fn get(&self, n: u32) -> &Slot {
        &self.chunks[(n >> CHUNK_BITS) as usize][n as usize & (CHUNK - 1)]
    }

    pub(crate) fn get_mut(&mut self, n: u32) -> &mut Slot {
        &mut self.chunks[(n >> CHUNK_BITS) as usize][n as usize & (CHUNK - 1)]
    }

    pub(crate) fn take(&mut self, slot: Slot) -> u32 {
        let n = if self.free == NONE {
            if self.used as usize == self.chunks.len() * CHUNK {
                self.chunks.push(Box::new([Slot::VACANT; CHUNK]));
            }
            self.used += 1;
            self.used - 1
        } else {
            let n = self.free;
            self.free = self.get(n).older();
            n
        };
        *self.get_mut(n) = slot;
        n
    }

    pub(crate) fn give_back(&mut self, n: u32) {
        let mut vacant = Slot::VACANT;
        vacant.set_older(self.free);
        *self.get_mut(n) = vacant;
        self.free = n;
    }

    /// Slots given out at least once.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// The free slots, as chained; stops after `used` of them, so that a damaged chain ends too.
    pub(crate) fn free_slots(&self) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.free;
        std::iter::from_fn(move || {
            let n = (at < self.used).then_some(at)?;
            at = self.get(n).older();
            Some(n)
        })
        .take(self.used as usize + 1)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.len() * size_of::<[Slot; CHUNK]>() + self.chunks.capacity() * size_of::<Chunk>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_slots_are_used_again_before_new_ones() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..600).map(|_| slab.take(Slot::VACANT)).collect();
        assert_eq!(numbers, (0..600).collect::<Vec<_>>());
        let before = slab.memory_bytes();
        for n in [3, 599, 256] {
            slab.give_back(n);
        }
        assert_eq!(slab.free_slots().collect::<Vec<_>>(), [256, 599, 3]);
        assert_eq!(
            [slab.take(Slot::VACANT), slab.take(Slot::VACANT), slab.take(Slot::VACANT)],
            [256, 599, 3]
        );
        assert_eq!((slab.used(), slab.memory_bytes()), (600, before));
        assert_eq!(slab.take(Slot::VACANT), 600);
    }
}
