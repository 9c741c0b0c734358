//! The bytes on disk, read here by hand from the tables of ARCHITECTURE.md, so that no platform and no later version
//! writes others.

use crate::common::{Ctx, LARGE, body, epoch, id, key, synced};
use bytes::Bytes;
use disk_cache::{CacheKey, DiskCache, Expiry, InsertOptions, PurgeMode, PurgeScope};
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;
use std::{
    fs,
    hash::Hasher,
    time::{Duration, UNIX_EPOCH},
};

/// Reads little-endian fields one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len);
        self.0 = rest;
        front
    }
    fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes(2).try_into().unwrap())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap())
    }
}

/// What the superblock says, and what is derived from its secret.
struct Cache {
    uuid: Vec<u8>,
    key: [u8; 16],
}

impl Cache {
    fn of(ctx: &Ctx) -> Self {
        let bytes = fs::read(ctx.superblock()).unwrap();
        let mut f = Fields(&bytes[16..]);
        Self { uuid: f.bytes(16).to_vec(), key: f.bytes(16).try_into().unwrap() }
    }

    fn keyed(&self, domain: u8, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&[&[domain], bytes].concat());
        hasher.finish()
    }
}

const RECORD: u8 = 1;
const FOOTER: u8 = 2;
const SNAPSHOT: u8 = 3;
const OBJECT_HEAD: u8 = 4;
const OBJECT_CHUNK: u8 = 5;

fn half_digest(key: &CacheKey) -> Vec<u8> {
    Sha256::digest(key.as_bytes())[..16].to_vec()
}

fn epoch_ms() -> u64 {
    epoch().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A record's header, field by field.
#[derive(Debug, PartialEq)]
struct Record {
    kind: u8,
    flags: u8,
    lengths: (u16, u32, u32, u64),
    object: u64,
    version: u64,
    entry_id: u64,
    created: u64,
    expires: u64,
    as_of: u64,
    digest: Vec<u8>,
    place: (u32, u32),
    payload: Vec<u8>,
    len: usize,
}

/// The record at the front of `bytes`, with both checksums checked.
fn record(cache: &Cache, bytes: &[u8]) -> Record {
    let mut f = Fields(bytes);
    assert_eq!(f.bytes(4), b"DCr1");
    let (kind, flags) = (f.u8(), f.u8());
    let lengths = (f.u16(), f.u32(), f.u32(), f.u64());
    let [object, version, entry_id, created, expires, as_of] = std::array::from_fn(|_| f.u64());
    let digest = f.bytes(16).to_vec();
    let place = (f.u32(), f.u32());
    let (crc, zero, keyed) = (f.u32(), f.u32(), f.u64());
    assert_eq!((zero, keyed), (0, cache.keyed(RECORD, &bytes[..104])));
    let inline = if object == 0 { lengths.3 as usize } else { 0 };
    let payload = f.bytes(lengths.0 as usize + lengths.1 as usize + lengths.2 as usize + inline).to_vec();
    assert_eq!(crc, crc32c::crc32c(&payload));
    let len = (112 + payload.len()).next_multiple_of(8);
    assert!(bytes[112 + payload.len()..len].iter().all(|b| *b == 0), "zeros up to a multiple of 8");
    Record {
        kind,
        flags,
        lengths,
        object,
        version,
        entry_id,
        created,
        expires,
        as_of,
        digest,
        place,
        payload,
        len,
    }
}

/// What a session wrote into its first segment.
async fn first_segment(ctx: &Ctx, cache: &DiskCache) -> Vec<u8> {
    cache.flush().await.unwrap();
    fs::read(&ctx.segment_files()[0]).unwrap()
}

pub(crate) async fn the_superblock_is_laid_out_as_documented(ctx: Ctx) {
    ctx.open().await.close().await.unwrap();
    let bytes = fs::read(ctx.superblock()).unwrap();
    let mut f = Fields(&bytes);
    assert_eq!((f.bytes(8), f.u32(), f.u32()), (&b"DCcache\0"[..], 1, 64));
    assert!(f.bytes(16).iter().any(|b| *b != 0), "a uuid");
    assert!(f.bytes(32).iter().any(|b| *b != 0), "a secret");
    assert_eq!((f.u64(), f.u64()), (crate::common::SEGMENT, epoch_ms()));
    let mut unkeyed = SipHasher13::new();
    unkeyed.write(&bytes[..80]);
    assert_eq!((f.u64(), f.0), (unkeyed.finish(), &[][..]));
}

pub(crate) async fn an_insert_record_is_laid_out_as_documented(ctx: Ctx) {
    let cache = ctx.open().await;
    let key = CacheKey::new("ns", "path").with_variant("gzip");
    let options = InsertOptions::new()
        .meta("meta")
        .tag("a")
        .tag("bc")
        .label("label")
        .expiry(Expiry::After(Duration::from_secs(5)));
    let stored = id(&cache.insert_with(&key, body(1, 1, 21), options).await.unwrap());
    cache.insert_with(&key, body(1, 2, 3), synced()).await.unwrap();
    let (on_disk, segment) = (Cache::of(&ctx), first_segment(&ctx, &cache).await);
    let first = record(&on_disk, &segment);
    let spelled_key = b"\x02\0\0\0ns\x04\0\0\0path\x04\0\0\0gzip";
    let attributes = b"\x02\0\x01\0a\x02\0bc\x01label";
    assert_eq!(key.as_bytes(), spelled_key);
    let wanted = Record {
        kind: 1,
        flags: 2 + 4,
        lengths: (spelled_key.len() as u16, attributes.len() as u32, 4, 21),
        object: 0,
        version: first.version,
        entry_id: stored.0,
        created: epoch_ms(),
        expires: epoch_ms() + 5000,
        as_of: 0,
        digest: half_digest(&key),
        place: (first.place.0, 0),
        payload: [&spelled_key[..], attributes, b"meta", &body(1, 1, 21)].concat(),
        len: first.len,
    };
    assert_eq!(first, wanted);
    assert_eq!(stored.0 >> 32, u64::from(first.place.0), "the session's first segment");
    assert_eq!(ctx.segment_files()[0].file_stem().unwrap(), format!("{:08x}", first.place.0).as_str());
    // The next one begins where this one ends, and knows its place.
    let second = record(&on_disk, &segment[first.len..]);
    assert_eq!(second.place, (first.place.0, first.len as u32 / 8));
    assert_eq!((second.expires, second.flags), (0, 0), "no expiry, no tags");
    assert!(second.version > first.version && second.entry_id > first.entry_id);
}

pub(crate) async fn tombstone_and_expire_records_are_laid_out_as_documented(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.expire(&key(1)).await.unwrap();
    cache.remove(&key(2)).await.unwrap();
    let (on_disk, segment) = (Cache::of(&ctx), first_segment(&ctx, &cache).await);
    let expire = record(&on_disk, &segment);
    let tombstone = record(&on_disk, &segment[112..]);
    for (record, kind, key) in [(&expire, 4, key(1)), (&tombstone, 2, key(2))] {
        assert_eq!((record.kind, record.flags, record.lengths), (kind, 0, (0, 0, 0, 0)));
        assert_eq!((&record.digest, record.as_of, record.len), (&half_digest(&key), 0, 112));
    }
}

pub(crate) async fn a_purge_record_is_laid_out_as_documented(ctx: Ctx) {
    let cache = ctx.open().await;
    let scopes: [(PurgeScope, &[u8]); 5] = [
        (PurgeScope::Namespace("ns".into()), b"\x01\x02\0\0\0ns"),
        (PurgeScope::Path { namespace: "ns".into(), path: "p".into() }, b"\x02\x02\0\0\0ns\x01\0\0\0p"),
        (PurgeScope::Prefix { namespace: "".into(), prefix: "x".into() }, b"\x03\0\0\0\0\x01\0\0\0x"),
        (PurgeScope::Tag("tag".into()), b"\x04\x03\0\0\0tag"),
        (PurgeScope::All, b"\x00"),
    ];
    for (scope, _) in &scopes {
        let mode = if *scope == PurgeScope::All { PurgeMode::Expire } else { PurgeMode::Remove };
        cache.purge_with(scope.clone(), mode).await.unwrap();
    }
    let (on_disk, segment) = (Cache::of(&ctx), first_segment(&ctx, &cache).await);
    let mut at = 0;
    for (scope, spelled) in &scopes {
        let purge = record(&on_disk, &segment[at..]);
        let flags = if *scope == PurgeScope::All { 16 } else { 0 };
        assert_eq!((purge.kind, purge.flags, purge.payload.as_slice()), (3, flags, *spelled), "{scope:?}");
        assert_eq!(purge.lengths, (0, 0, spelled.len() as u32, 0));
        at += purge.len;
    }
}

pub(crate) async fn a_footer_is_laid_out_as_documented(ctx: Ctx) {
    let cache = ctx.open().await;
    let options = InsertOptions::new().tag("t").expiry(Expiry::After(Duration::from_secs(5)));
    cache.insert_with(&key(1), body(1, 1, 100), options).await.unwrap();
    let large = id(&cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap());
    cache.purge(PurgeScope::Namespace("other".into())).await.unwrap();
    cache.remove(&key(3)).await.unwrap();
    cache.close().await.unwrap();
    let (on_disk, segment) = (Cache::of(&ctx), fs::read(&ctx.segment_files()[0]).unwrap());
    let mut records = Vec::new();
    let mut at = 0;
    for _ in 0..4 {
        records.push((at, record(&on_disk, &segment[at..])));
        at += records.last().unwrap().1.len;
    }
    let footer = &segment[at..];
    let mut trailer = Fields(&footer[footer.len() - 32..]);
    assert_eq!((trailer.bytes(8), trailer.u32(), trailer.u32()), (&b"DCfoot1\0"[..], 4, 10));
    let (head_len, zero) = (trailer.u32() as usize, trailer.u32());
    assert_eq!((zero, trailer.u64()), (0, on_disk.keyed(FOOTER, &footer[..footer.len() - 8])));
    assert_eq!(footer.len(), 4 * 64 + 10 + head_len + 32);
    let mut f = Fields(footer);
    for (offset, record) in &records {
        assert_eq!((f.u32() as usize, f.u32() as usize), (offset / 8, record.len / 8));
        assert_eq!((f.u8(), f.u8(), f.u16()), (record.kind, record.flags, 0));
        assert_eq!(f.u32(), if record.kind == 3 { 10 } else { 0 });
        assert_eq!(f.bytes(16), record.digest);
        assert_eq!(
            (f.u64(), f.u64(), f.u64(), f.u64()),
            (record.expires, record.object, record.lengths.3, 0)
        );
    }
    assert_eq!(f.bytes(10), b"\x01\x05\0\0\0other");
    assert_eq!(f.bytes(16), on_disk.uuid);
    assert_eq!(
        (f.u32(), f.u64(), f.u64()),
        (records[0].1.place.0, at as u64, 0),
        "id, length, none unfooted"
    );
    assert!(f.u64() >= records[3].1.version);
    assert_eq!(records[1].1.object, large.0);
}

pub(crate) async fn a_large_body_is_laid_out_as_documented(ctx: Ctx) {
    let cache = ctx.open().await;
    let stored = id(&cache.insert_with(&key(1), body(1, 1, LARGE), synced()).await.unwrap());
    let (on_disk, segment) = (Cache::of(&ctx), first_segment(&ctx, &cache).await);
    let record = record(&on_disk, &segment);
    assert_eq!((record.object, record.entry_id, record.lengths.3), (stored.0, stored.0, LARGE as u64));
    let path = &ctx.object_files()[0];
    assert_eq!(path.file_stem().unwrap(), format!("{:016x}", stored.0).as_str());
    let bytes = fs::read(path).unwrap();
    let mut f = Fields(&bytes);
    assert_eq!((f.bytes(8), f.bytes(16), f.u64()), (&b"DCobj1\0\0"[..], on_disk.uuid.as_slice(), stored.0));
    assert_eq!(
        (f.bytes(16), f.u64()),
        (half_digest(&key(1)).as_slice(), on_disk.keyed(OBJECT_HEAD, &bytes[..48]))
    );
    assert!(f.bytes(4096 - 56).iter().all(|b| *b == 0));
    let stored_body = f.bytes(LARGE);
    assert_eq!(stored_body, body(1, 1, LARGE));
    for (n, chunk) in (0u64..).zip(stored_body.chunks(64 << 10)) {
        let place = [stored.0.to_le_bytes(), n.to_le_bytes()].concat();
        let seed = on_disk.keyed(OBJECT_CHUNK, &place) as u32;
        assert_eq!(f.u32(), crc32c::crc32c_append(seed, chunk), "chunk {n}");
    }
    assert!(f.0.is_empty());
}

pub(crate) async fn a_snapshot_is_laid_out_as_documented(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    let options = InsertOptions::new().tag("t").expiry(Expiry::After(Duration::from_secs(5)));
    let large = id(&cache.insert_with(&key(2), body(2, 1, LARGE), options).await.unwrap());
    cache.get(&key(1)).await.unwrap();
    cache.close().await.unwrap();
    let on_disk = Cache::of(&ctx);
    let bytes = fs::read(ctx.snapshot()).unwrap();
    let (front, sum) = bytes.split_at(bytes.len() - 8);
    assert_eq!(sum, on_disk.keyed(SNAPSHOT, front).to_le_bytes());
    let mut f = Fields(front);
    assert_eq!(f.bytes(8), b"DCsnap1\0");
    let head_len = f.u64() as usize;
    let mut head = Fields(f.bytes(head_len));
    assert_eq!((head.bytes(16), head.u64()), (on_disk.uuid.as_slice(), 2));
    // The one used last comes last.
    let rows: Vec<_> = [(key(2), 2u32, epoch_ms() + 5000, large.0), (key(1), 0, 0, 0)].into();
    for (key, flags, expires, object) in rows {
        assert_eq!(f.bytes(8), &half_digest(&key)[..8]);
        let (place, len) = (f.u64(), f.u32() as usize * 8);
        let segment = fs::read(ctx.dir.join(format!("segments/{:08x}.seg", place >> 32))).unwrap();
        let found = record(&on_disk, &segment[(place as u32) as usize * 8..]);
        assert_eq!((found.digest, found.len), (half_digest(&key), len));
        assert_eq!((f.u32(), f.u64(), f.u64()), (flags, expires, object));
        let disk = if object == 0 { 0 } else { (4096 + LARGE as u64 + 2 * 4).next_multiple_of(4096) };
        assert_eq!(f.u64(), disk);
    }
    assert_eq!(Bytes::copy_from_slice(f.0), Bytes::new());
}
