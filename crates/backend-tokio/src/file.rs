//! An open file and the two things about it that the system calls do not tell for free.

use std::{fs::File, io};
#[cfg(target_os = "linux")]
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
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
    #[cfg(target_os = "linux")]
    nowait: AtomicBool,
}

impl DiskFile {
    /// Wraps a file; `direct` says that it was opened to bypass the page cache.
    pub fn new(file: File, direct: bool) -> Self {
        Self {
            file,
            direct,
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
    use super::check_range;

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
