//! One segment of the log, open.
//!
//! **Invariants**: `synced <= written`; bytes below `written` are in the file, bytes above it in `buffers`; after a failure
//! nothing past the last good sync counts as stored.

use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::{
    buffer::Buffer,
    format::{BLOCK, round_up},
    space::Lease,
};
use bytes::Bytes;
use cache_core::{DiskBackend, Durability, Error, Result};
use cache_index::SegmentId;
use std::{collections::VecDeque, path::PathBuf, sync::Arc};
use tokio::sync::Notify;

/// A segment's file and how far it has come.
pub(crate) struct Segment<B: DiskBackend> {
    pub(crate) id: SegmentId,
    pub(crate) file: B::File,
    pub(crate) path: PathBuf,
    pub(crate) lease: Lease,
    /// The index's next use when it took its last record; 0 while it takes some, and for one of an earlier session.
    closed_at: AtomicU64,
    /// The same as in the state, for readers.
    written: AtomicU64,
    state: Mutex<State>,
    changed: Notify,
}

/// What a sealed segment's file ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) file_len: u64,
    pub(crate) footer_len: u64,
    /// The checksum in the footer's trailer.
    pub(crate) checksum: u64,
}

#[derive(Debug, Default)]
struct State {
    seal: Option<Seal>,
    buffers: VecDeque<InFlight>,
    written: u64,
    synced: u64,
    writing: usize,
    failed: Option<(u64, Error)>,
}

#[derive(Debug)]
struct InFlight {
    buffer: Arc<Buffer>,
    /// Where the buffer ended, once it is in the file: its memory may serve another one by then.
    done: Option<u64>,
}

impl<B: DiskBackend> Segment<B> {
    /// A segment whose first `len` bytes are on stable storage.
    pub(crate) fn new(id: SegmentId, file: B::File, path: PathBuf, lease: Lease, len: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            file,
            path,
            lease,
            closed_at: AtomicU64::new(0),
            written: AtomicU64::new(len),
            state: Mutex::new(State { written: len, synced: len, ..State::default() }),
            changed: Notify::new(),
        })
    }

    /// The segment has its footer now: it occupies no more than that.
    pub(crate) fn sealed(&self, seal: Seal) {
        self.lease.shrink_to(round_up(seal.file_len, BLOCK));
        self.state.lock().seal = Some(seal);
    }

    /// What the file ends in; `None`: it has no footer.
    pub(crate) fn seal(&self) -> Option<Seal> {
        self.state.lock().seal
    }

    /// It takes no more records.
    pub(crate) fn closed_at(&self, next_use: u64) {
        self.closed_at.store(next_use, Ordering::Release);
    }

    /// Whether an entry that was used last at `tick` was used since its record was written, as far as is known.
    pub(crate) fn was_used(&self, tick: u64) -> bool {
        tick >= self.closed_at.load(Ordering::Acquire)
    }

    /// Bytes of its records. One that has no footer counts in full.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.seal().map_or(self.lease.bytes(), |seal| seal.file_len - seal.footer_len)
    }

    /// Adds a buffer that begins where the last one ends.
    pub(crate) fn push(&self, buffer: Arc<Buffer>) {
        self.state.lock().buffers.push_back(InFlight { buffer, done: None });
    }

    /// The bytes of a record that is still in a buffer; `None`: it is in the file.
    pub(crate) fn buffered(&self, offset: u64, len: usize) -> Option<Bytes> {
        if offset + len as u64 <= self.written.load(Ordering::Acquire) {
            return None;
        }
        let state = self.state.lock();
        state.buffers.iter().find_map(|b| b.buffer.read(offset, len))
    }

    /// A write of a buffer begins.
    pub(crate) fn write_begins(&self) {
        self.state.lock().writing += 1;
    }

    /// A write has ended; on success its bytes are in the file. Buffers leave in order, so that `written` is contiguous.
    pub(crate) fn write_ends(&self, buffer: &Arc<Buffer>, ok: bool) {
        let mut state = self.state.lock();
        state.writing -= 1;
        if ok {
            if let Some(b) = state.buffers.iter_mut().find(|b| Arc::ptr_eq(&b.buffer, buffer)) {
                b.done = Some(buffer.end());
            }
            while let Some(end) = state.buffers.front().and_then(|b| b.done) {
                state.buffers.pop_front();
                state.written = end;
            }
            self.written.store(state.written, Ordering::Release);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn synced(&self) -> u64 {
        self.state.lock().synced
    }

    /// All below `to` is on stable storage.
    pub(crate) fn mark_synced(&self, to: u64) {
        let mut state = self.state.lock();
        if state.failed.is_none() {
            state.synced = state.synced.max(to);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Gives up all past the last good sync; tells where that is, the first time.
    pub(crate) fn fail(&self, error: &Error) -> Option<u64> {
        let mut state = self.state.lock();
        if state.failed.is_some() {
            return None;
        }
        let from = state.synced;
        state.failed = Some((from, error.clone()));
        state.buffers.clear();
        drop(state);
        self.changed.notify_waiters();
        Some(from)
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.state.lock().failed.as_ref().map(|(_, e)| e.clone())
    }

    /// Waits until the record that ends at `end` has come this far.
    ///
    /// # Errors
    /// The failure that lost it.
    pub(crate) async fn reached(&self, end: u64, level: Durability) -> Result<()> {
        self.wait_for(|state| {
            if let Some((from, error)) = &state.failed
                && *from < end
            {
                return Some(Err(error.clone()));
            }
            let there = match level {
                Durability::Buffered => true,
                Durability::Written => state.written >= end,
                _ => state.synced >= end,
            };
            there.then_some(Ok(()))
        })
        .await
    }

    /// Waits until no write is under way.
    pub(crate) async fn quiet(&self) {
        self.wait_for(|state| (state.writing == 0).then_some(())).await;
    }

    async fn wait_for<T>(&self, mut done: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            // Registered before the look, so that a change between look and await is not missed.
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = done(&self.state.lock()) {
                return value;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Space;
    use bytes::BytesMut;
    use cache_core::OpenMode;
    use cache_testkit::MemoryBackend;
    use std::path::Path;

    /// Writes of two buffers were under way, the second ended first, and its memory went on to the next buffer at once. When
    /// the first ended, the second counted as empty: `written` stayed behind for good, and so did everybody who waited.
    #[tokio::test]
    async fn writes_that_end_out_of_order_count_in_full() {
        let disk = MemoryBackend::with_dir("/");
        let file = disk.open(Path::new("/a"), OpenMode::CREATE_NEW).await.unwrap();
        let lease = Space::new(4096).try_lease(4096, 0).unwrap();
        let segment = Segment::<MemoryBackend>::new(SegmentId::new(1), file, "/a".into(), lease, 0);
        let buffers: Vec<_> = [0u64, 100]
            .map(|start| {
                let buffer = Arc::new(Buffer::new(start, BytesMut::with_capacity(100)));
                buffer.append([&[1; 100], &[], &[], &[]], &Bytes::new(), 0);
                segment.push(buffer.clone());
                segment.write_begins();
                buffer.freeze();
                buffer
            })
            .into();
        segment.write_ends(&buffers[1], true);
        assert!(buffers[1].recycle().is_some());
        assert!(segment.buffered(100, 100).is_none());
        segment.write_ends(&buffers[0], true);
        segment.reached(200, Durability::Written).await.unwrap();
    }
}
