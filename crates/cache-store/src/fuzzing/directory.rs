//! A whole directory made of one input: opened, looked at, written to.

use super::sign::{self, SECRET, UUID};
use crate::{
    Engine,
    format::{footer, object::BODY_AT, record::HEADER_LEN, snapshot::SegmentSeal, superblock::Superblock},
    layout::Layout,
};
use bytes::Bytes;
use cache_core::{ByteSize, Cache, CacheKey, Config, DiskBackend, GetOptions, ManualClock, OpenMode};
use cache_index::{Position, SegmentId};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio::runtime::Handle;

/// Where every directory lies.
pub(super) const DIR: &str = "/cache";
/// Bytes of the head of a large body's file that an input has; the rest of its block is zero.
pub(super) const OBJECT_HEAD: usize = 56;

/// What a file of the input is.
pub(super) const SEGMENT: u8 = 0;
pub(super) const OBJECT: u8 = 1;
pub(super) const SNAPSHOT: u8 = 2;
const KINDS: u8 = 3;
/// Its checksums stay as they are.
const UNSIGNED: u8 = 0x80;

/// A cache of segments of 4 KiB, bodies over 512 bytes out of line.
pub(super) fn config() -> Config {
    let mut config = Config::new(DIR, ByteSize::kib(128));
    config.segment_size = Some(ByteSize::kib(4));
    config.write_buffer = ByteSize::kib(8);
    config.min_free_space = ByteSize::bytes_of(0);
    config
}

pub(super) fn key(n: u64) -> CacheKey {
    CacheKey::new("ns", format!("path-{n}"))
}

/// Opens the directory that `data` stands for: files, each a kind, a number, a length of two bytes and so many bytes. Its
/// superblock and the secret in it are always the same.
///
/// `disk` is empty. The caller's runtime is the cache's; where its time stands still, nothing waits for the clock.
///
/// # Panics
/// If an open cache does not hold what it promises.
pub async fn directory<B: DiskBackend>(disk: B, data: &[u8]) {
    lay_out(&disk, data).await;
    let Ok(engine) = open(disk).await else { return };
    let shared = &engine.shared;
    assert_eq!(shared.index.check_invariants(), Ok(()));
    assert!(shared.space.used() <= shared.space.capacity(), "{} bytes are leased", shared.space.used());
    for n in 0..6 {
        drop(look(&engine, n).await);
    }
    let body = Bytes::from_static(b"what is stored now");
    if engine.insert(&key(1), body.clone()).await.is_ok() {
        assert_eq!(look(&engine, 1).await, Some(body));
    }
    assert_eq!(shared.index.check_invariants(), Ok(()));
}

pub(super) async fn open<B: DiskBackend>(disk: B) -> cache_core::Result<Engine<B>> {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1 << 30));
    Engine::open(config(), Arc::new(clock), disk, Handle::current()).await
}

/// The body of a key, stale or not.
pub(super) async fn look<B: DiskBackend>(engine: &Engine<B>, n: u64) -> Option<Bytes> {
    let hit = engine.get_with(&key(n), GetOptions::new().allow_stale(true)).await.ok()??;
    hit.bytes().await.ok()
}

pub(super) fn superblock() -> Superblock {
    Superblock::new(UUID, SECRET, 4096, 0)
}

/// Writes the files of an input.
async fn lay_out<B: DiskBackend>(disk: &B, data: &[u8]) {
    let layout = Layout::new(Path::new(DIR));
    for dir in [&layout.dir, &layout.segments, &layout.objects] {
        disk.create_dir(dir).await.expect("a new directory");
    }
    let mut files = files_of(&layout, data);
    files.insert(layout.superblock.clone(), superblock().encode());
    for (path, bytes) in files {
        let file = disk.open(&path, OpenMode::CREATE_NEW).await.expect("a new file");
        disk.write_at(&file, vec![bytes.into()], 0).await.expect("room for it");
    }
}

fn files_of(layout: &Layout, mut data: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut seals, mut snapshot) = (BTreeMap::new(), BTreeMap::new(), None);
    while let Some(([kind, number, low, high], rest)) = data.split_first_chunk() {
        let (bytes, rest) = rest.split_at(rest.len().min(u16::from_le_bytes([*low, *high]).into()));
        data = rest;
        let (mut bytes, signed) = (bytes.to_vec(), kind & UNSIGNED == 0);
        match (kind & !UNSIGNED) % KINDS {
            SEGMENT => {
                let id = SegmentId::new((*number).into());
                if signed {
                    sign_segment(&mut bytes, id);
                }
                if let Some((checksum, _)) = footer::trailer(&bytes) {
                    let seal = SegmentSeal { id: id.get(), file_len: bytes.len() as u64, checksum };
                    seals.insert(id, seal);
                }
                files.insert(layout.segment(id), bytes);
            }
            OBJECT => {
                let at = bytes.len().min(OBJECT_HEAD);
                bytes.splice(at..at, std::iter::repeat_n(0, BODY_AT as usize - at));
                let id = if signed { sign::object(&mut bytes) } else { None };
                let id = id.map_or(u64::from(*number), |(id, _)| id);
                files.insert(layout.object(id), bytes);
            }
            SNAPSHOT.. => snapshot = Some((bytes, signed)),
        }
    }
    if let Some((mut bytes, signed)) = snapshot {
        if signed {
            sign::snapshot(&mut bytes, &seals.into_values().collect::<Vec<_>>());
        }
        files.insert(layout.snapshot.clone(), bytes);
    }
    files
}

/// Signs what looks like a record, and the footer.
fn sign_segment(bytes: &mut [u8], id: SegmentId) {
    for at in (0..bytes.len().saturating_sub(HEADER_LEN)).step_by(8) {
        if bytes[at..].starts_with(b"DCr1") {
            sign::record(&mut bytes[at..], Position::new(id, at as u64));
        }
    }
    if footer::trailer(bytes).is_some() {
        sign::footer(bytes, id);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::seeds::{disk, seeds},
        *,
    };
    use cache_core::RecoverySource;

    /// An input that the harness spoils would be refused at once, and fuzzing would try nothing.
    #[tokio::test(start_paused = true)]
    async fn what_the_engine_wrote_opens_with_all_its_entries() {
        let seeds = seeds().await.unwrap();
        let mut directories = seeds.iter().filter(|(target, _)| *target == "directory");
        for source in [RecoverySource::Snapshot, RecoverySource::Log] {
            let disk = disk();
            lay_out(&disk, &directories.next().unwrap().1).await;
            let engine = open(disk).await.unwrap();
            assert_eq!(engine.recovery_report().source, source);
            for n in 0..6 {
                let len = look(&engine, n).await.map(|body| body.len());
                assert_eq!(len, (n != 1).then_some(if n == 0 { 600 } else { 40 }), "{n}");
            }
        }
    }
}
