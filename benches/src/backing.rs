//! Memory that the machine really has.
//!
//! The host of a virtual machine may take back what its guest leaves free, and gives it again when it is touched, which costs
//! many times what the work measured does: a stretch that follows upon an idle second would measure the host. So memory is
//! touched and freed just before, as on a machine that has been busy for a while.

use std::hint::black_box;

/// Bytes: what a stretch of a second takes of the page cache, twice.
const TOUCHED: usize = 4 << 30;
/// Left alone.
const LEAST_FREE: usize = 1 << 30;
const PAGE: usize = 4096;

/// Touches so much of the memory that is free, up to 4 GiB of it.
pub(crate) fn touch_free_memory() {
    let bytes = free().saturating_sub(LEAST_FREE).min(TOUCHED);
    let mut memory = vec![0_u8; bytes];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    black_box(&memory);
}

/// Memory that holds nothing, in bytes.
fn free() -> usize {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_free_memory_is_read() {
        assert!(super::free() > 1 << 20);
    }
}
