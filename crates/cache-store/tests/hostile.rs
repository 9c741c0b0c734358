//! Structures forged with the cache's own secret: every checksum fits, and what is behind it makes no sense.
//!
//! Whoever can write the directory can make these. No right byte is promised then, only that an open ends, with a cache or a
//! typed error, that nothing panics or waits for ever, and that no allocation is as long as a forged field says.
//!
//! `DISK_CACHE_FORGERIES` sets how many directories are looked at, `DISK_CACHE_SEED` which.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use bytes::{Bytes, BytesMut};
use cache_core::{Cache, DiskBackend, Durability, Error, InsertOptions, OpenMode, PurgeScope, SystemClock};
use cache_store::Engine;
use cache_testkit::{MemoryBackend, Rng, on_all_cores, tried};
use siphasher::sip::SipHasher13;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    hash::Hasher,
    path::{Path, PathBuf},
    sync::Arc,
};
use store_testkit::{DIR, body, disk, from_env, in_time, key, paused, peek_stale, tiny};
use tokio::runtime::Handle;

thread_local! {
    /// This thread's largest allocation since it was last set to nothing. A case stays on its thread.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The scan's window is 4 MiB, the longest record less than 1 MiB; all files of the fixture together are far below.
const ENOUGH: usize = 16 << 20;

struct Watched;

// SAFETY: hands every call on to the system's allocator as it is.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

type Files = BTreeMap<PathBuf, Bytes>;

async fn open(disk: &MemoryBackend) -> Result<Engine<MemoryBackend>, Error> {
    Engine::open(tiny(32), Arc::new(SystemClock), disk.clone(), Handle::current()).await
}

/// A directory with records of every kind.
fn fixture(close: bool) -> Files {
    let disk = disk();
    paused().block_on(async {
        let engine = open(&disk).await.unwrap();
        for round in 1..=5 {
            for n in 0..6 {
                let options = InsertOptions::new().meta("meta").tag("tag").durability(Durability::Synced);
                let len = if n == 0 { 900 } else { 200 };
                engine.insert_with(&key(n), body(n, round, len), options).await.unwrap();
            }
            engine.remove(&key(1)).await.unwrap();
            engine.expire(&key(2)).await.unwrap();
            let prefix = PurgeScope::Prefix { namespace: "ns".into(), prefix: "path-3".into() };
            engine.purge(prefix).await.unwrap();
        }
        if close {
            engine.close().await.unwrap();
        }
        let mut all = Files::new();
        for dir in [DIR, "/cache/segments", "/cache/objects"] {
            for found in disk.list(Path::new(dir)).await.unwrap() {
                let Ok(file) = disk.open(&found.path, OpenMode::READ).await else { continue };
                let (read, bytes) = disk.read_at(&file, BytesMut::new(), found.len as usize, 0).await;
                read.unwrap();
                all.insert(found.path, bytes.freeze());
            }
        }
        all.remove(&Path::new(DIR).join("LOCK"));
        all
    })
}

/// Signs as the cache does: its secret, the kind of structure, the bytes.
fn sign(secret: &[u8; 16], domain: u8, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write_u8(domain);
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

/// Overwrites a few bytes with what is likely to be on an edge.
fn forge(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let width = [1usize, 2, 4, 8][rng.below(4) as usize].min(bytes.len());
        let at = rng.below((bytes.len() - width + 1) as u64) as usize;
        let number = match rng.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << rng.below(64),
            3 => u64::MAX >> rng.below(64),
            4 => rng.below(5000),
            _ => rng.next_u64(),
        };
        bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    }
}

/// Forges one structure of a file; whether it has any.
fn forge_file(path: &Path, bytes: &mut [u8], secret: &[u8; 16], rng: &mut Rng) -> bool {
    let len = bytes.len();
    match path.extension().and_then(|e| e.to_str()) {
        Some("seg") if rng.chance(1, 2) => {
            let starts: Vec<_> =
                (0..len.saturating_sub(112)).step_by(8).filter(|&at| &bytes[at..at + 4] == b"DCr1").collect();
            let Some(&at) = starts.get(rng.below(starts.len() as u64) as usize) else { return false };
            forge(&mut bytes[at + 4..at + 104], rng);
            let sum = sign(secret, 1, &bytes[at..at + 104]);
            bytes[at + 104..at + 112].copy_from_slice(&sum);
        }
        Some("seg") => {
            let Some(trailer) = len.checked_sub(32).filter(|&at| &bytes[at..at + 8] == b"DCfoot1\0") else {
                return false;
            };
            let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let footer = 32 + field(trailer + 8) * 64 + field(trailer + 12) + field(trailer + 16);
            let start = len - footer;
            // The magic stays; rows, scopes, head and the lengths of the trailer do not.
            if rng.chance(1, 2) && start < trailer {
                forge(&mut bytes[start..trailer], rng);
            } else {
                forge(&mut bytes[trailer + 8..trailer + 20], rng);
            }
            let sum = sign(secret, 2, &bytes[start..len - 8]);
            bytes[len - 8..].copy_from_slice(&sum);
        }
        Some("snapshot") => {
            forge(&mut bytes[8..len - 8], rng);
            let sum = sign(secret, 3, &bytes[..len - 8]);
            bytes[len - 8..].copy_from_slice(&sum);
        }
        Some("obj") => {
            forge(&mut bytes[..48], rng);
            let sum = sign(secret, 4, &bytes[..48]);
            bytes[48..56].copy_from_slice(&sum);
        }
        _ => {
            forge(&mut bytes[8..len - 8], rng);
            let mut hasher = SipHasher13::new();
            hasher.write(&bytes[..len - 8]);
            let sum = hasher.finish().to_le_bytes();
            bytes[len - 8..].copy_from_slice(&sum);
        }
    }
    true
}

/// Opens a directory and does a little of everything with it.
fn live_with(files: &Files) {
    let disk = disk();
    paused().block_on(async {
        for dir in [DIR, "/cache/segments", "/cache/objects"] {
            disk.create_dir(Path::new(dir)).await.unwrap();
        }
        for (path, bytes) in files {
            let file = disk.open(path, OpenMode::CREATE_NEW).await.unwrap();
            disk.write_at(&file, vec![bytes.clone()], 0).await.unwrap();
        }
        LARGEST.set(0);
        let Ok(engine) = in_time("an open", open(&disk)).await else { return };
        for n in 0..6 {
            drop(in_time("a get", peek_stale(&engine, &key(n))).await);
        }
        for n in 0..6 {
            drop(in_time("an insert", engine.insert(&key(n), body(n, 9, 300))).await);
        }
        drop(in_time("a flush", engine.flush()).await);
        drop(in_time("a close", engine.close()).await);
    });
    let largest = LARGEST.get();
    assert!(largest <= ENOUGH, "{largest} bytes at once");
}

/// Changes the headers of all records for which `change` tells that it did, and signs them; how many.
fn forge_records(files: &mut Files, mut change: impl FnMut(&mut [u8]) -> bool) -> usize {
    let secret: [u8; 16] = files[&Path::new(DIR).join("CACHE")][32..48].try_into().unwrap();
    let mut forged = 0;
    for (_, bytes) in files.iter_mut().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg")) {
        let mut changed = bytes.to_vec();
        for at in (0..changed.len().saturating_sub(112)).step_by(8) {
            if &changed[at..at + 4] == b"DCr1" && change(&mut changed[at..at + 104]) {
                let sum = sign(&secret, 1, &changed[at..at + 104]);
                changed[at + 104..at + 112].copy_from_slice(&sum);
                forged += 1;
            }
        }
        *bytes = changed.into();
    }
    forged
}

#[test]
fn a_body_that_claims_to_be_longer_than_its_file_is_a_miss_and_takes_no_memory() {
    // The checksums of its chunks were read into memory of the length that the record's header gave: 256 MiB for the body of
    // 4 TiB here, and the end of the process for a longer one. (Found by the forgeries, at 20,000 of them.)
    let mut files = fixture(true);
    let forged = forge_records(&mut files, |header| {
        let large = header[24..32] != [0; 8];
        if large {
            header[16..24].copy_from_slice(&(1u64 << 42).to_le_bytes());
        }
        large
    });
    assert!(forged > 0);
    live_with(&files);
}

#[test]
fn a_record_of_the_last_version_there_is_does_not_end_the_inserts() {
    // The next version was one more: a panic in builds that check for overflow. (Found by fuzzing directories.)
    let mut files = fixture(false);
    let forged = forge_records(&mut files, |header| {
        header[32..40].fill(0xFF);
        true
    });
    assert!(forged > 0);
    live_with(&files);
}

fn segment_file(id: u32) -> PathBuf {
    format!("/cache/segments/{id:08x}.seg").into()
}

#[test]
fn segments_whose_ids_no_index_can_tell_apart_are_no_snapshots() {
    // They were given seats in the index before the snapshot that names them was verified: a panic at every open.
    let mut files = fixture(true);
    let last = (1..1000).rfind(|id| files.contains_key(&segment_file(*id))).unwrap();
    let far = last + (1 << 16);
    let segment = files.remove(&segment_file(last)).unwrap();
    let seal = |id: u32| [&id.to_le_bytes()[..], &(segment.len() as u64).to_le_bytes()[..]].concat();
    let snapshot = files.get_mut(&Path::new(DIR).join("index.snapshot")).unwrap();
    let mut bytes = snapshot.to_vec();
    let at = bytes.windows(12).position(|window| window == seal(last)).unwrap();
    bytes[at..at + 12].copy_from_slice(&seal(far));
    *snapshot = bytes.into();
    files.insert(segment_file(far), segment);
    live_with(&files);
}

#[test]
fn a_file_longer_than_a_segment_promises_a_footer_in_vain() {
    // Its rows were read into memory as long as the file.
    let mut files = fixture(false);
    let next = (1..1000).find(|id| !files.contains_key(&segment_file(*id))).unwrap();
    let rows = (32 << 20) / 64 - 1;
    let mut bytes = vec![0; 32 + 64 * rows];
    let trailer = bytes.len() - 32;
    bytes[trailer..trailer + 8].copy_from_slice(b"DCfoot1\0");
    bytes[trailer + 8..trailer + 12].copy_from_slice(&u32::try_from(rows).unwrap().to_le_bytes());
    files.insert(segment_file(next), bytes.into());
    live_with(&files);
}

/// Names the case in a failure's message.
struct Context(u64, PathBuf);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("forgery {} in {}", self.0, self.1.display());
        }
    }
}

#[test]
fn a_structure_forged_with_the_right_secret_is_survived() {
    let (count, seed): (u64, u64) = (from_env("DISK_CACHE_FORGERIES", 2_000), from_env("DISK_CACHE_SEED", 1));
    println!("seed {seed}");
    let fixtures = [fixture(true), fixture(false)];
    on_all_cores(count, |n| {
        let mut rng = Rng::new(seed).fork(n);
        loop {
            let mut files = fixtures[rng.below(2) as usize].clone();
            let secret: [u8; 16] = files[&Path::new(DIR).join("CACHE")][32..48].try_into().unwrap();
            let path = files.keys().nth(rng.below(files.len() as u64) as usize).unwrap().clone();
            let mut bytes = files[&path].to_vec();
            if forge_file(&path, &mut bytes, &secret, &mut rng) {
                let _context = Context(n, path.clone());
                files.insert(path, bytes.into());
                return live_with(&files);
            }
        }
    });
    tried(count, "forged structures");
}
