//! What `pingora_cache` asks of a `Storage`, asked of it directly.
#![cfg(unix)]

#[path = "../examples/proxy/main.rs"]
#[allow(dead_code, reason = "only its proxy is used, by the other suites")]
mod example;
mod support;

use bytes::Bytes;
use disk_cache::PurgeMode;
use pingora_cache::{
    CacheEntryId, CacheEntryKey, CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget,
    PurgeType, Storage as _,
    storage::MissFinishType,
    trace::{Span, SpanHandle},
};
use pingora_disk_cache::{DiskCacheStorage, Label};
use pingora_http::ResponseHeader;
use std::time::{Duration, SystemTime};
use support::{
    body,
    proxy::{builder, storage},
};
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

#[tokio::test]
async fn a_response_is_there_once_it_is_finished_and_not_before() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let (key, body) = (key("/a"), body(1, len));
        let mut handler = begin(storage, &key, &meta("\"1\"")).await;
        handler.write_body(body.clone(), true).await.expect("it takes it");
        assert!(find(storage, &key).await.is_none(), "the end of the body is not the end of the write");
        let written = handler.entry_id();
        handler.finish().await.expect("it finishes");
        let (found, mut hit) = find(storage, &key).await.expect("a hit");
        assert_eq!(found.headers()["etag"], "\"1\"");
        assert_eq!((hit.entry_id(), hit.entry_id().is_some()), (written, true));
        assert!(hit.get_eviction_weight() >= len);
        assert!(read(&mut hit).await == body, "other bytes of {len}");
        assert!(hit.read_body().await.expect("still the end").is_none());
        hit.finish(storage, &key, &span()).await.expect("it finishes");
    }
}

#[tokio::test]
async fn a_dropped_write_leaves_nothing_and_what_was_there_stays() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let (a, b) = (key("/a"), key("/b"));
        store(storage, &b, &meta("\"1\""), &body(1, 100)).await;
        for key in [&a, &b] {
            let mut handler = begin(storage, key, &meta("\"2\"")).await;
            handler.write_body(body(2, len), true).await.expect("it takes it");
            drop(handler);
        }
        assert_eq!(stored(storage, &a).await, None);
        assert_eq!(stored(storage, &b).await, Some(body(1, 100)));
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_is_not_stored() {
    let (_dir, storage) = empty().await;
    for written in [99, 101] {
        let mut announced = meta("\"1\"");
        announced.response_header_mut().append_header("content-length", "100").expect("a header");
        let mut handler = begin(storage, &key("/a"), &announced).await;
        handler.write_body(body(1, written), true).await.expect("it takes it");
        assert!(handler.finish().await.is_err(), "{written} bytes");
        assert!(find(storage, &key("/a")).await.is_none());
    }
}

#[tokio::test]
async fn a_hit_is_read_from_anywhere_again_and_again() {
    for len in [10_000_usize, 3 << 20] {
        let (_dir, storage) = empty().await;
        let (key, body) = (key("/a"), body(1, len));
        store(storage, &key, &meta("\"1\""), &body).await;
        let (_, mut hit) = find(storage, &key).await.expect("a hit");
        assert!(hit.can_seek() && hit.can_seek_multipart());
        for (start, end) in
            [(5000, Some(9000)), (0, Some(1)), (len - 1, None), (9999, Some(len)), (100, None)]
        {
            hit.seek(start, end).expect("inside the body");
            assert!(
                read(&mut hit).await == body.slice(start..end.unwrap_or(len)),
                "{start}..{end:?} of {len}"
            );
        }
        hit.seek_multipart(10, Some(20)).expect("inside the body");
        assert_eq!(read(&mut hit).await, body.slice(10..20));
        hit.seek(len - 10, Some(len + 10)).expect("an end past the body's is the body's");
        assert_eq!(read(&mut hit).await, body.slice(len - 10..));
        for outside in [len, len + 1, usize::MAX] {
            assert!(hit.seek(outside, None).is_err(), "{outside} of {len}");
        }
    }
}

#[tokio::test]
async fn a_hit_stays_readable_when_its_entry_is_purged_and_replaced() {
    let (_dir, storage) = empty().await;
    let (key, old) = (key("/a"), body(1, 3 << 20));
    store(storage, &key, &meta("\"1\""), &old).await;
    let (_, mut hit) = find(storage, &key).await.expect("a hit");
    let first = hit.read_body().await.expect("a piece").expect("a piece");
    purge(storage, PurgeTarget::Active(&key.to_compact())).await;
    store(storage, &key, &meta("\"2\""), &body(2, 3 << 20)).await;
    let rest = read(&mut hit).await;
    assert!([first, rest].concat() == old);
}

#[tokio::test]
async fn of_two_writers_of_one_key_one_is_stored_whole() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let mut first = begin(storage, &key, &meta("\"1\"")).await;
    let mut second = begin(storage, &key, &meta("\"2\"")).await;
    for _ in 0..2 {
        first.write_body(body(1, 400_000), false).await.expect("it takes it");
        second.write_body(body(2, 400_000), false).await.expect("it takes it");
    }
    first.finish().await.expect("it finishes");
    // It began before the first one was stored, so that it may be older: it is not stored, which is no error.
    let MissFinishType::Created(size) = second.finish().await.expect("it finishes") else {
        panic!("appended")
    };
    assert_eq!(size, 0);
    let (found, mut hit) = find(storage, &key).await.expect("a hit");
    assert_eq!(found.headers()["etag"], "\"1\"");
    assert!(read(&mut hit).await == [body(1, 400_000), body(1, 400_000)].concat());
}

#[tokio::test]
async fn a_purge_tells_what_it_removed() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let compact = key.to_compact();
    assert_eq!(purge(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::NotFound);
    let id = store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    assert_eq!(purge(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::Purged(Some(id)));
    assert_eq!(purge(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::NotFound);
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn an_exact_purge_never_hits_another_generation() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let old = store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    let new = store(storage, &key, &meta("\"2\""), &body(2, 100)).await;
    assert_ne!(old, new);
    assert_eq!(purge(storage, PurgeTarget::Exact(&exact(&key, old))).await, PurgeOutcome::NotFound);
    assert_eq!(expire(storage, PurgeTarget::Exact(&exact(&key, old))).await, PurgeOutcome::NotFound);
    let (found, mut hit) = find(storage, &key).await.expect("a hit");
    assert!(found.is_fresh(SystemTime::now()));
    assert_eq!(read(&mut hit).await, body(2, 100));
    let removed = purge(storage, PurgeTarget::Exact(&exact(&key, new))).await;
    assert_eq!(removed, PurgeOutcome::Purged(Some(new)));
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn a_purge_of_one_key_leaves_its_variants_and_other_tenants() {
    let (_dir, storage) = empty().await;
    let primary = key("/a");
    let mut variant = key("/a");
    variant.set_variance_key([7; 16]);
    let tenant = CacheKey::new("example.com/a", "tenant");
    for (n, key) in [&primary, &variant, &tenant].into_iter().enumerate() {
        store(storage, key, &meta("\"1\""), &body(n as u64, 100)).await;
    }
    assert_ne!(purge(storage, PurgeTarget::Active(&primary.to_compact())).await, PurgeOutcome::NotFound);
    assert_eq!(stored(storage, &primary).await, None);
    assert_eq!(stored(storage, &variant).await, Some(body(1, 100)));
    storage.purge_variants(&primary, PurgeMode::Remove).await.expect("a purge");
    assert_eq!(stored(storage, &variant).await, None);
    assert_eq!(stored(storage, &tenant).await, Some(body(2, 100)));
    storage.purge_user("tenant", PurgeMode::Remove).await.expect("a purge");
    assert_eq!(stored(storage, &tenant).await, None);
}

#[tokio::test]
async fn what_was_fetched_before_a_purge_is_not_stored_after_it() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let key = key("/a");
        let compact = key.to_compact();
        for kind in ["key", "prefix", "tag", "tenant", "soft"] {
            let mut handler = begin(storage, &key, &tagged("news")).await;
            handler.write_body(body(1, len), true).await.expect("it takes it");
            match kind {
                "key" => drop(purge(storage, PurgeTarget::Active(&compact)).await),
                "soft" => drop(expire(storage, PurgeTarget::Active(&compact)).await),
                "prefix" => {
                    storage.purge_prefix("", "example.com/", PurgeMode::Remove).await.expect("a purge")
                }
                "tag" => storage.purge_tag("news", PurgeMode::Remove).await.expect("a purge"),
                _ => storage.purge_user("", PurgeMode::Remove).await.expect("a purge"),
            }
            handler.finish().await.expect("no error: there is nothing to do about it");
            assert!(find(storage, &key).await.is_none(), "a purge by {kind}, {len} bytes");
        }
    }
}

#[tokio::test]
async fn a_prefix_goes_by_the_label_where_the_key_has_one() {
    let (_dir, storage) = empty().await;
    let mut key = CacheKey::new(b"\x00\x0bframed bytes".to_vec(), "");
    key.extensions.insert(Label::new("example.com/a"));
    store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    storage.purge_prefix("", b"\x00\x0bframed".to_vec(), PurgeMode::Remove).await.expect("a purge");
    assert!(find(storage, &key).await.is_some(), "the bytes of the key are not its label");
    storage.purge_prefix("", "example.com/", PurgeMode::Remove).await.expect("a purge");
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn a_soft_purge_keeps_the_body_and_lets_the_windows_begin() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let key = key("/a");
        let compact = key.to_compact();
        assert_eq!(expire(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::NotFound);
        store(storage, &key, &meta("\"1\""), &body(1, len)).await;
        let before = SystemTime::now();
        assert_eq!(expire(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::Expired);
        let after = SystemTime::now();
        for _ in 0..2 {
            let (found, mut hit) = find(storage, &key).await.expect("it is kept");
            assert!(!found.is_fresh(SystemTime::now()));
            assert!(
                (before..=after).contains(&found.fresh_until()),
                "the windows begin with the purge, once"
            );
            assert_eq!(found.stale_while_revalidate_sec(), 600);
            assert!(read(&mut hit).await == body(1, len));
        }
    }
}

#[tokio::test]
async fn a_soft_purge_of_many_makes_each_stale_and_stretches_no_window() {
    let (_dir, storage) = empty().await;
    let meta = tagged("news");
    store(storage, &key("/a"), &meta, &body(1, 100)).await;
    storage.purge_tag("news", PurgeMode::Expire).await.expect("a purge");
    let (found, mut hit) = find(storage, &key("/a")).await.expect("it is kept");
    assert!(!found.is_fresh(SystemTime::now()));
    assert!(found.fresh_until() <= meta.updated());
    assert_eq!(read(&mut hit).await, body(1, 100));
}

#[tokio::test]
async fn a_revalidation_refreshes_the_metadata_and_lifts_a_soft_purge() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let key = key("/a");
        let id = store(storage, &key, &meta("\"1\""), &body(1, len)).await;
        expire(storage, PurgeTarget::Active(&key.to_compact())).await;
        let (found, _) = find(storage, &key).await.expect("a hit");
        // As Pingora does it: the new metadata, with what the lookup left in the old one.
        let mut refreshed = meta("\"2\"");
        refreshed.extensions_mut().extend(found.extensions().clone());
        assert!(storage.update_meta(&key, &refreshed, &span()).await.expect("an update"));
        let (found, mut hit) = find(storage, &key).await.expect("a hit");
        assert!(found.is_fresh(SystemTime::now()));
        assert_eq!(
            (&found.headers()["etag"].to_str().expect("text")[..], hit.entry_id()),
            ("\"2\"", Some(id))
        );
        assert!(read(&mut hit).await == body(1, len));
    }
}

#[tokio::test]
async fn a_revalidation_says_nothing_about_another_body() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    assert!(!storage.update_meta(&key, &meta("\"0\""), &span()).await.expect("an update of nothing"));
    store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    let (asked_about, _) = find(storage, &key).await.expect("a hit");
    store(storage, &key, &meta("\"2\""), &body(2, 100)).await;
    assert!(!storage.update_meta(&key, &asked_about, &span()).await.expect("an update"));
    assert_eq!(find(storage, &key).await.expect("a hit").0.headers()["etag"], "\"2\"");
}

#[tokio::test]
async fn a_revalidation_does_not_undo_a_soft_purge_that_came_meanwhile() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    let (asked_about, _) = find(storage, &key).await.expect("a hit");
    expire(storage, PurgeTarget::Active(&key.to_compact())).await;
    assert!(!storage.update_meta(&key, &asked_about, &span()).await.expect("an update"));
    assert!(!find(storage, &key).await.expect("a hit").0.is_fresh(SystemTime::now()));
}

#[tokio::test]
async fn a_revalidation_that_changes_the_tags_drops_what_could_not_be_purged_by_them() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    store(storage, &key, &tagged("news"), &body(1, 100)).await;
    assert!(storage.update_meta(&key, &tagged("news"), &span()).await.expect("an update"));
    assert!(!storage.update_meta(&key, &tagged("news sport"), &span()).await.expect("an update"));
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn metadata_of_another_version_is_a_miss_that_is_filled_again() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let name = disk_cache::CacheKey::new("", pingora_cache::key::hash_key("example.com/a"));
    storage.cache().insert(&name, body(1, 100)).await.expect("an insert");
    assert!(find(storage, &key).await.is_none());
    store(storage, &key, &meta("\"1\""), &body(2, 100)).await;
    assert_eq!(stored(storage, &key).await, Some(body(2, 100)));
}

#[tokio::test]
async fn a_body_past_the_limit_is_an_error_at_once_and_leaves_nothing() {
    let dir = tempdir().expect("a directory");
    let storage = storage(builder(dir.path()).max_entry_size(disk_cache::ByteSize::mib(1))).await;
    let mut handler = begin(storage, &key("/a"), &meta("\"1\"")).await;
    handler.write_body(body(1, 1 << 20), false).await.expect("as much as may be");
    for _ in 0..2 {
        assert!(handler.write_body(body(1, 1), false).await.is_err());
    }
    assert!(handler.finish().await.is_err());
    assert!(find(storage, &key("/a")).await.is_none());
    assert_eq!(storage.cache().stats().entries, 0);
}

#[tokio::test]
async fn a_purge_by_key_survives_the_next_open() {
    let dir = tempdir().expect("a directory");
    let first = storage(builder(dir.path())).await;
    for path in ["/a", "/b"] {
        store(first, &key(path), &meta("\"1\""), &body(1, 3 << 20)).await;
    }
    purge(first, PurgeTarget::Active(&key("/a").to_compact())).await;
    first.cache().close().await.expect("it closes");
    let second = storage(builder(dir.path())).await;
    assert_eq!(stored(second, &key("/a")).await, None);
    assert!(stored(second, &key("/b")).await == Some(body(1, 3 << 20)));
}

#[test]
fn bodies_that_are_being_written_are_not_read() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (_dir, storage) = runtime.block_on(empty());
    assert!(!storage.support_streaming_partial_write());
    assert!(storage.as_any().is::<DiskCacheStorage>());
}
