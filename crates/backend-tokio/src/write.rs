//! Writes several buffers at a position, all of them.

use crate::DiskFile;
use bytes::Bytes;
use std::io::{self, IoSlice};

/// As many buffers as one system call takes (`IOV_MAX` of Linux).
const MAX_SLICES: usize = 1024;

/// Writes the buffers one after another from `offset` on.
///
/// # Errors
/// `InvalidInput` where they would end past what a file can have; those of the device; `WriteZero` where it takes nothing.
pub(crate) fn write_all(file: &DiskFile, bufs: &[Bytes], offset: u64) -> io::Result<()> {
    let len = bufs.iter().try_fold(0usize, |sum, b| sum.checked_add(b.len()));
    crate::check_range(offset, len.unwrap_or(usize::MAX))?;
    write_all_with(bufs, offset, |slices, at| write_once(file, slices, at))
}

/// Calls `write_once(slices, offset)` until everything is written; interrupted calls are repeated.
fn write_all_with(
    bufs: &[Bytes],
    mut offset: u64,
    mut write_once: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    // Without the empty ones, a count of 0 can only mean that nothing more goes.
    let mut slices: Vec<_> = bufs.iter().filter(|b| !b.is_empty()).map(|b| IoSlice::new(b)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match write_once(&rest[..rest.len().min(MAX_SLICES)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn write_once(file: &DiskFile, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, slices, offset)?)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn write_once(file: &DiskFile, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file.as_std(), slices.first().map_or(&[][..], |s| &**s), offset)
}

#[cfg(windows)]
fn write_once(file: &DiskFile, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file.as_std(), slices.first().map_or(&[][..], |s| &**s), offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in memory that takes what the script says and records the sizes of the calls.
    fn run(bufs: &[Bytes], script: Vec<io::Result<usize>>) -> (io::Result<()>, Vec<u8>, Vec<usize>) {
        let (mut written, mut calls) = (Vec::new(), Vec::new());
        let mut script = script.into_iter();
        let done = write_all_with(bufs, 7, |slices, at| {
            calls.push(slices.len());
            assert_eq!(at, 7 + written.len() as u64);
            let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
            let n = script.next().unwrap_or(Ok(all.len()))?;
            written.extend_from_slice(&all[..n]);
            Ok(n)
        });
        (done, written, calls)
    }

    fn bufs() -> [Bytes; 4] {
        [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two"), Bytes::from_static(b"three")]
    }

    #[test]
    fn a_short_write_is_continued_within_a_buffer() {
        let (done, written, calls) = run(&bufs(), vec![Ok(4), Ok(1), Ok(1)]);
        done.expect("written");
        assert_eq!(written, b"onetwothree");
        assert_eq!(calls, [3, 2, 2, 1]);
    }

    #[test]
    fn an_interrupted_write_is_repeated() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let (done, written, calls) = run(&bufs(), vec![interrupted(), Ok(3), interrupted()]);
        done.expect("written");
        assert_eq!((&written[..], calls.len()), (&b"onetwothree"[..], 4));
    }

    #[test]
    fn a_write_that_takes_nothing_is_an_error_and_no_loop() {
        let (done, written, _) = run(&bufs(), vec![Ok(3), Ok(0)]);
        assert_eq!(done.expect_err("nothing goes").kind(), io::ErrorKind::WriteZero);
        assert_eq!(written, b"one");
    }

    #[test]
    fn no_call_takes_more_than_1024_buffers() {
        let many = vec![Bytes::from_static(b"x"); 2500];
        let (done, written, calls) = run(&many, vec![]);
        done.expect("written");
        assert_eq!((written.len(), &calls[..]), (2500, &[1024, 1024, 452][..]));
    }

    #[test]
    fn only_empty_buffers_are_no_call() {
        let (done, _, calls) = run(&[Bytes::new(), Bytes::new()], vec![]);
        done.expect("nothing to do");
        assert!(calls.is_empty());
    }

    #[test]
    fn an_error_ends_the_write() {
        let (done, written, _) = run(&bufs(), vec![Ok(5), Err(io::ErrorKind::StorageFull.into())]);
        assert_eq!(done.expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert_eq!(written, b"onetw");
    }
}
