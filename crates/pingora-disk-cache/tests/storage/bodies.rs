//! What is written and what is read.

use crate::{
    LENGTHS, begin, empty, find, key, meta, purge, read, span, store, stored,
    support::{
        body,
        proxy::{builder, storage},
        until,
    },
};
use pingora_cache::{
    HttpCache, PurgeTarget, Storage as _, eviction::simple_lru::Manager, storage::MissFinishType,
};
use pingora_disk_cache::DiskCacheStorage;
use tempfile::tempdir;

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
async fn metadata_of_another_version_is_a_miss_that_is_filled_again() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let name = disk_cache::CacheKey::new("", pingora_cache::key::hash_key("example.com/a"));
    storage.cache().insert(&name, body(1, 100)).await.expect("an insert");
    assert!(find(storage, &key).await.is_none());
    store(storage, &key, &meta("\"1\""), &body(2, 100)).await;
    assert_eq!(stored(storage, &key).await, Some(body(2, 100)));
}

#[test]
fn bodies_that_are_being_written_are_not_read() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (_dir, storage) = runtime.block_on(empty());
    assert!(!storage.support_streaming_partial_write());
    assert!(storage.as_any().is::<DiskCacheStorage>());
}

#[tokio::test]
async fn the_cache_evicts_the_least_recently_used_by_itself() {
    let (dir, storage) = empty().await;
    let hot = key("/hot");
    store(storage, &hot, &meta("\"1\""), &body(0, 3 << 20)).await;
    // Three times the capacity.
    for n in 1..=64 {
        store(storage, &key(&format!("/{n}")), &meta("\"1\""), &body(n, 3 << 20)).await;
        assert!(find(storage, &hot).await.is_some(), "used after each of them: {n}");
    }
    assert!(find(storage, &key("/1")).await.is_none());
    assert!(find(storage, &key("/64")).await.is_some());
    let stats = storage.cache().stats();
    assert!(stats.evictions > 0 && stats.disk_bytes <= 64 << 20, "{stats:?}");
    drop(dir);
}

/// There is no reason to have one; but if there is one, it works.
#[tokio::test]
async fn an_eviction_manager_evicts_the_very_entries_that_it_admitted() {
    let (_dir, storage) = empty().await;
    let limit = 100_000;
    let manager: &'static Manager = Box::leak(Box::new(Manager::new(limit)));
    for n in 0..3 {
        let mut cache = HttpCache::new();
        cache.enable(storage, Some(manager), None, None, None);
        cache.set_cache_key(key(&format!("/{n}")));
        cache.cache_miss();
        cache.set_cache_meta(meta("\"1\""));
        cache.set_miss_handler().await.expect("a miss handler");
        let handler = cache.miss_handler().expect("it was set");
        handler.write_body(body(n, 40_000), true).await.expect("it takes it");
        cache.finish_miss_handler().await.expect("it finishes");
    }
    // It purges in a task of its own.
    until("it purges", || async { find(storage, &key("/0")).await.is_none().then_some(()) }).await;
    for n in 1..3 {
        assert_eq!(stored(storage, &key(&format!("/{n}"))).await, Some(body(n, 40_000)));
    }
}
