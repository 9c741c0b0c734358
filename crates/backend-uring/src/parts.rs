//! Buffers as the kernel wants them for a vectored write.
//!
//! **Invariant**: every vector points into one of the buffers, which are never changed and dropped only with the vectors.

use bytes::Bytes;

/// As many vectors as one operation takes (`IOV_MAX`).
const MAX_PARTS: usize = 1024;

/// Buffers to be written one after another, and how far that has got.
pub(crate) struct Parts {
    _bufs: Vec<Bytes>,
    vectors: Vec<libc::iovec>,
    from: usize,
}

impl Parts {
    pub(crate) fn new(bufs: Vec<Bytes>) -> Self {
        // Without the empty ones, a count of 0 can only mean that nothing more goes.
        let vectors = bufs
            .iter()
            .filter(|b| !b.is_empty())
            .map(|b| libc::iovec { iov_base: b.as_ptr().cast_mut().cast(), iov_len: b.len() })
            .collect();
        Self { _bufs: bufs, vectors, from: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.from == self.vectors.len()
    }

    /// What the next operation writes.
    pub(crate) fn next(&self) -> &[libc::iovec] {
        let rest = &self.vectors[self.from..];
        &rest[..rest.len().min(MAX_PARTS)]
    }

    /// Steps over `n` written bytes.
    pub(crate) fn advance(&mut self, mut n: usize) {
        while let Some(vector) = self.vectors.get_mut(self.from) {
            if n < vector.iov_len {
                vector.iov_base = vector.iov_base.wrapping_byte_add(n);
                vector.iov_len -= n;
                return;
            }
            n -= vector.iov_len;
            self.from += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that the vectors span.
    fn bytes(parts: &Parts) -> Vec<u8> {
        let vectors = parts.next().iter();
        // SAFETY: the vectors point into buffers that `parts` owns.
        let slices =
            vectors.map(|v| unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len) });
        slices.flatten().copied().collect()
    }

    #[test]
    fn a_short_write_goes_on_within_a_buffer() {
        let texts: [&'static [u8]; 4] = [b"one", b"", b"two", b"three"];
        for step in 1..=11 {
            let mut parts = Parts::new(texts.map(Bytes::from_static).to_vec());
            let mut written = Vec::new();
            while !parts.is_done() {
                let rest = bytes(&parts);
                let n = step.min(rest.len());
                written.extend_from_slice(&rest[..n]);
                parts.advance(n);
            }
            assert_eq!(written, b"onetwothree", "in steps of {step}");
        }
    }

    #[test]
    fn no_operation_takes_more_than_1024_vectors() {
        let mut parts = Parts::new(vec![Bytes::from_static(b"xy"); 2500]);
        let mut sizes = Vec::new();
        while !parts.is_done() {
            sizes.push(parts.next().len());
            parts.advance(parts.next().len() * 2);
        }
        assert_eq!(sizes, [1024, 1024, 452]);
    }

    #[test]
    fn only_empty_buffers_are_done_at_once() {
        assert!(Parts::new(vec![Bytes::new(); 3]).is_done());
        assert!(Parts::new(vec![]).is_done());
    }
}
