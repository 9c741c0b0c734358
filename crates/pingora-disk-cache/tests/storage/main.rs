//! What `pingora_cache` asks of a `Storage`, asked of it directly.
#![cfg(unix)]

#[path = "../../examples/proxy/main.rs"]
#[allow(dead_code, reason = "only its proxy is used, by the other suites")]
mod example;
#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod freshness;
mod purges;

use bytes::Bytes;
use pingora_cache::{
    CacheEntryId, CacheEntryKey, CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget,
    PurgeType, Storage as _,
    storage::MissFinishType,
    trace::{Span, SpanHandle},
};
use pingora_disk_cache::DiskCacheStorage;
use pingora_http::ResponseHeader;
use std::time::{Duration, SystemTime};
use support::proxy::{builder, storage};
use tempfile::{TempDir, tempdir};

const MINUTE: Duration = Duration::from_secs(60);

async fn empty() -> (TempDir, &'static DiskCacheStorage) {
    let dir = tempdir().expect("a directory");
    let storage = storage(builder(dir.path())).await;
    (dir, storage)
}

fn span() -> SpanHandle {
    Span::inactive().handle()
}

fn key(path: &str) -> CacheKey {
    CacheKey::new(format!("example.com{path}"), "")
}

/// Fresh for a minute, with a `stale-while-revalidate` of ten.
fn meta(etag: &str) -> CacheMeta {
    let mut header = ResponseHeader::build(200, None).expect("a status");
    header.append_header("etag", etag).expect("a header");
    CacheMeta::new(SystemTime::now() + MINUTE, SystemTime::now(), 600, 0, header)
}

fn tagged(tags: &str) -> CacheMeta {
    let mut meta = meta("\"1\"");
    meta.response_header_mut().append_header("surrogate-key", tags).expect("a header");
    meta
}

async fn begin(storage: &'static DiskCacheStorage, key: &CacheKey, meta: &CacheMeta) -> MissHandler {
    storage.get_miss_handler(key, meta, &span()).await.expect("a miss handler")
}

/// Stores a response, in two pieces.
async fn store(
    storage: &'static DiskCacheStorage,
    key: &CacheKey,
    meta: &CacheMeta,
    body: &Bytes,
) -> CacheEntryId {
    let mut handler = begin(storage, key, meta).await;
    let half = body.len() / 2;
    handler.write_body(body.slice(..half), false).await.expect("it takes it");
    handler.write_body(body.slice(half..), true).await.expect("it takes it");
    let id = handler.entry_id().expect("an id");
    let MissFinishType::Created(size) = handler.finish().await.expect("it finishes") else {
        panic!("appended")
    };
    assert!(size >= body.len());
    id
}

async fn find(storage: &'static DiskCacheStorage, key: &CacheKey) -> Option<(CacheMeta, HitHandler)> {
    storage.lookup(key, &span()).await.expect("a lookup")
}

async fn read(handler: &mut HitHandler) -> Bytes {
    let mut all = Vec::new();
    while let Some(piece) = handler.read_body().await.expect("a piece") {
        assert!(!piece.is_empty(), "an empty piece would end the response");
        all.extend_from_slice(&piece);
    }
    all.into()
}

async fn stored(storage: &'static DiskCacheStorage, key: &CacheKey) -> Option<Bytes> {
    Some(read(&mut find(storage, key).await?.1).await)
}

async fn purge(storage: &'static DiskCacheStorage, target: PurgeTarget<'_>) -> PurgeOutcome {
    storage.purge(target, PurgeType::Invalidation, &span()).await.expect("a purge")
}

async fn expire(storage: &'static DiskCacheStorage, target: PurgeTarget<'_>) -> PurgeOutcome {
    storage.expire(target, &span()).await.expect("a soft purge")
}

fn exact(key: &CacheKey, id: CacheEntryId) -> CacheEntryKey {
    CacheEntryKey::identified(key.to_compact(), id)
}

/// Empty, inline, out of line.
const LENGTHS: [usize; 3] = [0, 10_000, 3 << 20];
