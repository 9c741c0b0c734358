//! The backend around another one.

use super::{Fault, Rule, Verb};
use crate::MemoryFile;
use bytes::{Bytes, BytesMut};
use cache_core::{Advice, BackendKind, BufResult, DirEntry, DiskBackend, IoCounts, OpenMode};
use parking_lot::Mutex;
use std::{
    any::Any,
    collections::HashMap,
    fmt,
    future::Future,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Any backend, with planted failures. Clones share the rules and the counts.
///
/// A sync that is made to fail on a [`MemoryFile`] also tells the file ([`MemoryFile::fail_sync`]).
#[derive(Debug)]
pub struct FaultBackend<B> {
    inner: Arc<B>,
    state: Arc<Mutex<State>>,
    cached_reads: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    operations: u64,
    by_verb: HashMap<Verb, u64>,
    fired: u64,
}

/// A file of the backend inside, with the name it was opened by.
#[derive(Clone)]
pub struct FaultFile<F> {
    inner: F,
    path: Arc<Path>,
}

impl<F> FaultFile<F> {
    /// The file of the backend inside.
    pub fn inner(&self) -> &F {
        &self.inner
    }
}

impl<F: fmt::Debug> fmt::Debug for FaultFile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<B> Clone for FaultBackend<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), state: self.state.clone(), cached_reads: self.cached_reads.clone() }
    }
}

impl<B> FaultBackend<B> {
    /// Wraps a backend; there are no rules yet.
    pub fn new(inner: B) -> Self {
        Self::sharing(Arc::new(inner))
    }

    /// Wraps a backend that others use too.
    pub fn sharing(inner: Arc<B>) -> Self {
        Self { inner, state: Arc::default(), cached_reads: Arc::default() }
    }

    /// The backend inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Adds a rule. Of the rules that strike one operation the first decides; all of them count it.
    pub fn plant(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// Removes all rules. Operations that stand at a gate stay there.
    pub fn clear(&self) {
        self.state.lock().rules.clear();
    }

    /// Whether page-cache reads are counted and may be struck. At first they pass by unseen.
    pub fn fault_cached_reads(&self, on: bool) {
        self.cached_reads.store(on, Ordering::Relaxed);
    }

    /// Operations so far, over all verbs.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Operations so far of one verb.
    pub fn operations_of(&self, verb: Verb) -> u64 {
        self.state.lock().by_verb.get(&verb).copied().unwrap_or(0)
    }

    /// How often a rule struck. A run at whose end this is 0 was a clean one.
    pub fn fired(&self) -> u64 {
        self.state.lock().fired
    }

    fn strike(&self, verb: Verb, paths: &[&Path]) -> Option<Fault> {
        let mut state = self.state.lock();
        state.operations += 1;
        *state.by_verb.entry(verb).or_default() += 1;
        let mut struck = None;
        for rule in &mut state.rules {
            if rule.strikes(verb, paths) && struck.is_none() {
                struck = Some(rule.fault.clone());
            }
        }
        state.fired += u64::from(struck.is_some());
        struck
    }

    /// Counts an operation, and performs it as its fault demands.
    async fn perform<T>(
        &self,
        verb: Verb,
        paths: &[&Path],
        operation: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        match self.strike(verb, paths) {
            None | Some(Fault::Short) => operation.await,
            Some(Fault::Errno(errno) | Fault::Torn(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Kind(kind)) => Err(kind.into()),
            Some(Fault::DoneThenErrno(errno)) => {
                operation.await?;
                Err(io::Error::from_raw_os_error(errno))
            }
            Some(Fault::HoldBefore(gate)) => {
                gate.pass().await;
                operation.await
            }
            Some(Fault::HoldAfter(gate)) => {
                let done = operation.await;
                gate.pass().await;
                done
            }
        }
    }
}

impl<B: DiskBackend> DiskBackend for FaultBackend<B> {
    type File = FaultFile<B::File>;

    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }

    fn fallback_reason(&self) -> Option<String> {
        self.inner.fallback_reason()
    }

    fn io_counts(&self) -> IoCounts {
        self.inner.io_counts()
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        let inner = self.perform(Verb::Open, &[path], self.inner.open(path, mode)).await?;
        Ok(FaultFile { inner, path: path.into() })
    }

    async fn len(&self, file: &Self::File) -> io::Result<u64> {
        self.perform(Verb::Len, &[&file.path], self.inner.len(&file.inner)).await
    }

    async fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()> {
        self.perform(Verb::SetLen, &[&file.path], self.inner.set_len(&file.inner, len)).await
    }

    async fn read_at(&self, file: &Self::File, buf: BytesMut, len: usize, offset: u64) -> BufResult {
        let read = |buf, len| self.inner.read_at(&file.inner, buf, len, offset);
        let errno = io::Error::from_raw_os_error;
        match self.strike(Verb::Read, &[&file.path]) {
            None => read(buf, len).await,
            Some(Fault::Errno(e) | Fault::Torn(e)) => (Err(errno(e)), buf),
            Some(Fault::Kind(kind)) => (Err(kind.into()), buf),
            Some(Fault::Short) => read(buf, len / 2).await,
            Some(Fault::DoneThenErrno(e)) => (Err(errno(e)), read(buf, len).await.1),
            Some(Fault::HoldBefore(gate)) => {
                gate.pass().await;
                read(buf, len).await
            }
            Some(Fault::HoldAfter(gate)) => {
                let done = read(buf, len).await;
                gate.pass().await;
                done
            }
        }
    }

    fn try_read_cached(
        &self,
        file: &Self::File,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        let mut read = |len| self.inner.try_read_cached(&file.inner, buf, len, offset);
        if !self.cached_reads.load(Ordering::Relaxed) {
            return read(len);
        }
        match self.strike(Verb::ReadCached, &[&file.path]) {
            None | Some(Fault::HoldBefore(_) | Fault::HoldAfter(_)) => read(len),
            Some(Fault::Errno(e) | Fault::Torn(e) | Fault::DoneThenErrno(e)) => {
                Err(io::Error::from_raw_os_error(e))
            }
            Some(Fault::Kind(kind)) => Err(kind.into()),
            Some(Fault::Short) => read(len / 2),
        }
    }

    async fn write_at(&self, file: &Self::File, bufs: Vec<Bytes>, offset: u64) -> io::Result<()> {
        let write = |bufs| self.inner.write_at(&file.inner, bufs, offset);
        let errno = io::Error::from_raw_os_error;
        match self.strike(Verb::Write, &[&file.path]) {
            None => write(bufs).await,
            Some(Fault::Errno(e)) => Err(errno(e)),
            Some(Fault::Kind(kind)) => Err(kind.into()),
            Some(Fault::Torn(e)) => {
                write(first_half(bufs)).await?;
                Err(errno(e))
            }
            Some(Fault::Short) => {
                write(first_half(bufs)).await?;
                Err(io::ErrorKind::WriteZero.into())
            }
            Some(Fault::DoneThenErrno(e)) => {
                write(bufs).await?;
                Err(errno(e))
            }
            Some(Fault::HoldBefore(gate)) => {
                gate.pass().await;
                write(bufs).await
            }
            Some(Fault::HoldAfter(gate)) => {
                let done = write(bufs).await;
                gate.pass().await;
                done
            }
        }
    }

    async fn sync_data(&self, file: &Self::File) -> io::Result<()> {
        // A sync that "happened and failed all the same" has put on the disk what it could: the file must not take it for
        // a failed one as well.
        let mut reached = false;
        let done = self
            .perform(Verb::SyncData, &[&file.path], async {
                reached = true;
                self.inner.sync_data(&file.inner).await
            })
            .await;
        if done.is_err()
            && !reached
            && let Some(file) = as_any(&file.inner).downcast_ref::<MemoryFile>()
        {
            file.fail_sync();
        }
        done
    }

    fn advise(&self, file: &Self::File, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(&file.inner, offset, len, advice);
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Verb::Rename, &[from, to], self.inner.rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.perform(Verb::Remove, &[path], self.inner.remove(path)).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.perform(Verb::List, &[dir], self.inner.list(dir)).await
    }

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.perform(Verb::CreateDir, &[dir], self.inner.create_dir(dir)).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.perform(Verb::SyncDir, &[dir], self.inner.sync_dir(dir)).await
    }

    async fn free_space(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.perform(Verb::FreeSpace, &[dir], self.inner.free_space(dir)).await
    }

    async fn try_lock(&self, file: &Self::File) -> io::Result<bool> {
        self.perform(Verb::TryLock, &[&file.path], self.inner.try_lock(&file.inner)).await
    }
}

fn as_any<F: Any>(file: &F) -> &dyn Any {
    file
}

/// The first half of the bytes.
fn first_half(bufs: Vec<Bytes>) -> Vec<Bytes> {
    let mut left = bufs.iter().map(Bytes::len).sum::<usize>() / 2;
    let mut half = Vec::with_capacity(bufs.len());
    for mut buf in bufs {
        buf.truncate(left);
        left -= buf.len();
        half.push(buf);
    }
    half
}
