//! The file verbs that an engine needs, by handle.
//!
//! **Invariants** that every backend keeps and the conformance suite checks:
//! - Buffers and handles belong to the operation until it completes. Dropping a future detaches the operation, it never
//!   frees memory under it and never undoes it.
//! - `read_at` is short only at the end of the file; `write_at` is all or an error, and after an error any part of it may
//!   have been written.
//! - Errors are plain [`io::Error`]; the engine adds operation and path, it knows both.
//! - Interrupted calls are retried inside; nothing else is.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
};

/// What an operation that fills a buffer gives back: the count of bytes appended, and the buffer whatever happens (an
/// empty new one where the worker that held it died).
pub type BufResult = (io::Result<usize>, BytesMut);

/// Which implementation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackendKind {
    /// Positional I/O on a pool of blocking threads.
    Tokio,
    /// Rings on threads of their own.
    IoUring,
    /// Files in memory, for tests.
    Memory,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::IoUring => "io-uring",
            Self::Memory => "memory",
        })
    }
}

/// How to open a file. The default reads an existing one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// Make the file; `AlreadyExists` where it is there. Implies `write`.
    pub create_new: bool,
    /// Make the file where it is missing. Implies `write`.
    pub create: bool,
    /// Allow writes.
    pub write: bool,
    /// Reserve this many bytes at once and make the file that long, so that a full disk shows here and not in the middle
    /// of a flush. A file made by a call that then fails here is removed again.
    pub preallocate: Option<u64>,
    /// Bypass the page cache: offset, length and buffer address are multiples of 4096 then ([`aligned_buf`]). What was written
    /// through another handle before is read all the same.
    pub direct: bool,
}

impl OpenMode {
    /// Read an existing file.
    pub const READ: Self =
        Self { create_new: false, create: false, write: false, preallocate: None, direct: false };
    /// Read and write an existing file.
    pub const WRITE: Self = Self { write: true, ..Self::READ };
    /// Make a new file to read and write.
    pub const CREATE_NEW: Self = Self { create_new: true, write: true, ..Self::READ };
}

/// One file of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The directory's path joined with the name.
    pub path: PathBuf,
    /// Length in bytes; what the file system says of a directory is passed on as it is.
    pub len: u64,
}

/// Hints. Doing nothing is a correct implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// No read-ahead: the file is read here and there.
    Random,
    /// The range will not be read again soon: its clean pages may go.
    DontNeed,
    /// Start writing the dirty pages of the range to the device, wait for nothing.
    StartWriteback,
}

/// What a backend counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoCounts {
    /// Rings in use; 0 where there are none or the backend has moved to its fallback.
    pub rings: u64,
    /// Reads that a ring completed.
    pub ring_reads: u64,
    /// Writes that a ring completed.
    pub ring_writes: u64,
    /// Data syncs that a ring completed.
    pub ring_syncs: u64,
}

/// File verbs on handles; see the module text for what every implementation promises.
///
/// # Cancellation
/// Every future may be dropped at any await. The operation then goes on by itself with all that it owns and its result is
/// lost; whether it happened is unknown, so a caller that must know does not drop it.
pub trait DiskBackend: Send + Sync + 'static {
    /// A cheap clone; the last one closes the file. An open handle reads on after `remove`.
    type File: Clone + Send + Sync + fmt::Debug + 'static;

    /// Which implementation answers right now.
    fn kind(&self) -> BackendKind;

    /// Why the wished-for backend is not the one that answers, if so.
    fn fallback_reason(&self) -> Option<String> {
        None
    }

    /// Counts since the backend was made.
    fn io_counts(&self) -> IoCounts {
        IoCounts::default()
    }

    /// Opens a file.
    ///
    /// # Errors
    /// Those of the file system; `StorageFull` where `preallocate` finds no room; `InvalidInput` or `Unsupported` where
    /// the file system or the platform has no `direct`.
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = io::Result<Self::File>> + Send;

    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the file system.
    fn len(&self, file: &Self::File) -> impl Future<Output = io::Result<u64>> + Send;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// Those of the file system.
    fn set_len(&self, file: &Self::File, len: u64) -> impl Future<Output = io::Result<()>> + Send;

    /// Appends up to `len` bytes at `offset` to `buf`, whose existing bytes stay. Spare capacity is made where it is
    /// missing and need not be initialised. Fewer than `len` only at the end of the file.
    ///
    /// # Errors
    /// Those of the device. Bytes appended before the error are undefined: use the buffer's old length.
    fn read_at(
        &self,
        file: &Self::File,
        buf: BytesMut,
        len: usize,
        offset: u64,
    ) -> impl Future<Output = BufResult> + Send;

    /// Appends what of `len` bytes at `offset` is in the page cache right now; never blocks on a device. `Ok(n)` with
    /// `n < len`: ask `read_at` for the rest. The default knows no page cache.
    ///
    /// # Errors
    /// Those of the file system, but never "not cached" or "not supported", which are `Ok(0)`.
    fn try_read_cached(
        &self,
        _file: &Self::File,
        _buf: &mut BytesMut,
        _len: usize,
        _offset: u64,
    ) -> io::Result<usize> {
        Ok(0)
    }

    /// Writes the buffers one after another from `offset` on, all of them.
    ///
    /// # Errors
    /// Those of the device; any part may have been written then.
    fn write_at(
        &self,
        file: &Self::File,
        bufs: Vec<Bytes>,
        offset: u64,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// All that was written before this call is on stable storage when it returns, with the length it needs to be read.
    ///
    /// # Errors
    /// Those of the device. What was unsynced is lost then as far as anyone may assume: calling again proves nothing.
    fn sync_data(&self, file: &Self::File) -> impl Future<Output = io::Result<()>> + Send;

    /// A hint about `len` bytes from `offset` on; up to the file's end where `len` is 0.
    fn advise(&self, _file: &Self::File, _offset: u64, _len: u64, _advice: Advice) {}

    /// Renames a file over whatever has the new name.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Removes a file's name.
    ///
    /// # Errors
    /// Those of the file system, `NotFound` among them.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// The entries of a directory, in no order.
    ///
    /// # Errors
    /// Those of the file system. A name that vanishes while it is looked at is left out.
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send;

    /// Makes a directory and its missing parents, for the owner alone (mode 0700 on Unix); `Ok` where it is there.
    ///
    /// # Errors
    /// Those of the file system; `NotADirectory` or `AlreadyExists` where a file has the name.
    fn create_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// The names in a directory, as they are now, are on stable storage when it returns.
    ///
    /// # Errors
    /// Those of the device. Each counts as a failure of it, so a directory that was synced once must not fail later for want of
    /// a descriptor.
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Bytes that an ordinary user may still write on the file system of `dir`; `None` where the platform does not tell.
    ///
    /// # Errors
    /// Those of the file system.
    fn free_space(&self, dir: &Path) -> impl Future<Output = io::Result<Option<u64>>> + Send;

    /// Takes the file's exclusive advisory lock if nobody has it. Held until the handle's last clone is dropped.
    ///
    /// # Errors
    /// Those of the file system; a lock that another holder has is `Ok(false)`.
    fn try_lock(&self, file: &Self::File) -> impl Future<Output = io::Result<bool>> + Send;
}

/// An empty buffer whose first byte will lie on a multiple of `align`, with at least `len` bytes of spare capacity.
///
/// # Panics
/// If `align` is not a power of two.
pub fn aligned_buf(len: usize, align: usize) -> BytesMut {
    use bytes::Buf;
    assert!(align.is_power_of_two(), "the alignment is a power of two");
    let mut buf = BytesMut::with_capacity(len + align - 1);
    let pad = buf.as_ptr().align_offset(align);
    buf.put_bytes(0, pad);
    buf.advance(pad);
    buf
}

#[cfg(test)]
mod tests {
    use super::aligned_buf;

    #[test]
    fn an_aligned_buffer_starts_on_its_boundary_with_the_room_asked_for() {
        for align in [1, 8, 512, 4096] {
            let buf = aligned_buf(10_000, align);
            assert_eq!(buf.as_ptr() as usize % align, 0);
            assert!(buf.is_empty() && buf.capacity() >= 10_000);
        }
    }
}
