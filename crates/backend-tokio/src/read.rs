//! Reads into spare capacity that nobody initialised. The one place of unsafe code in this crate.
//!
//! rustix's `pread` takes `MaybeUninit` but has no flags; its `preadv2` takes initialised memory only, so the read that must
//! not wait is a system call of our own. Source: preadv2(2).

use crate::DiskFile;
use bytes::BytesMut;
use std::io;

/// Appends up to `len` bytes at `offset`, no more than there is spare capacity for, with one system call.
///
/// # Errors
/// That of the call, an interruption among them.
#[cfg(unix)]
pub(crate) fn append(file: &DiskFile, buf: &mut BytesMut, len: usize, offset: u64) -> io::Result<usize> {
    let have = buf.len();
    let spare = buf.spare_capacity_mut();
    let len = len.min(spare.len());
    let (filled, _) = rustix::io::pread(file.as_std(), &mut spare[..len], offset)?;
    let n = filled.len();
    // SAFETY: `filled` is the initialised front of the spare capacity, which starts right behind the `have` bytes.
    unsafe { buf.set_len(have + n) };
    Ok(n)
}

/// Appends up to `len` bytes at `offset`, into memory that is zeroed first: no call here takes any other.
///
/// # Errors
/// That of the call, an interruption among them.
#[cfg(windows)]
pub(crate) fn append(file: &DiskFile, buf: &mut BytesMut, len: usize, offset: u64) -> io::Result<usize> {
    use std::os::windows::fs::FileExt;
    let have = buf.len();
    buf.resize(have + len, 0);
    let result = file.as_std().seek_read(&mut buf[have..], offset);
    buf.truncate(have + result.as_ref().copied().unwrap_or(0));
    match result {
        // ERROR_HANDLE_EOF
        Err(e) if e.raw_os_error() == Some(38) => Ok(0),
        other => other,
    }
}

/// Appends what of `len` bytes at `offset` is in the page cache; `Ok(0)` where the file system cannot tell.
///
/// # Errors
/// Those of the file system, but never "would wait" or "not supported".
#[cfg(target_os = "linux")]
pub(crate) fn append_cached(
    file: &DiskFile,
    buf: &mut BytesMut,
    len: usize,
    offset: u64,
) -> io::Result<usize> {
    crate::check_range(offset, len)?;
    if len == 0 || !file.reads_nowait() {
        return Ok(0);
    }
    buf.reserve(len);
    loop {
        match nowait(file, buf, len, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(e) if means_unsupported(&e) => {
                file.forget_nowait();
                return Ok(0);
            }
            other => return other,
        }
    }
}

/// Whether a file or a kernel (or its system call filter, hence EPERM) has no reads that do not wait.
#[cfg(target_os = "linux")]
fn means_unsupported(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM))
}

#[cfg(target_os = "linux")]
fn nowait(file: &DiskFile, buf: &mut BytesMut, len: usize, offset: u64) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    // Straight to the kernel: libc's wrapper is a point of thread cancellation, which costs every warm get two atomic swaps.
    // The offset goes as two halves, the upper of which a kernel of 64 bits does not look at.
    let (low, high) = (offset as usize, (offset >> 32) as usize);
    let have = buf.len();
    let spare = buf.spare_capacity_mut();
    let part = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: len.min(spare.len()) };
    // SAFETY: `part` spans spare capacity that is borrowed exclusively for the call, and the kernel writes within it.
    let n = unsafe {
        libc::syscall(libc::SYS_preadv2, file.as_raw_fd(), &raw const part, 1, low, high, libc::RWF_NOWAIT)
    };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel initialised the `n` bytes right behind the `have` that were, and `n` is within the capacity.
    unsafe { buf.set_len(have + n) };
    Ok(n)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::fd::{FromRawFd, OwnedFd};

    #[test]
    fn a_file_that_cannot_read_without_waiting_says_so_once() {
        // A pipe's end has no positions: preadv2 gives ESPIPE, which is an error of this file and not of the flag.
        let mut fds = [0; 2];
        // SAFETY: the array has room for both descriptors.
        assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        // SAFETY: both are open and owned by nobody else.
        let (reader, _writer) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
        let pipe = DiskFile::new(reader.into(), false);
        let refused = append_cached(&pipe, &mut BytesMut::new(), 10, 0).expect_err("no positions");
        assert_eq!(refused.raw_os_error(), Some(libc::ESPIPE));
        assert!(pipe.reads_nowait());

        // Files of procfs have positions and no such reads.
        let proc = DiskFile::new(std::fs::File::open("/proc/self/status").expect("procfs"), false);
        assert_eq!(append_cached(&proc, &mut BytesMut::new(), 10, 0).expect("not an error"), 0);
        assert!(!proc.reads_nowait());
        let other = DiskFile::new(std::fs::File::open("/proc/self/status").expect("procfs"), false);
        assert!(other.reads_nowait(), "what one file taught says nothing about the next");
    }

    #[test]
    fn errors_that_mean_no_support_are_told_from_the_others() {
        for errno in [libc::EOPNOTSUPP, libc::ENOSYS, libc::EPERM] {
            assert!(means_unsupported(&io::Error::from_raw_os_error(errno)));
        }
        for errno in [libc::EIO, libc::EAGAIN, libc::EBADF, libc::EINTR] {
            assert!(!means_unsupported(&io::Error::from_raw_os_error(errno)));
        }
    }

    #[test]
    fn a_read_takes_no_more_than_the_spare_capacity() {
        let file = DiskFile::new(std::fs::File::open("/proc/self/status").expect("procfs"), false);
        let mut buf = BytesMut::with_capacity(8);
        let room = buf.capacity();
        assert_eq!(append(&file, &mut buf, 4096, 0).expect("read"), room);
        assert_eq!((buf.len(), &buf[..5]), (room, &b"Name:"[..]));
    }
}
