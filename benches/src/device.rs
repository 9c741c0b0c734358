//! The device itself: reads and writes past the page cache, on plain threads.

use crate::{
    Result,
    client::{Pace, drive_threads},
    measure::{Done, Measure},
    records::Records,
    rng::Rng,
};
use disk_cache::aligned_buf;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

const BLOCK: usize = 4096;
const PIECE: u64 = 1 << 20;
/// Sequential writes in flight.
const WRITERS: usize = 4;
/// The file that is written from its start to its end again and again.
const LENGTH: u64 = 2 << 30;

/// Opens a file to read past the page cache.
///
/// # Errors
/// `InvalidInput` where the file system has no such reads.
pub fn open_direct(path: &Path) -> Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits())?;
    Ok(OpenOptions::new().read(true).custom_flags(flags).open(path)?)
}

/// Reads 4 KiB blocks at random places of the records' files, on so many threads: the device's random read rate.
///
/// # Errors
/// Those of the device.
pub fn random_reads(records: &Records, threads: usize, pace: Pace) -> Result<Measure> {
    let files = records.paths().iter().map(|p| open_direct(p)).collect::<Result<Vec<_>>>()?;
    let files = &files;
    drive_threads(threads, pace, |thread| {
        let mut rng = Rng::new(1000 + thread as u64);
        let mut buf = aligned_buf(BLOCK, BLOCK);
        buf.resize(BLOCK, 0);
        move || {
            let (file, offset) = records.block(rng.below(records.count()));
            let read = files[file].read_at(&mut buf, offset)?;
            Ok(Some(Done { hit: read > 0, bytes: read as u64 }))
        }
    })
}

/// Writes pieces of 1 MiB one after another into a preallocated file: the device's sequential write rate.
///
/// # Errors
/// Those of the device, a full one among them.
pub fn sequential_writes(dir: &Path, pace: Pace) -> Result<Measure> {
    let path = dir.join("sequential");
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits())?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(&path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, LENGTH)?;
    let next = AtomicU64::new(0);
    let (file, next) = (&file, &next);
    let measure = drive_threads(WRITERS, pace, |thread| {
        let mut rng = Rng::new(thread as u64);
        let mut buf = aligned_buf(PIECE as usize, BLOCK);
        while buf.len() < PIECE as usize {
            buf.extend_from_slice(&rng.next_u64().to_le_bytes());
        }
        move || {
            let offset = next.fetch_add(PIECE, Ordering::Relaxed) % LENGTH;
            file.write_all_at(&buf, offset)?;
            Ok(Some(Done { hit: true, bytes: PIECE }))
        }
    })?;
    file.sync_data()?;
    std::fs::remove_file(&path)?;
    Ok(measure)
}
