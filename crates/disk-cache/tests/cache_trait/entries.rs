//! Entries come, are found, are told apart, and go.

use crate::{
    common::{Ctx, LARGE, body, epoch, get, hit, id, key, peek},
    scope_of,
};
use bytes::Bytes;
use disk_cache::{CacheKey, Durability, EntryId, Expiry, InsertOptions, Inserted};
use futures_util::StreamExt;
use std::time::Duration;

pub(crate) async fn an_insert_is_found_again(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 1), (2, 700), (3, 8000), (4, LARGE)] {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
    for (n, len) in [(1, 1), (2, 700), (3, 8000), (4, LARGE)] {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, len)), "{len} bytes");
    }
}

pub(crate) async fn an_unknown_key_is_a_miss(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    for other in
        [key(2), CacheKey::new("other", "path-1"), key(1).with_variant("v"), CacheKey::from("path-1")]
    {
        assert!(cache.get(&other).await.unwrap().is_none(), "{other:?}");
    }
}

pub(crate) async fn an_insert_replaces_the_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    // Small over large and large over small, as well as equals.
    for (version, len) in [(1, 100), (2, 200), (3, LARGE), (4, LARGE + 1), (5, 300)] {
        cache.insert(&key(1), body(1, version, len)).await.unwrap();
        assert_eq!(get(&cache, &key(1)).await, Some(body(1, version, len)));
        assert_eq!(cache.stats().entries, 1);
    }
}

pub(crate) async fn an_insert_is_visible_to_other_tasks_when_it_returns(ctx: Ctx) {
    let cache = ctx.open().await;
    let (to_reader, mut inserted) = tokio::sync::mpsc::channel(1);
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move {
            let mut seen = 0;
            while let Some(n) = inserted.recv().await {
                assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 500)));
                seen += 1;
            }
            seen
        }
    });
    for n in 0..500 {
        cache.insert(&key(n), body(n, 1, 500)).await.unwrap();
        to_reader.send(n).await.unwrap();
    }
    drop(to_reader);
    assert_eq!(reader.await.unwrap(), 500);
}

pub(crate) async fn a_hit_tells_id_length_meta_times_and_size(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, LARGE)] {
        let options = InsertOptions::new().meta("the meta").expiry(Expiry::After(Duration::from_secs(60)));
        let Inserted::Stored { id, disk_size } =
            cache.insert_with(&key(n), body(n, 1, len), options).await.unwrap()
        else {
            panic!("it was not stored")
        };
        let hit = hit(&cache, &key(n)).await;
        assert_eq!((hit.id(), hit.len(), hit.is_empty()), (id, len as u64, false));
        assert_eq!(hit.meta(), "the meta");
        assert_eq!(hit.created_at(), epoch());
        assert_eq!(hit.expires_at(), Some(epoch() + Duration::from_secs(60)));
        assert!(!hit.is_stale());
        assert_eq!(hit.disk_size(), disk_size);
        assert!(disk_size > len as u64 && disk_size < len as u64 + 16_384, "{disk_size} for {len}");
    }
}

pub(crate) async fn an_empty_body_is_a_hit_of_no_bytes(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), Bytes::new(), InsertOptions::new().meta("204")).await.unwrap();
    let hit = hit(&cache, &key(1)).await;
    assert!(hit.is_empty());
    assert_eq!((hit.bytes().await.unwrap(), hit.meta().as_ref()), (Bytes::new(), &b"204"[..]));
    assert!(hit.reader().next().await.unwrap().is_none());
    assert_eq!(hit.stream().count().await, 0);
}

pub(crate) async fn every_insert_gets_an_id_of_its_own(ctx: Ctx) {
    let cache = ctx.open().await;
    let mut seen = std::collections::HashSet::new();
    for n in 0..200 {
        let len = if n % 10 == 0 { LARGE / 2 } else { 50 };
        let inserted = cache.insert(&key(n % 7), body(n, 1, len)).await.unwrap();
        assert!(seen.insert(id(&inserted)), "{inserted:?} came twice");
    }
}

pub(crate) async fn variants_of_a_path_are_entries_of_their_own(ctx: Ctx) {
    let cache = ctx.open().await;
    let (plain, gzip) = (key(1), key(1).with_variant("gzip"));
    cache.insert(&plain, body(1, 0, 10)).await.unwrap();
    cache.insert(&gzip, body(1, 1, 10)).await.unwrap();
    assert_eq!(get(&cache, &plain).await, Some(body(1, 0, 10)));
    assert_eq!(get(&cache, &gzip).await, Some(body(1, 1, 10)));
    assert!(cache.remove(&gzip).await.unwrap());
    assert_eq!(get(&cache, &plain).await, Some(body(1, 0, 10)));
    assert_eq!(get(&cache, &key(1).with_variant("")).await, Some(body(1, 0, 10)));
}

pub(crate) async fn contains_agrees_with_a_plain_get_and_counts_nothing(ctx: Ctx) {
    let cache = ctx.open().await;
    assert!(!cache.contains(&key(1)));
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert!(cache.contains(&key(1)));
    cache.expire(&key(1)).await.unwrap();
    assert!(!cache.contains(&key(1)));
    cache.insert(&key(1), body(1, 2, 10)).await.unwrap();
    cache.remove(&key(1)).await.unwrap();
    assert!(!cache.contains(&key(1)));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (0, 0));
}

pub(crate) async fn remove_tells_whether_the_key_was_there(ctx: Ctx) {
    let cache = ctx.open().await;
    assert!(!cache.remove(&key(1)).await.unwrap());
    for len in [10, LARGE] {
        cache.insert(&key(1), body(1, 1, len)).await.unwrap();
        assert!(cache.remove(&key(1)).await.unwrap());
        assert!(peek(&cache, &key(1)).await.is_none());
        assert!(!cache.remove(&key(1)).await.unwrap());
    }
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    cache.purge(scope_of(1)).await.unwrap();
    assert!(!cache.remove(&key(1)).await.unwrap(), "a purged key is not there");
    assert_eq!(cache.stats().removes, 2);
}

pub(crate) async fn remove_with_any_durability_removes_at_once(ctx: Ctx) {
    let cache = ctx.open().await;
    for durability in [Durability::Buffered, Durability::Written, Durability::Synced] {
        cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
        assert!(cache.remove_with(&key(1), durability).await.unwrap());
        assert!(peek(&cache, &key(1)).await.is_none(), "{durability:?}");
    }
}

pub(crate) async fn remove_entry_of_the_right_id_removes_it_and_tells_it(ctx: Ctx) {
    let cache = ctx.open().await;
    for len in [10, LARGE] {
        let stored = id(&cache.insert(&key(1), body(1, 1, len)).await.unwrap());
        assert_eq!(cache.remove_entry((&key(1), stored)).await.unwrap(), Some(stored));
        assert!(peek(&cache, &key(1)).await.is_none());
        let stored = id(&cache.insert(&key(1), body(1, 2, len)).await.unwrap());
        assert_eq!(cache.remove_entry(&key(1)).await.unwrap(), Some(stored));
        assert!(peek(&cache, &key(1)).await.is_none());
    }
}

pub(crate) async fn remove_entry_of_another_id_leaves_the_entry(ctx: Ctx) {
    let cache = ctx.open().await;
    let old = id(&cache.insert(&key(1), body(1, 1, 10)).await.unwrap());
    let new = id(&cache.insert(&key(1), body(1, 2, 10)).await.unwrap());
    for wrong in [old, EntryId(new.0 + 1), EntryId(0)] {
        assert_eq!(cache.remove_entry((&key(1), wrong)).await.unwrap(), None, "{wrong}");
    }
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, 10)));
    assert_eq!(cache.stats().removes, 0);
}

pub(crate) async fn remove_entry_of_an_unknown_key_is_none(ctx: Ctx) {
    let cache = ctx.open().await;
    let other = id(&cache.insert(&key(2), body(2, 1, 10)).await.unwrap());
    assert_eq!(cache.remove_entry(&key(1)).await.unwrap(), None);
    assert_eq!(cache.remove_entry((&key(1), other)).await.unwrap(), None);
    assert_eq!(get(&cache, &key(2)).await, Some(body(2, 1, 10)));
}
