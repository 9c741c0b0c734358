//! Gathers a body for the cache, within bounds.

use crate::budget::{Budget, Grant};
use bytes::{Bytes, BytesMut};

/// Bytes after which an announced length is believed, and memory taken for all of it.
const TRUSTED: usize = 1 << 20;

/// Gathers a body for the cache. **Invariant**: it never holds more than `max` bytes, nor more than the budget gave.
#[derive(Debug)]
pub(crate) struct Collector {
    bytes: BytesMut,
    expected: Option<u64>,
    max: u64,
    grant: Grant,
}

impl Collector {
    /// For a body of `expected` bytes, where that is known.
    pub(crate) fn new(expected: Option<u64>, max: u64, budget: &Budget) -> Self {
        Self { bytes: BytesMut::new(), expected, max, grant: budget.grant() }
    }

    /// Adds a piece; `false` where the body is too large, and the collection is to be given up.
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        let len = (self.bytes.len() + piece.len()) as u64;
        let fits = len <= self.max && self.grant.grow(piece.len() as u64);
        if fits {
            if let Some(expected) = self.expected.filter(|_| self.bytes.len() >= TRUSTED) {
                // All at once from here on: growing step by step would hold the body twice.
                self.bytes.reserve((expected.min(self.max) as usize).saturating_sub(self.bytes.len()));
            }
            self.bytes.extend_from_slice(piece);
        }
        fits
    }

    /// The body, if it is whole.
    pub(crate) fn finish(self) -> Option<Bytes> {
        let whole = self.expected.is_none_or(|expected| expected == self.bytes.len() as u64);
        whole.then(|| self.bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_over_the_limit_or_the_budget_is_refused() {
        let budget = Budget::new(10);
        let mut first = Collector::new(None, 8, &budget);
        assert!(first.push(b"1234567"));
        assert!(!first.push(b"89"));
        let mut second = Collector::new(None, 8, &budget);
        assert!(!second.push(b"1234"));
        drop(first);
        assert!(second.push(b"1234"));
    }

    #[test]
    fn a_short_body_is_not_whole() {
        let mut collector = Collector::new(Some(4), 8, &Budget::new(8));
        assert!(collector.push(b"123"));
        assert_eq!(collector.finish(), None);
    }
}
