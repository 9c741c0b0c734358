//! The backend: every verb as one closure on a blocking thread.

#[cfg(unix)]
use crate::open_dirs::OpenDirs;
use crate::{DiskFile, fill, open, read, write};
use bytes::{Bytes, BytesMut};
#[cfg(target_os = "linux")]
use cache_core::Advice;
use cache_core::{BackendKind, BufResult, DirEntry, DiskBackend, OpenMode};
use std::{
    any::Any,
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};
use tokio::runtime::Handle;

/// Positional I/O on the blocking threads of a tokio runtime.
///
/// The runtime is one that lives as long as the cache, so not one that a request came in on. After it is shut down every
/// verb is an error.
#[derive(Clone)]
pub struct TokioBackend {
    handle: Handle,
    #[cfg(unix)]
    dirs: Arc<OpenDirs>,
    /// Keeps the runtime alive.
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for TokioBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioBackend").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl TokioBackend {
    /// Makes the backend; nothing is started until the first operation.
    pub fn new(handle: Handle) -> Self {
        Self::with_owner(handle, None)
    }

    /// [`Self::new`], keeping the owner of the runtime for as long as the backend or a clone of it lives. The owner must
    /// end the runtime without waiting when it is dropped: the last clone may go anywhere.
    pub fn keeping(handle: Handle, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self::with_owner(handle, Some(owner))
    }

    fn with_owner(handle: Handle, owner: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self {
            handle,
            #[cfg(unix)]
            dirs: Arc::default(),
            _owner: owner,
        }
    }

    /// Runs a closure on a blocking thread. What the closure owns lives until it ends, wherever its caller went.
    ///
    /// # Errors
    /// Where the closure panicked, the runtime is shut down, or no thread can be made.
    async fn blocking<T: Send + 'static>(&self, op: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        // Tokio panics where the pool has no thread and the system gives none.
        match catch_unwind(AssertUnwindSafe(|| self.handle.spawn_blocking(op))) {
            Ok(task) => task.await.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("no thread could be started for a disk operation")),
        }
    }

    /// Like [`Self::blocking`] for closures that may fail themselves.
    async fn fallible<T: Send + 'static>(
        &self,
        op: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.blocking(op).await?
    }
}

impl DiskBackend for TokioBackend {
    type File = Arc<DiskFile>;

    fn kind(&self) -> BackendKind {
        BackendKind::Tokio
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        let path = path.to_owned();
        self.fallible(move || open::open(&path, mode).map(Arc::new)).await
    }

    async fn len(&self, file: &Self::File) -> io::Result<u64> {
        let file = file.clone();
        self.fallible(move || Ok(file.as_std().metadata()?.len())).await
    }

    async fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()> {
        let file = file.clone();
        self.fallible(move || file.as_std().set_len(len)).await
    }

    async fn read_at(&self, file: &Self::File, mut buf: BytesMut, len: usize, offset: u64) -> BufResult {
        if let Err(e) = crate::check_range(offset, len) {
            return (Err(e), buf);
        }
        let file = file.clone();
        let done = self.blocking(move || {
            buf.reserve(len);
            let read = |len, at| read::append(&file, &mut buf, len, at);
            (fill::fill(len, offset, file.is_direct(), read), buf)
        });
        done.await.unwrap_or_else(|e| (Err(e), BytesMut::new()))
    }

    #[cfg(target_os = "linux")]
    fn try_read_cached(
        &self,
        file: &Self::File,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        read::append_cached(file, buf, len, offset)
    }

    async fn write_at(&self, file: &Self::File, bufs: Vec<Bytes>, offset: u64) -> io::Result<()> {
        let file = file.clone();
        self.fallible(move || write::write_all(&file, &bufs, offset)).await
    }

    async fn sync_data(&self, file: &Self::File) -> io::Result<()> {
        let file = file.clone();
        // The standard library repeats an interrupted call, and asks macOS for the full flush.
        self.fallible(move || file.as_std().sync_data()).await
    }

    /// On Linux on a thread of its own, since starting to write may wait for a place in the device's queue.
    #[cfg(target_os = "linux")]
    fn advise(&self, file: &Self::File, offset: u64, len: u64, advice: Advice) {
        if advice == Advice::Random {
            return crate::advise::advise(file, offset, len, advice);
        }
        let file = file.clone();
        let hint = AssertUnwindSafe(|| {
            self.handle.spawn_blocking(move || crate::advise::advise(&file, offset, len, advice))
        });
        // Detached: nobody waits for a hint, and one that could not be given is none.
        drop(catch_unwind(hint));
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.fallible(move || fs::rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.fallible(move || fs::remove_file(path)).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = dir.to_owned();
        self.fallible(move || list(&dir)).await
    }

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = dir.to_owned();
        self.fallible(move || create_dir(&dir)).await
    }

    #[cfg(unix)]
    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (dirs, dir) = (self.dirs.clone(), dir.to_owned());
        self.fallible(move || dirs.sync(&dir)).await
    }

    #[cfg(not(unix))]
    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = dir.to_owned();
        self.fallible(move || sync_dir(&dir)).await
    }

    async fn free_space(&self, dir: &Path) -> io::Result<Option<u64>> {
        let dir = dir.to_owned();
        self.fallible(move || free_space(&dir)).await
    }

    async fn try_lock(&self, file: &Self::File) -> io::Result<bool> {
        let file = file.clone();
        self.fallible(move || file.try_lock()).await
    }
}

fn list(dir: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => entries.push(DirEntry { path: entry.path(), len: metadata.len() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(entries)
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// The platform has no such call; its journal keeps names in the order in which they were made.
#[cfg(not(unix))]
fn sync_dir(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

#[cfg(unix)]
fn free_space(dir: &Path) -> io::Result<Option<u64>> {
    let stat = rustix::io::retry_on_intr(|| rustix::fs::statvfs(dir))?;
    Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

#[cfg(not(unix))]
fn free_space(_dir: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_on_the_blocking_thread_is_an_error() {
        let backend = TokioBackend::new(Handle::current());
        let failed = backend.blocking::<()>(|| panic!("planted")).await.expect_err("it panicked");
        assert_eq!(failed.kind(), io::ErrorKind::Other);
        assert!(failed.to_string().contains("planted"), "{failed}");
        assert_eq!(backend.blocking(|| 7).await.expect("goes on"), 7);
    }

    #[test]
    fn a_runtime_that_is_gone_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let backend = TokioBackend::new(runtime.handle().clone());
        drop(runtime);
        let other = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let file = Arc::new(DiskFile::new(fs::File::open(".").expect("opened"), false));
        other.block_on(async {
            backend.sync_data(&file).await.expect_err("no runtime");
            let (result, buf) = backend.read_at(&file, BytesMut::from(&b"kept?"[..]), 10, 0).await;
            result.expect_err("no runtime");
            assert!(buf.is_empty());
        });
    }
}
