//! Aligned memory for writes past the page cache.
//!
//! **Invariant**: a block is lent to one write at a time; it comes back when the write, which may outlive its caller, lets go.

use crate::{format::BLOCK, sync::Mutex};
use bytes::{Bytes, BytesMut};
use cache_core::aligned_buf;
use std::sync::Arc;

/// Bytes of one.
pub(super) const LEN: usize = 1 << 20;
/// How many are kept when nobody needs them.
const SPARE: usize = 8;

/// Blocks that nobody holds.
#[derive(Default)]
pub(super) struct Blocks {
    spare: Mutex<Vec<BytesMut>>,
}

impl Blocks {
    /// A block that `fill` has written to, from its aligned beginning on.
    pub(super) fn filled(self: &Arc<Self>, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
        let spare = self.spare.lock().pop();
        let mut memory = spare.unwrap_or_else(|| aligned_buf(LEN, BLOCK as usize));
        fill(&mut memory);
        Bytes::from_owner(Lent { memory, home: self.clone() })
    }
}

struct Lent {
    memory: BytesMut,
    home: Arc<Blocks>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.clear();
        let mut spare = self.home.spare.lock();
        if spare.len() < SPARE {
            spare.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_once_nobody_holds_it_and_is_aligned_then_too() {
        let blocks = Arc::new(Blocks::default());
        let first = blocks.filled(|b| b.extend_from_slice(b"first"));
        let at = first.as_ptr();
        let held = first.slice(1..);
        drop(first);
        let second = blocks.filled(|b| b.extend_from_slice(b"second"));
        assert_eq!((&held[..], &second[..]), (&b"irst"[..], &b"second"[..]));
        drop(held);
        let third = blocks.filled(|b| b.resize(LEN, 3));
        assert_eq!((third.as_ptr(), third.len()), (at, LEN));
        assert_eq!(at.align_offset(BLOCK as usize), 0);
    }

    #[test]
    fn no_more_is_kept_than_a_few() {
        let blocks = Arc::new(Blocks::default());
        drop((0..2 * SPARE).map(|_| blocks.filled(|_| ())).collect::<Vec<_>>());
        assert_eq!(blocks.spare.lock().len(), SPARE);
    }
}
