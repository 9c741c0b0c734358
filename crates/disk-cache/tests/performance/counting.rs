//! A backend that notes every call.

use bytes::{Bytes, BytesMut};
use cache_core::{Advice, BufResult, DirEntry, DiskBackend, IoCounts, OpenMode};
use cache_testkit::Verb;
use disk_cache::BackendKind;
use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    /// Bytes asked for or given.
    pub(crate) len: u64,
    /// What was given to be written.
    pub(crate) bufs: Vec<Bytes>,
}

/// Any backend, noting every call; clones share the notes.
#[derive(Clone)]
pub(crate) struct Counting<B> {
    inner: B,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A file and its name.
#[derive(Clone, Debug)]
pub(crate) struct Named<F>(F, Arc<Path>);

impl<B> Counting<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, calls: Arc::default() }
    }

    /// The calls since the last look.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn note(&self, verb: Verb, path: &Path, offset: u64, len: u64, bufs: &[Bytes]) {
        let call = Call { verb, path: path.to_owned(), offset, len, bufs: bufs.to_vec() };
        self.calls.lock().unwrap().push(call);
    }

    fn named<T>(&self, verb: Verb, path: &Path, call: T) -> T {
        self.note(verb, path, 0, 0, &[]);
        call
    }
}

impl<B: DiskBackend> DiskBackend for Counting<B> {
    type File = Named<B::File>;

    fn kind(&self) -> BackendKind {
        self.inner.kind()
    }
    fn io_counts(&self) -> IoCounts {
        self.inner.io_counts()
    }
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        self.note(Verb::Open, path, 0, mode.preallocate.unwrap_or(0), &[]);
        Ok(Named(self.inner.open(path, mode).await?, path.into()))
    }
    fn len(&self, file: &Self::File) -> impl Future<Output = io::Result<u64>> + Send {
        self.named(Verb::Len, &file.1, self.inner.len(&file.0))
    }
    fn set_len(&self, file: &Self::File, len: u64) -> impl Future<Output = io::Result<()>> + Send {
        self.named(Verb::SetLen, &file.1, self.inner.set_len(&file.0, len))
    }
    fn read_at(
        &self,
        file: &Self::File,
        buf: BytesMut,
        len: usize,
        offset: u64,
    ) -> impl Future<Output = BufResult> + Send {
        self.note(Verb::Read, &file.1, offset, len as u64, &[]);
        self.inner.read_at(&file.0, buf, len, offset)
    }
    fn try_read_cached(
        &self,
        file: &Self::File,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        self.note(Verb::ReadCached, &file.1, offset, len as u64, &[]);
        self.inner.try_read_cached(&file.0, buf, len, offset)
    }
    fn write_at(
        &self,
        file: &Self::File,
        bufs: Vec<Bytes>,
        offset: u64,
    ) -> impl Future<Output = io::Result<()>> + Send {
        let len = bufs.iter().map(|b| b.len() as u64).sum();
        self.note(Verb::Write, &file.1, offset, len, &bufs);
        self.inner.write_at(&file.0, bufs, offset)
    }
    fn sync_data(&self, file: &Self::File) -> impl Future<Output = io::Result<()>> + Send {
        self.named(Verb::SyncData, &file.1, self.inner.sync_data(&file.0))
    }
    fn advise(&self, file: &Self::File, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(&file.0, offset, len, advice);
    }
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.named(Verb::Rename, to, self.inner.rename(from, to))
    }
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.named(Verb::Remove, path, self.inner.remove(path))
    }
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send {
        self.named(Verb::List, dir, self.inner.list(dir))
    }
    fn create_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.named(Verb::CreateDir, dir, self.inner.create_dir(dir))
    }
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.named(Verb::SyncDir, dir, self.inner.sync_dir(dir))
    }
    fn free_space(&self, dir: &Path) -> impl Future<Output = io::Result<Option<u64>>> + Send {
        self.named(Verb::FreeSpace, dir, self.inner.free_space(dir))
    }
    fn try_lock(&self, file: &Self::File) -> impl Future<Output = io::Result<bool>> + Send {
        self.named(Verb::TryLock, &file.1, self.inner.try_lock(&file.0))
    }
}
