//! How one read becomes all that was asked for.

use std::io;

/// Sectors of every disk are multiples of this; a direct read whose count is none can only have met the end of the file.
const SECTOR: u64 = 512;

/// Calls `read_once(len, offset)` until `len` bytes are there or the file ends; interrupted calls are repeated.
///
/// # Errors
/// The first error of `read_once` that is not an interruption.
pub(crate) fn fill(
    len: usize,
    offset: u64,
    direct: bool,
    mut read_once: impl FnMut(usize, u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        // Asking again from the middle of a sector would be refused on a file that bypasses the page cache.
        if direct && !at.is_multiple_of(SECTOR) && done > 0 {
            break;
        }
        match read_once(len - done, at) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers from a script and records what was asked.
    fn run(
        len: usize,
        direct: bool,
        script: Vec<io::Result<usize>>,
    ) -> (io::Result<usize>, Vec<(usize, u64)>) {
        let mut answers = script.into_iter();
        let mut asked = Vec::new();
        let done = fill(len, 1000 * 512, direct, |len, at| {
            asked.push((len, at - 1000 * 512));
            answers.next().expect("the script is long enough")
        });
        assert_eq!(answers.len(), 0, "the whole script ran");
        (done, asked)
    }

    #[test]
    fn a_short_read_is_continued_where_it_stopped() {
        let (done, asked) = run(100, false, vec![Ok(30), Ok(70)]);
        assert_eq!(done.expect("read"), 100);
        assert_eq!(asked, [(100, 0), (70, 30)]);
    }

    #[test]
    fn an_interrupted_read_is_repeated_and_loses_nothing() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let (done, asked) =
            run(100, false, vec![interrupted(), Ok(40), interrupted(), interrupted(), Ok(60)]);
        assert_eq!(done.expect("read"), 100);
        assert_eq!(asked, [(100, 0), (100, 0), (60, 40), (60, 40), (60, 40)]);
    }

    #[test]
    fn the_end_of_the_file_ends_the_read() {
        let (done, _) = run(100, false, vec![Ok(30), Ok(0)]);
        assert_eq!(done.expect("read"), 30);
    }

    #[test]
    fn an_error_after_some_bytes_is_an_error() {
        let (done, _) = run(100, false, vec![Ok(30), Err(io::ErrorKind::TimedOut.into())]);
        assert_eq!(done.expect_err("failed").kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_direct_read_that_stops_within_a_sector_is_not_asked_again() {
        let (done, asked) = run(4096, true, vec![Ok(1024), Ok(100)]);
        assert_eq!(done.expect("read"), 1124);
        assert_eq!(asked, [(4096, 0), (3072, 1024)]);
    }

    #[test]
    fn nothing_asked_for_is_no_call() {
        let (done, asked) = run(0, false, vec![]);
        assert_eq!((done.expect("read"), asked.len()), (0, 0));
    }
}
