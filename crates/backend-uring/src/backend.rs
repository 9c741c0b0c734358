//! The backend: three verbs on rings, the rest and the way out on the portable backend.

use crate::{
    options::UringOptions,
    probe::ProbeError,
    request::{Answer, Message, Op, Request},
    ring,
    shared::{Lane, Shared},
};
use backend_tokio::{DiskFile, TokioBackend, check_range};
use bytes::{Bytes, BytesMut};
use cache_core::{Advice, BackendKind, BufResult, DirEntry, DiskBackend, IoCounts, OpenMode};
use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, oneshot},
};

/// Reads, writes and data syncs on io_uring, everything else on a [`TokioBackend`].
///
/// Where a ring's thread dies, the backend goes on with the portable one for good: [`kind`](DiskBackend::kind) and
/// [`fallback_reason`](DiskBackend::fallback_reason) tell. An operation that was in flight then ends as the kernel says
/// where the ring can still be drained, and as an error where it cannot; one that never reached the kernel is done by the
/// portable backend. A write or sync of unknown fate is never repeated: the first may still be on its way and overtake what
/// is written there next, the second may have reported its error to nobody.
///
/// Dropping the backend never waits: the threads finish what is in flight and end by themselves. See [`Self::shutdown`].
pub struct UringBackend {
    shared: Arc<Shared>,
    next: AtomicUsize,
    rest: TokioBackend,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a test breaks.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Sabotage {
    /// The thread of this ring panics.
    Thread(usize),
    /// One operation on the ring panics.
    Operation,
}

impl UringBackend {
    /// Starts the rings and tries them: the operations that the kernel has, then a write, a read and a sync of a nameless
    /// file in `probe_dir`. Blocks for some milliseconds. Threads do not survive a fork, so a daemon forks first.
    ///
    /// # Errors
    /// The step that failed, and how; nothing is left running then.
    pub fn open(handle: Handle, options: UringOptions, probe_dir: &Path) -> Result<Self, ProbeError> {
        let options = options.clamped();
        let shared = Arc::new(Shared::default());
        let (mut lanes, mut threads) = (Vec::new(), Vec::new());
        let mut failed = None;
        for index in 0..options.rings {
            let probe_dir = (index == 0).then_some(probe_dir);
            match ring::start(index, options, shared.clone(), probe_dir) {
                Ok((lane, thread)) => {
                    lanes.push(lane);
                    threads.push(thread);
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        shared.set_lanes(lanes);
        let backend = Self {
            shared,
            next: AtomicUsize::new(0),
            rest: TokioBackend::new(handle),
            threads: Mutex::new(threads),
        };
        match failed {
            None => {
                tracing::debug!(rings = options.rings, "rings opened");
                Ok(backend)
            }
            Some(e) => {
                backend.shutdown();
                Err(e)
            }
        }
    }

    /// Ends the rings and waits for their threads, so for all that is in flight. What is asked of the backend later goes to
    /// the portable one.
    ///
    /// Blocks: call it from outside of async code, or on a blocking thread.
    pub fn shutdown(&self) {
        self.shared.stop("the rings were shut down");
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::warn!("an io_uring thread had panicked");
            }
        }
    }

    /// Breaks something, for tests; gives what the caller of a broken operation gets.
    ///
    /// # Errors
    /// That the operation is lost, which is what a broken one should give.
    #[doc(hidden)]
    pub async fn sabotage(&self, what: Sabotage, file: &Arc<DiskFile>) -> io::Result<()> {
        match what {
            Sabotage::Thread(ring) => {
                self.shared.lanes().get(ring).into_iter().for_each(|lane| lane.send(Message::Panic));
                Ok(())
            }
            Sabotage::Operation => match self.ask(file, (), |(), answer| Op::Panic { answer }).await {
                Ok(done) => done.ok_or_else(lost)?,
                Err(()) => Ok(()),
            },
        }
    }

    /// A ring with a place on it, one after another; `None` where no ring is in use.
    async fn lane(&self) -> Option<(&Lane, OwnedSemaphorePermit)> {
        let lanes = self.shared.lanes();
        if self.shared.ended().is_some() {
            return None;
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed) % lanes.len();
        let (behind, before) = lanes.split_at(start);
        for lane in before.iter().chain(behind) {
            if let Ok(slot) = lane.slots.clone().try_acquire_owned() {
                return Some((lane, slot));
            }
        }
        let lane = &lanes[start];
        let slot = lane.slots.clone().acquire_owned().await.ok()?;
        Some((lane, slot))
    }

    /// Asks a ring. `Err` with all that was given where the kernel has not seen it; `Ok(None)` where nobody knows.
    async fn ask<T, Given>(
        &self,
        file: &Arc<DiskFile>,
        given: Given,
        op: impl FnOnce(Given, oneshot::Sender<Answer<T, Given>>) -> Op,
    ) -> Result<Option<T>, Given> {
        let Some((lane, slot)) = self.lane().await else { return Err(given) };
        let (answer, answered) = oneshot::channel();
        lane.send(Message::Request(Request { file: file.clone(), op: op(given, answer), slot }));
        answered.await.map_or(Ok(None), |answer| answer.map(Some))
    }
}

/// The error of an operation that a dead thread took with it.
fn lost() -> io::Error {
    io::Error::other("the io_uring thread died with this operation; whether it happened is unknown")
}

impl fmt::Debug for UringBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringBackend")
            .field("rings", &self.shared.lanes().len())
            .field("ended", &self.shared.ended())
            .finish_non_exhaustive()
    }
}

impl Drop for UringBackend {
    /// The threads are told and left to themselves: this may be async code, where nothing may wait.
    fn drop(&mut self) {
        self.shared.stop("the backend was dropped");
    }
}

impl DiskBackend for UringBackend {
    type File = Arc<DiskFile>;

    fn kind(&self) -> BackendKind {
        if self.shared.ended().is_none() { BackendKind::IoUring } else { self.rest.kind() }
    }

    fn fallback_reason(&self) -> Option<String> {
        self.shared.ended().map(str::to_owned)
    }

    fn io_counts(&self) -> IoCounts {
        let mut counts = IoCounts::default();
        if self.shared.ended().is_none() {
            counts.rings = self.shared.lanes().len() as u64;
        }
        counts.ring_reads = self.shared.total(|lane| &lane.reads);
        counts.ring_writes = self.shared.total(|lane| &lane.writes);
        counts.ring_syncs = self.shared.total(|lane| &lane.syncs);
        counts
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        self.rest.open(path, mode).await
    }

    async fn len(&self, file: &Self::File) -> io::Result<u64> {
        self.rest.len(file).await
    }

    async fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()> {
        self.rest.set_len(file, len).await
    }

    async fn read_at(&self, file: &Self::File, mut buf: BytesMut, len: usize, offset: u64) -> BufResult {
        if let Err(e) = check_range(offset, len) {
            return (Err(e), buf);
        }
        // Here and not on the ring's thread, which has more to do than to wait for memory.
        buf.reserve(len);
        match self.ask(file, buf, |buf, answer| Op::Read { buf, len, offset, answer }).await {
            Ok(Some(done)) => done,
            Ok(None) => (Err(lost()), BytesMut::new()),
            Err(buf) => self.rest.read_at(file, buf, len, offset).await,
        }
    }

    fn try_read_cached(
        &self,
        file: &Self::File,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        self.rest.try_read_cached(file, buf, len, offset)
    }

    async fn write_at(&self, file: &Self::File, bufs: Vec<Bytes>, offset: u64) -> io::Result<()> {
        let len = bufs.iter().try_fold(0usize, |sum, b| sum.checked_add(b.len()));
        check_range(offset, len.unwrap_or(usize::MAX))?;
        match self.ask(file, bufs, |bufs, answer| Op::Write { bufs, offset, answer }).await {
            Ok(done) => done.ok_or_else(lost)?,
            Err(bufs) => self.rest.write_at(file, bufs, offset).await,
        }
    }

    async fn sync_data(&self, file: &Self::File) -> io::Result<()> {
        match self.ask(file, (), |(), answer| Op::Sync { answer }).await {
            Ok(done) => done.ok_or_else(lost)?,
            Err(()) => self.rest.sync_data(file).await,
        }
    }

    fn advise(&self, file: &Self::File, offset: u64, len: u64, advice: Advice) {
        self.rest.advise(file, offset, len, advice);
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rest.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.rest.remove(path).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.rest.list(dir).await
    }

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.rest.create_dir(dir).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.rest.sync_dir(dir).await
    }

    async fn free_space(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.rest.free_space(dir).await
    }

    async fn try_lock(&self, file: &Self::File) -> io::Result<bool> {
        self.rest.try_lock(file).await
    }
}
