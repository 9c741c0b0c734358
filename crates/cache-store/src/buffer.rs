//! Write buffers: records on their way to a segment, readable all the while.
//!
//! **Invariant**: bytes once appended never change; `freeze` ends the appends.

use crate::sync::Mutex;
use bytes::{Bytes, BytesMut};

/// A body at least this long is written from the caller's memory; a shorter one is copied, since a small slice would pin
/// a whole network buffer.
pub(crate) const OWN_MEMORY: usize = 64 << 10;

/// A contiguous run of records of one segment.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Where the run begins in its segment.
    start: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pieces: Vec<Piece>,
    copied: Copied,
    len: u64,
}

/// A run of bytes: of `copied`, or of a caller's body.
#[derive(Debug)]
enum Piece {
    Copied { from: usize, to: usize },
    Body(Bytes),
}

#[derive(Debug)]
enum Copied {
    Open(BytesMut),
    Frozen(Bytes),
}

impl Copied {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Open(b) => b,
            Self::Frozen(b) => b,
        }
    }
}

impl Buffer {
    /// An empty buffer that copies into `memory`.
    pub(crate) fn new(start: u64, memory: BytesMut) -> Self {
        let copied = Copied::Open(memory);
        Self { start, state: Mutex::new(State { pieces: Vec::new(), copied, len: 0 }) }
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn len(&self) -> u64 {
        self.state.lock().len
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.len()
    }

    /// Appends a record: the parts that are always copied, its body, and its padding.
    pub(crate) fn append(&self, copied: [&[u8]; 4], body: &Bytes, padding: usize) {
        let mut state = self.state.lock();
        for part in copied {
            state.copy(part);
        }
        if body.len() < OWN_MEMORY {
            state.copy(body);
        } else {
            state.len += body.len() as u64;
            state.pieces.push(Piece::Body(body.clone()));
        }
        state.copy(&[0; 8][..padding]);
    }

    /// Ends the appends.
    pub(crate) fn freeze(&self) {
        let mut state = self.state.lock();
        if let Copied::Open(b) = &mut state.copied {
            let frozen = std::mem::take(b).freeze();
            state.copied = Copied::Frozen(frozen);
        }
    }

    /// The run's bytes, to be written one after another.
    ///
    /// The buffer is frozen first.
    pub(crate) fn to_write(&self) -> Vec<Bytes> {
        self.freeze();
        let state = self.state.lock();
        let Copied::Frozen(copied) = &state.copied else { return Vec::new() };
        state
            .pieces
            .iter()
            .map(|p| match p {
                Piece::Copied { from, to } => copied.slice(*from..*to),
                Piece::Body(b) => b.clone(),
            })
            .collect()
    }

    /// `len` bytes at this offset of the segment, if the run covers them.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Option<Bytes> {
        let state = self.state.lock();
        let mut skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        if (skip + len) as u64 > state.len {
            return None;
        }
        let mut out = BytesMut::with_capacity(len);
        for piece in &state.pieces {
            let bytes = match piece {
                Piece::Copied { from, to } => &state.copied.bytes()[*from..*to],
                Piece::Body(b) => b,
            };
            if skip >= bytes.len() {
                skip -= bytes.len();
                continue;
            }
            let take = (bytes.len() - skip).min(len - out.len());
            out.extend_from_slice(&bytes[skip..skip + take]);
            skip = 0;
            if out.len() == len {
                break;
            }
        }
        Some(out.freeze())
    }

    /// The memory for the next buffer, where nobody else holds it any more.
    pub(crate) fn recycle(&self) -> Option<BytesMut> {
        let mut state = self.state.lock();
        state.pieces.clear();
        state.len = 0;
        let Copied::Frozen(bytes) = &mut state.copied else { return None };
        let mut memory = std::mem::take(bytes).try_into_mut().ok()?;
        memory.clear();
        Some(memory)
    }
}

impl State {
    fn copy(&mut self, bytes: &[u8]) {
        let Copied::Open(memory) = &mut self.copied else { return };
        if bytes.is_empty() {
            return;
        }
        let from = memory.len();
        memory.extend_from_slice(bytes);
        let to = memory.len();
        self.len += bytes.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Copied { to: last, .. }) if *last == from => *last = to,
            _ => self.pieces.push(Piece::Copied { from, to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (Buffer, Vec<u8>) {
        let buffer = Buffer::new(800, BytesMut::with_capacity(1024));
        let big = Bytes::from(vec![7; OWN_MEMORY]);
        buffer.append([b"head", b"key", b"", b"meta"], &Bytes::from_static(b"small"), 4);
        buffer.append([b"head", b"", b"", b""], &big, 4);
        buffer.append([b"tail", b"", b"", b""], &Bytes::new(), 0);
        let all: Vec<u8> = [&b"headkeymetasmall\0\0\0\0head"[..], &big, b"\0\0\0\0tail"].concat();
        (buffer, all)
    }

    #[test]
    fn what_was_appended_is_read_back_at_every_offset_before_and_after_the_freeze() {
        let (buffer, all) = filled();
        for _ in 0..2 {
            for (offset, len) in [(0, 5), (3, 20), (20, OWN_MEMORY + 12), (OWN_MEMORY, 32), (0, all.len())] {
                let read = buffer.read(800 + offset as u64, len).unwrap();
                assert_eq!(read, all[offset..offset + len]);
            }
            assert!(buffer.read(799, 1).is_none());
            assert!(buffer.read(800, all.len() + 1).is_none());
            buffer.freeze();
        }
    }

    #[test]
    fn the_pieces_to_write_are_the_whole_run_and_a_large_body_is_not_copied() {
        let (buffer, all) = filled();
        let pieces = buffer.to_write();
        assert_eq!(pieces.concat(), all);
        assert_eq!(pieces.len(), 3);
    }

    #[test]
    fn memory_is_recycled_once_nobody_holds_it() {
        let (buffer, _) = filled();
        let pieces = buffer.to_write();
        drop(pieces);
        let memory = buffer.recycle().unwrap();
        assert!(memory.is_empty() && memory.capacity() >= 1024);
    }
}
