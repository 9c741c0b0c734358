//! How many rings, and how deep.

use std::{num::NonZero, thread};

/// More rings than this have shown no gain.
const MOST_RINGS: usize = 4;

/// A queue has at most 256 entries; one is kept for the no-op that ends a batch.
const DEEPEST: u32 = 255;

/// How the rings are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringOptions {
    /// Rings, each on a thread of its own; at least 1. The default is a quarter of the cores, but at least 2 and at most 4:
    /// two were clearly better than one even on two cores.
    pub rings: usize,
    /// Operations in flight on one ring, 1 to 255. More wait for a place before they are handed over. The default is 128.
    pub depth: u32,
}

impl Default for UringOptions {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self { rings: (cores / 4).clamp(2, MOST_RINGS), depth: 128 }
    }
}

impl UringOptions {
    /// Within the limits that the fields' texts give.
    pub(crate) fn clamped(self) -> Self {
        Self { rings: self.rings.max(1), depth: self.depth.clamp(1, DEEPEST) }
    }

    /// Entries of each queue: more than there can be operations in flight, so that a push never finds it full.
    pub(crate) fn entries(self) -> u32 {
        (self.depth + 1).next_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_more_entries_than_there_are_operations_in_flight() {
        for depth in 0..=300 {
            let options = UringOptions { rings: 0, depth }.clamped();
            assert!(options.rings >= 1 && options.depth >= 1);
            assert!(options.entries() > options.depth && options.entries() <= 256);
        }
    }

    #[test]
    fn the_default_is_two_to_four_rings() {
        let options = UringOptions::default();
        assert!((2..=4).contains(&options.rings));
        assert_eq!(options.clamped(), options);
    }
}
