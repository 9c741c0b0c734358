//! An open file and the few things about it that the system calls do not tell for free.

#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::{
    fs::{File, TryLockError},
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// An open file.
///
/// Whether page-cache reads work is remembered here, per open file: it is the file system's property, so one backend may
/// serve a cache on ext4 and another on tmpfs, and what one file taught says nothing about the next. Remembering it per
/// device would cost an `fstat` a read, which is no cheaper than the call it saves; per backend it would be wrong for ever
/// after the first file on a file system without it. An open file learns it once, at the price of one failed call.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    direct: bool,
    locked: AtomicBool,
    #[cfg(target_os = "linux")]
    nowait: AtomicBool,
}

impl DiskFile {
    /// Wraps a file; `direct` says that it was opened to bypass the page cache.
    pub fn new(file: File, direct: bool) -> Self {
        Self {
            file,
            direct,
            locked: AtomicBool::new(false),
            // A read that must not wait would wait for the device on a file that bypasses the page cache.
            #[cfg(target_os = "linux")]
            nowait: AtomicBool::new(!direct),
        }
    }

    /// The file as the standard library knows it.
    pub fn as_std(&self) -> &File {
        &self.file
    }

    /// Whether it bypasses the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Locks the file for this handle until it is dropped; `false`: another one has it.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => self.locked.store(true, Ordering::Release),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        Ok(true)
    }

    /// Whether a read that does not wait is worth trying.
    #[cfg(target_os = "linux")]
    pub(crate) fn reads_nowait(&self) -> bool {
        self.nowait.load(Ordering::Relaxed)
    }

    /// Remembers that this file system does not read without waiting.
    #[cfg(target_os = "linux")]
    pub(crate) fn forget_nowait(&self) {
        self.nowait.store(false, Ordering::Relaxed);
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        // A child that was forked a moment ago and has not come to its `exec` holds the file too, and closing it here would
        // leave the lock to that child. Where this fails the closing still gives it back.
        if self.locked.load(Ordering::Acquire) {
            drop(self.file.unlock());
        }
    }
}

#[cfg(target_os = "linux")]
impl AsFd for DiskFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(target_os = "linux")]
impl AsRawFd for DiskFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Checks that a range lies within what a file can have. The kernel takes an offset of -1 for "where the file's cursor
/// is", so what does not fit a signed number must not reach it.
///
/// # Errors
/// `InvalidInput` where `offset + len` is more than `i64::MAX`.
pub fn check_range(offset: u64, len: usize) -> io::Result<()> {
    match offset.checked_add(len as u64) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the range ends past what a file can have")),
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskFile, check_range};
    use std::fs::File;

    /// A process that started another one, and opened its cache again at once, was told that the cache is in use.
    #[test]
    fn a_dropped_lock_does_not_stay_with_a_copy_of_the_descriptor() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let open = || DiskFile::new(File::options().write(true).open(file.path()).expect("open"), false);
        let first = open();
        assert!(first.try_lock().expect("lock"));
        let copy = first.as_std().try_clone().expect("a copy, as a forked child has one");
        assert!(!open().try_lock().expect("no error"));
        drop(first);
        assert!(open().try_lock().expect("no error"));
        drop(copy);
    }

    #[test]
    fn a_range_ends_within_the_signed_numbers() {
        assert!(check_range(0, 0).is_ok());
        assert!(check_range(i64::MAX as u64 - 4096, 4096).is_ok());
        for (offset, len) in [(i64::MAX as u64, 1), (u64::MAX, 0), (u64::MAX, 4096), (1 << 63, 0)] {
            let refused = check_range(offset, len).expect_err("past the end");
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        }
    }
}
