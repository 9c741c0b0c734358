//! The tokio backend with its calls and written bytes counted.

use backend_tokio::{DiskFile, TokioBackend};
use bytes::{Bytes, BytesMut};
use cache_core::{Advice, BufResult, DirEntry, DiskBackend, OpenMode};
use disk_cache::BackendKind;
use std::{
    future::Future,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counts since the backend was made.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    all: AtomicU64,
    syncs: AtomicU64,
    written: AtomicU64,
}

impl Calls {
    /// Verbs called, hints aside.
    pub(crate) fn calls(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// Of those, syncs of data and of directories.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Bytes given to be written, to whatever file.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn one(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    fn sync(&self) {
        self.one();
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes every call on.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: TokioBackend,
    counts: Arc<Calls>,
}

impl Counting {
    pub(crate) fn new(inner: TokioBackend, counts: Arc<Calls>) -> Self {
        Self { inner, counts }
    }
}

impl DiskBackend for Counting {
    type File = Arc<DiskFile>;

    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = io::Result<Arc<DiskFile>>> + Send {
        self.counts.one();
        self.inner.open(path, mode)
    }
    fn len(&self, file: &Arc<DiskFile>) -> impl Future<Output = io::Result<u64>> + Send {
        self.counts.one();
        self.inner.len(file)
    }
    fn set_len(&self, file: &Arc<DiskFile>, len: u64) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.one();
        self.inner.set_len(file, len)
    }
    fn read_at(
        &self,
        file: &Arc<DiskFile>,
        buf: BytesMut,
        len: usize,
        offset: u64,
    ) -> impl Future<Output = BufResult> + Send {
        self.counts.one();
        self.inner.read_at(file, buf, len, offset)
    }
    fn try_read_cached(
        &self,
        file: &Arc<DiskFile>,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        self.counts.one();
        self.inner.try_read_cached(file, buf, len, offset)
    }
    fn write_at(
        &self,
        file: &Arc<DiskFile>,
        bufs: Vec<Bytes>,
        offset: u64,
    ) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.one();
        let len = bufs.iter().map(|b| b.len() as u64).sum();
        self.counts.written.fetch_add(len, Ordering::Relaxed);
        self.inner.write_at(file, bufs, offset)
    }
    fn sync_data(&self, file: &Arc<DiskFile>) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.sync();
        self.inner.sync_data(file)
    }
    fn advise(&self, file: &Arc<DiskFile>, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(file, offset, len, advice);
    }
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.one();
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.one();
        self.inner.remove(path)
    }
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send {
        self.counts.one();
        self.inner.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.one();
        self.inner.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.counts.sync();
        self.inner.sync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> impl Future<Output = io::Result<Option<u64>>> + Send {
        self.counts.one();
        self.inner.free_space(dir)
    }
    fn try_lock(&self, file: &Arc<DiskFile>) -> impl Future<Output = io::Result<bool>> + Send {
        self.counts.one();
        self.inner.try_lock(file)
    }
}
