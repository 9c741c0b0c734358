//! The device itself: reads and writes past the page cache, on plain threads.

use crate::{
    Result,
    client::{Pace, drive_threads},
    measure::{Done, Measure},
    records::Records,
    rng::Rng,
};
use bytes::BytesMut;
use cache_core::aligned_buf;
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

/// Writes files of `len` bytes past the page cache, new ones all the time and on so many threads, as fast as the device and
/// the file system make them: pieces of 1 MiB into room that was reserved.
///
/// # Errors
/// Those of the device, a full one among them.
pub fn new_files(dir: &Path, len: u64, threads: usize, pace: Pace) -> Result<Measure> {
    let place = dir.join("new-files");
    std::fs::create_dir(&place)?;
    let measure = drive_threads(threads, pace, |thread| {
        let buf = noise(thread as u64);
        // The body before last goes, as an older one of the same key does.
        let names = [0, 1].map(|n| place.join(format!("{thread}-{n}")));
        let mut turn = 0;
        move || {
            let path = &names[turn % names.len()];
            if turn >= names.len() {
                std::fs::remove_file(path)?;
            }
            turn += 1;
            let file = create_direct(path, len)?;
            for offset in (0..len).step_by(PIECE as usize) {
                file.write_all_at(&buf, offset)?;
            }
            Ok(Some(Done { hit: true, bytes: len }))
        }
    })?;
    std::fs::remove_dir_all(&place)?;
    Ok(measure)
}

/// Makes a file with room for `len` bytes, to be written past the page cache.
fn create_direct(path: &Path, len: u64) -> Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits())?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len)?;
    Ok(file)
}

/// A piece of bytes that no device can shorten.
fn noise(seed: u64) -> BytesMut {
    let mut rng = Rng::new(seed);
    let mut buf = aligned_buf(PIECE as usize, BLOCK);
    while buf.len() < PIECE as usize {
        buf.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    buf
}

/// Writes pieces of 1 MiB one after another into a preallocated file: the device's sequential write rate.
///
/// # Errors
/// Those of the device, a full one among them.
pub fn sequential_writes(dir: &Path, pace: Pace) -> Result<Measure> {
    let path = dir.join("sequential");
    let file = create_direct(&path, LENGTH)?;
    let next = AtomicU64::new(0);
    let (file, next) = (&file, &next);
    let measure = drive_threads(WRITERS, pace, |thread| {
        let buf = noise(thread as u64);
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
