//! Reads past the page cache, for a process that wants the memory for itself.
//!
//! A file has a second handle then, which bypasses the page cache, and is read through it: the blocks around what is asked
//! for go into aligned memory of their own, and the bytes asked for are copied from there, so that a body in memory is no
//! longer than it is. Writes to the log take the first handle and the page cache, because a write buffer begins at any multiple
//! of eight bytes, where blocks would have to be read back and written twice; their pages go once they are synced.
//!
//! **Invariants**: a read gives what every write gave that had returned before it began (the kernel writes dirty pages of
//! the blocks back before it reads these; the conformance suite looks), and never asks the page cache. Without the option
//! every call is passed on as it is.

use crate::{
    format::BLOCK,
    sync::{AtomicU64, Ordering},
};
use bytes::{Bytes, BytesMut};
use cache_core::{
    Advice, BackendKind, BufResult, Config, DirEntry, DiskBackend, Error, IoCounts, OpenMode, Result,
    aligned_buf,
};
use std::{fmt, io, path::Path, sync::Arc};

/// A backend whose files are read past the page cache where that was asked for.
pub(crate) struct DirectReads<B> {
    inner: B,
    on: bool,
}

/// A file, and its second handle where there is one.
#[derive(Clone, Debug)]
pub(crate) struct DirectFile<F> {
    file: F,
    past: Option<Arc<PastCache<F>>>,
}

struct PastCache<F> {
    reads: F,
    /// Where the last byte ends that was written here.
    written: AtomicU64,
}

impl<F: fmt::Debug> fmt::Debug for PastCache<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reads.fmt(f)
    }
}

impl<B: DiskBackend> DirectReads<B> {
    /// Wraps a backend as the configuration says.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] where the directory's file system, or the platform, reads through the page cache only.
    pub(crate) async fn new(inner: B, config: &Config) -> Result<Self> {
        if config.direct_io
            && let Err(refused) = try_in(&inner, &config.dir).await
            && is_refusal(&refused)
        {
            let reason = format!(
                "{} cannot be read past the page cache ({refused}): leave the option off, or choose another file system",
                config.dir.display()
            );
            return Err(Error::InvalidConfig { field: "direct_io", reason });
        }
        Ok(Self { inner, on: config.direct_io })
    }
}

/// EINVAL is a file system without such reads.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Opens an empty file that loses its name again. Whatever else fails here fails in the open itself, which can name it.
async fn try_in<B: DiskBackend>(backend: &B, dir: &Path) -> io::Result<()> {
    backend.create_dir(dir).await?;
    let path = dir.join(format!(".direct-io-{}", std::process::id()));
    let mode = OpenMode { create: true, direct: true, ..OpenMode::READ };
    let opened = backend.open(&path, mode).await;
    match backend.remove(&path).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    opened.map(|_| ())
}

/// The blocks that `len` bytes at `offset` lie in: where they begin, how long they are, and what lies before the first byte
/// asked for. `None`: no file is that long.
fn blocks_around(offset: u64, len: usize) -> Option<(u64, usize, usize)> {
    let before = offset % BLOCK;
    let end = offset.checked_add(len as u64)?.checked_next_multiple_of(BLOCK)?;
    i64::try_from(end).ok()?;
    let from = offset - before;
    Some((from, usize::try_from(end - from).ok()?, before as usize))
}

impl<B: DiskBackend> DiskBackend for DirectReads<B> {
    type File = DirectFile<B::File>;

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
        let file = self.inner.open(path, mode).await?;
        if !self.on {
            return Ok(DirectFile { file, past: None });
        }
        match self.inner.open(path, OpenMode { direct: true, ..OpenMode::READ }).await {
            Ok(reads) => {
                let past = PastCache { reads, written: AtomicU64::new(0) };
                Ok(DirectFile { file, past: Some(Arc::new(past)) })
            }
            Err(failed) => {
                if mode.create_new {
                    self.inner.remove(path).await?;
                }
                Err(failed)
            }
        }
    }

    async fn len(&self, file: &Self::File) -> io::Result<u64> {
        self.inner.len(&file.file).await
    }

    async fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()> {
        self.inner.set_len(&file.file, len).await
    }

    async fn read_at(&self, file: &Self::File, mut buf: BytesMut, len: usize, offset: u64) -> BufResult {
        let Some(past) = &file.past else { return self.inner.read_at(&file.file, buf, len, offset).await };
        let Some((from, span, before)) = blocks_around(offset, len) else {
            return (Err(io::ErrorKind::InvalidInput.into()), buf);
        };
        let blocks = aligned_buf(span, BLOCK as usize);
        let (read, blocks) = self.inner.read_at(&past.reads, blocks, span, from).await;
        let read = read.map(|_| {
            let asked = blocks.get(before..).unwrap_or_default();
            let asked = &asked[..asked.len().min(len)];
            buf.extend_from_slice(asked);
            asked.len()
        });
        (read, buf)
    }

    fn try_read_cached(
        &self,
        file: &Self::File,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        if file.past.is_some() {
            return Ok(0);
        }
        self.inner.try_read_cached(&file.file, buf, len, offset)
    }

    async fn write_at(&self, file: &Self::File, bufs: Vec<Bytes>, offset: u64) -> io::Result<()> {
        let len: u64 = bufs.iter().map(|b| b.len() as u64).sum();
        self.inner.write_at(&file.file, bufs, offset).await?;
        if let Some(past) = &file.past {
            past.written.fetch_max(offset + len, Ordering::AcqRel);
        }
        Ok(())
    }

    async fn sync_data(&self, file: &Self::File) -> io::Result<()> {
        self.inner.sync_data(&file.file).await?;
        if let Some(past) = &file.past {
            // Whole blocks only: the next write goes on in the last one, which would have to be read back.
            let whole = past.written.load(Ordering::Acquire) / BLOCK * BLOCK;
            if whole > 0 {
                self.inner.advise(&file.file, 0, whole, Advice::DontNeed);
            }
        }
        Ok(())
    }

    fn advise(&self, file: &Self::File, offset: u64, len: u64, advice: Advice) {
        self.inner.advise(&file.file, offset, len, advice);
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir).await
    }

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir).await
    }

    async fn free_space(&self, dir: &Path) -> io::Result<Option<u64>> {
        self.inner.free_space(dir).await
    }

    async fn try_lock(&self, file: &Self::File) -> io::Result<bool> {
        self.inner.try_lock(&file.file).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_core::ByteSize;
    use cache_testkit::{MemoryBackend, conformance};

    async fn reading_past_the_cache(disk: MemoryBackend) -> DirectReads<MemoryBackend> {
        let mut config = Config::new("/cache", ByteSize::mib(8));
        config.direct_io = true;
        DirectReads::new(disk, &config).await.unwrap()
    }

    #[tokio::test]
    async fn bytes_are_right_at_every_offset_and_length_around_the_edges_of_blocks() {
        let disk = reading_past_the_cache(MemoryBackend::with_dir("/")).await;
        let bytes: Bytes = (0..3 * BLOCK + 100).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>().into();
        let file = disk.open(Path::new("/file"), OpenMode::CREATE_NEW).await.unwrap();
        disk.write_at(&file, vec![bytes.clone()], 0).await.unwrap();
        let near = |edge: u64| (edge.saturating_sub(9)..=edge + 9).collect::<Vec<_>>();
        let edges: Vec<u64> = [0, BLOCK, 2 * BLOCK, 3 * BLOCK, bytes.len() as u64].map(near).concat();
        for &offset in &edges {
            for len in edges.iter().map(|&end| end as usize) {
                let (read, buf) = disk.read_at(&file, BytesMut::from(&b"head:"[..]), len, offset).await;
                let from = (offset as usize).min(bytes.len());
                let expected = &bytes[from..(from + len).min(bytes.len())];
                assert_eq!(read.unwrap(), expected.len(), "{len} bytes at {offset}");
                assert!(buf.starts_with(b"head:") && buf[5..] == *expected, "{len} bytes at {offset}");
            }
        }
    }

    #[tokio::test]
    async fn it_passes_the_suite_of_all_backends() {
        for case in conformance::cases::<DirectReads<MemoryBackend>>() {
            println!("{}", case.name);
            let disk = MemoryBackend::with_dir("/case");
            disk.answer_cached_reads(true);
            (case.run)(Arc::new(reading_past_the_cache(disk).await), "/case".into()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_system_without_direct_reads_is_refused_by_the_options_name_and_nothing_is_left() {
        let disk = MemoryBackend::with_dir("/cache");
        disk.refuse_direct(true);
        let mut config = Config::new("/cache", ByteSize::mib(8));
        assert!(DirectReads::new(disk.clone(), &config).await.is_ok());
        config.direct_io = true;
        match DirectReads::new(disk.clone(), &config).await.map(|_| ()) {
            Err(Error::InvalidConfig { field: "direct_io", reason }) => {
                assert!(reason.contains("/cache"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert!(disk.list(Path::new("/cache")).await.unwrap().is_empty());
        assert_eq!(disk.open_handles(), 0);
    }

    #[tokio::test]
    async fn a_new_file_that_cannot_be_read_is_not_left_behind() {
        let disk = MemoryBackend::with_dir("/");
        let past = reading_past_the_cache(disk.clone()).await;
        disk.refuse_direct(true);
        past.open(Path::new("/file"), OpenMode::CREATE_NEW).await.unwrap_err();
        assert!(disk.list(Path::new("/")).await.unwrap().iter().all(|e| e.path != Path::new("/file")));
    }
}
