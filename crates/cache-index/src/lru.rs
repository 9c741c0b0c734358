//! The order of use inside one shard: a doubly linked list through the slots.
//!
//! **Invariants**: from `oldest` to `newest` the ticks grow, since each tick is taken under the shard's lock. Both ends are
//! [`NONE`] together, or neither.

use crate::{
    slab::Slab,
    slot::{NONE, Slot},
};

pub(crate) struct Lru {
    oldest: u32,
    newest: u32,
}

impl Lru {
    pub(crate) fn new() -> Self {
        Self { oldest: NONE, newest: NONE }
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    pub(crate) fn newest(&self) -> Option<u32> {
        (self.newest != NONE).then_some(self.newest)
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

    pub(crate) fn move_to_front(&mut self, slab: &mut Slab, n: u32) {
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
        lru.move_to_front(&mut slab, 0);
        lru.move_to_front(&mut slab, 2);
        lru.move_to_front(&mut slab, 2);
        assert_eq!(order(&lru, &slab), [1, 3, 0, 2]);
        lru.unlink(&mut slab, 3);
        lru.unlink(&mut slab, 2);
        lru.unlink(&mut slab, 1);
        assert_eq!((order(&lru, &slab), lru.newest()), (vec![0], Some(0)));
        lru.unlink(&mut slab, 0);
        assert_eq!((lru.oldest(), lru.newest()), (None, None));
    }
}
