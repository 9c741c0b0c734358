//! The bytes of a file, sparse and cheap to copy.
//!
//! **Invariants**: a missing chunk is zeros; a chunk's bytes past the file's end are zeros; a copy costs a pointer until
//! one of the two is written to.

use bytes::BytesMut;
use std::{collections::BTreeMap, sync::Arc};

const CHUNK: usize = 16 << 10;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    chunks: Arc<BTreeMap<u64, Arc<Vec<u8>>>>,
}

/// The pieces of a range by chunk: number, place within the chunk, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let from = (at % CHUNK as u64) as usize;
        let n = (CHUNK - from).min(len - done);
        done += n;
        (n > 0).then_some((at / CHUNK as u64, from, n))
    })
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends up to `len` bytes at `offset`; fewer at the end.
    pub(super) fn read(&self, offset: u64, len: usize, buf: &mut BytesMut) -> usize {
        let n = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        buf.reserve(n);
        for (chunk, from, n) in pieces(offset, n) {
            match self.chunks.get(&chunk) {
                Some(bytes) => buf.extend_from_slice(&bytes[from..from + n]),
                None => buf.resize(buf.len() + n, 0),
            }
        }
        n
    }

    /// Writes, past the end too.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let chunks = Arc::make_mut(&mut self.chunks);
        let mut rest = bytes;
        for (chunk, from, n) in pieces(offset, bytes.len()) {
            let (now, later) = rest.split_at(n);
            let chunk = chunks.entry(chunk).or_insert_with(|| Arc::new(vec![0; CHUNK]));
            Arc::make_mut(chunk)[from..from + n].copy_from_slice(now);
            rest = later;
        }
        if !bytes.is_empty() {
            self.grow(offset + bytes.len() as u64);
        }
    }

    /// Makes the file `len` long unless it is longer; what is new is zeros.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Cuts the file, or extends it with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (last, keep) = (len / CHUNK as u64, (len % CHUNK as u64) as usize);
            let chunks = Arc::make_mut(&mut self.chunks);
            chunks.retain(|&chunk, _| chunk < last || (chunk == last && keep > 0));
            if let Some(chunk) = chunks.get_mut(&last) {
                Arc::make_mut(chunk)[keep..].fill(0);
            }
        }
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut buf = BytesMut::new();
        content.read(0, usize::MAX, &mut buf);
        buf.to_vec()
    }

    proptest! {
        #[test]
        fn it_is_a_vector_of_bytes(
            steps in prop::collection::vec((any::<bool>(), 0..50_000usize, 0..40_000usize, 1..=255u8), 1..12)
        ) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for (cut, offset, len, byte) in steps {
                let before = (content.clone(), model.clone());
                if cut {
                    content.set_len(offset as u64);
                    model.resize(offset, 0);
                } else {
                    content.write(offset as u64, &vec![byte; len]);
                    if len > 0 && model.len() < offset + len {
                        model.resize(offset + len, 0);
                    }
                    if len > 0 {
                        model[offset..offset + len].fill(byte);
                    }
                }
                prop_assert!(all(&content) == model);
                prop_assert!(all(&before.0) == before.1, "a copy does not see later writes");
                let mut part = BytesMut::new();
                let n = content.read(offset as u64 / 2, len, &mut part);
                let from = (offset / 2).min(model.len());
                prop_assert!(part == model[from..(from + len).min(model.len())] && n == part.len());
            }
        }
    }

    #[test]
    fn a_large_reservation_holds_no_memory() {
        let mut content = Content::default();
        content.set_len(1 << 40);
        assert_eq!((content.len(), content.chunks.len()), (1 << 40, 0));
        let mut buf = BytesMut::new();
        assert_eq!(content.read((1 << 40) - 3, 10, &mut buf), 3);
        assert_eq!(&buf[..], [0; 3]);
    }
}
