//! The order of use inside one shard: a doubly linked list through the slots.
//!
//! A use changes three slots, each of them most likely a cache miss, and a lock is not given back before the last has come. So
//! uses wait for one another and are linked several at once, when their misses overlap.
//!
//! **Invariants**
//! - Once settled, the ticks grow from `oldest` to `newest`, since each tick is taken under the shard's lock. Both ends are
//!   [`NONE`] together, or neither.
//! - The oldest one never waits: so it is the right one before the list is settled, too.

use crate::{
    slab::Slab,
    slot::{NONE, Slot},
};

/// Uses that wait at most.
const WAITING: usize = 7;

pub(crate) struct Lru {
    oldest: u32,
    newest: u32,
    /// Slots that were used since the list was settled, in the order of use.
    waiting: [u32; WAITING],
    count: u32,
}

impl Lru {
    pub(crate) fn new() -> Self {
        Self { oldest: NONE, newest: NONE, waiting: [NONE; WAITING], count: 0 }
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    pub(crate) fn newest(&self) -> Option<u32> {
        (self.newest != NONE).then_some(self.newest)
    }

    /// A slot of the list was used. It is at the front once the list is settled.
    pub(crate) fn touch(&mut self, slab: &mut Slab, n: u32) {
        if self.oldest == n || self.count as usize == WAITING {
            self.settle(slab);
            self.move_to_front(slab, n);
        } else {
            self.waiting[self.count as usize] = n;
            self.count += 1;
        }
    }

    /// Links what waits. To be called before anything else is done to the list than a touch.
    pub(crate) fn settle(&mut self, slab: &mut Slab) {
        for i in 0..std::mem::take(&mut self.count) {
            self.move_to_front(slab, self.waiting[i as usize]);
        }
    }

    /// Puts an unlinked slot at the front.
    pub(crate) fn push(&mut self, slab: &mut Slab, n: u32) {
        let second = self.newest;
        let slot = slab.get_mut(n);
        slot.set_newer(NONE);
        slot.set_older(second);
        self.newest = n;
        if second == NONE {
            self.oldest = n;
        } else {
            slab.get_mut(second).set_newer(n);
        }
    }

    pub(crate) fn unlink(&mut self, slab: &mut Slab, n: u32) {
        let (newer, older) = links(slab.get(n));
        if newer == NONE {
            self.newest = older;
        } else {
            slab.get_mut(newer).set_older(older);
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            slab.get_mut(older).set_newer(newer);
        }
    }

    fn move_to_front(&mut self, slab: &mut Slab, n: u32) {
        if self.newest != n {
            self.unlink(slab, n);
            self.push(slab, n);
        }
    }
}

fn links(slot: &Slot) -> (u32, u32) {
    (slot.newer(), slot.older())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(lru: &Lru, slab: &Slab) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = lru.oldest();
        while let Some(n) = at {
            found.push(n);
            at = Some(slab.get(n).newer()).filter(|&n| n != NONE);
        }
        found
    }

    #[test]
    fn the_list_keeps_its_order_through_every_kind_of_move() {
        let (mut lru, mut slab) = (Lru::new(), Slab::new());
        for _ in 0..4 {
            let n = slab.take(Slot::VACANT);
            lru.push(&mut slab, n);
        }
        assert_eq!(order(&lru, &slab), [0, 1, 2, 3]);
        for n in [0, 2, 2] {
            lru.touch(&mut slab, n);
        }
        lru.settle(&mut slab);
        assert_eq!(order(&lru, &slab), [1, 3, 0, 2]);
        lru.unlink(&mut slab, 3);
        lru.unlink(&mut slab, 2);
        lru.unlink(&mut slab, 1);
        assert_eq!((order(&lru, &slab), lru.newest()), (vec![0], Some(0)));
        lru.unlink(&mut slab, 0);
        assert_eq!((lru.oldest(), lru.newest()), (None, None));
    }

    #[test]
    fn uses_that_wait_end_in_the_order_of_a_list_that_never_waits() {
        let (mut lru, mut slab) = (Lru::new(), Slab::new());
        for _ in 0..40 {
            let n = slab.take(Slot::VACANT);
            lru.push(&mut slab, n);
        }
        let mut naive: Vec<u32> = (0..40).collect();
        for n in (0..1000u32).map(|i| i * i / 3 % 40) {
            lru.touch(&mut slab, n);
            naive.retain(|&other| other != n);
            naive.push(n);
            assert_eq!(lru.oldest(), naive.first().copied(), "the oldest one is right at any time");
        }
        lru.settle(&mut slab);
        assert_eq!(order(&lru, &slab), naive);
    }
}
