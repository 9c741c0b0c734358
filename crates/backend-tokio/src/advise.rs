//! Hints to the page cache. A hint that fails is no error: doing nothing is a correct answer.
//!
//! Source: `posix_fadvise(2)`, `sync_file_range(2)`. The latter gives no durability whatsoever and is not asked for any: it
//! only starts what the next sync would have to wait for.

use crate::DiskFile;
use cache_core::Advice;
use std::num::NonZeroU64;

/// Gives the hint.
pub(crate) fn advise(file: &DiskFile, offset: u64, len: u64, advice: Advice) {
    let advice = match advice {
        Advice::Random => rustix::fs::Advice::Random,
        Advice::DontNeed => rustix::fs::Advice::DontNeed,
        Advice::StartWriteback => return start_writeback(file, offset, len),
        _ => return,
    };
    rustix::fs::fadvise(file, offset, NonZeroU64::new(len), advice).ok();
}

/// Starts to write the dirty pages of the range. May wait for a place in the device's queue, so it is called on a blocking
/// thread.
fn start_writeback(file: &DiskFile, offset: u64, len: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call touches no memory.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}
