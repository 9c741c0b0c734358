//! With `io_uring`: which of the two backends runs is decided when a cache is opened. Both know files by the same handle, so
//! that a ring that dies can hand over to the portable backend.

use crate::runtime::OwnRuntime;
use backend_tokio::{DiskFile, TokioBackend};
use backend_uring::{UringBackend, UringOptions};
use bytes::{Bytes, BytesMut};
use cache_core::{
    Advice, BackendChoice, BackendKind, BufResult, DirEntry, DiskBackend, Error, IoCounts, OpenMode, Result,
};
use std::{io, path::Path, sync::Arc};

/// What the engine runs on.
#[derive(Debug)]
pub(crate) enum Platform {
    /// By choice, or with the reason why the rings are not used.
    Tokio(TokioBackend, Option<String>),
    /// What the rings leave to the runtime's threads keeps it alive here.
    IoUring(UringBackend, #[expect(dead_code, reason = "held, not looked at")] Arc<OwnRuntime>),
}

/// Tries `io_uring` in the cache's directory where it is asked for or allowed.
///
/// # Errors
/// [`Error::BackendUnavailable`] with the step that failed; [`Error::Io`] where the directory cannot be made.
pub(crate) async fn choose(choice: BackendChoice, runtime: &Arc<OwnRuntime>, dir: &Path) -> Result<Platform> {
    let Some(handle) = runtime.handle().cloned() else { return Err(Error::Closed) };
    let tokio = TokioBackend::keeping(handle.clone(), runtime.clone());
    if choice == BackendChoice::Tokio {
        return Ok(Platform::Tokio(tokio, None));
    }
    // The probe writes, reads and syncs where the cache will.
    tokio.create_dir(dir).await.map_err(|e| Error::io("create directory", dir, e))?;
    let place = dir.to_owned();
    let rings = handle.clone();
    let opening = handle.spawn_blocking(move || UringBackend::open(rings, UringOptions::default(), &place));
    let reason = match opening.await {
        Ok(Ok(rings)) => return Ok(Platform::IoUring(rings, runtime.clone())),
        Ok(Err(error)) => error.to_string(),
        Err(died) => died.to_string(),
    };
    if choice == BackendChoice::IoUring {
        return Err(Error::BackendUnavailable { backend: BackendKind::IoUring, reason });
    }
    tracing::warn!(reason, "io_uring cannot be used here: the tokio backend takes over");
    Ok(Platform::Tokio(tokio, Some(reason)))
}

macro_rules! on {
    ($self:ident, $backend:ident => $call:expr) => {
        match $self {
            Platform::Tokio($backend, _) => $call,
            Platform::IoUring($backend, _) => $call,
        }
    };
}

impl DiskBackend for Platform {
    type File = Arc<DiskFile>;

    fn kind(&self) -> BackendKind {
        on!(self, b => b.kind())
    }
    fn fallback_reason(&self) -> Option<String> {
        match self {
            Self::Tokio(_, reason) => reason.clone(),
            Self::IoUring(rings, _) => rings.fallback_reason(),
        }
    }
    fn io_counts(&self) -> IoCounts {
        on!(self, b => b.io_counts())
    }
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        on!(self, b => b.open(path, mode).await)
    }
    async fn len(&self, file: &Self::File) -> io::Result<u64> {
        on!(self, b => b.len(file).await)
    }
    async fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()> {
        on!(self, b => b.set_len(file, len).await)
    }
    async fn read_at(&self, file: &Self::File, buf: BytesMut, len: usize, offset: u64) -> BufResult {
        on!(self, b => b.read_at(file, buf, len, offset).await)
    }
    fn try_read_cached(
        &self,
        file: &Self::File,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        on!(self, b => b.try_read_cached(file, buf, len, offset))
    }
    async fn write_at(&self, file: &Self::File, bufs: Vec<Bytes>, offset: u64) -> io::Result<()> {
        on!(self, b => b.write_at(file, bufs, offset).await)
    }
    async fn sync_data(&self, file: &Self::File) -> io::Result<()> {
        on!(self, b => b.sync_data(file).await)
    }
    fn advise(&self, file: &Self::File, offset: u64, len: u64, advice: Advice) {
        on!(self, b => b.advise(file, offset, len, advice));
    }
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, b => b.rename(from, to).await)
    }
    async fn remove(&self, path: &Path) -> io::Result<()> {
        on!(self, b => b.remove(path).await)
    }
    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        on!(self, b => b.list(dir).await)
    }
    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        on!(self, b => b.create_dir(dir).await)
    }
    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        on!(self, b => b.sync_dir(dir).await)
    }
    async fn free_space(&self, dir: &Path) -> io::Result<Option<u64>> {
        on!(self, b => b.free_space(dir).await)
    }
    async fn try_lock(&self, file: &Self::File) -> io::Result<bool> {
        on!(self, b => b.try_lock(file).await)
    }
}
