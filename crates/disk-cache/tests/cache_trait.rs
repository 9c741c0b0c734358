//! The verbs of the cache, one promise each.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::needless_pass_by_value,
    clippy::items_after_statements,
    clippy::single_match_else,
    clippy::unchecked_time_subtraction,
    reason = "a test fails by a panic, and reads from top to bottom"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::{Ctx, LARGE, body, epoch, find_stale, get, hit, id, key, peek, unlocked};
use disk_cache::{
    Cache, CacheKey, DiskCache, Durability, DynCache, EntryId, Error, Expiry, Fetched, Fill, GetOptions,
    InsertOptions, Inserted, PurgeMode, PurgeScope,
};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

fn main() -> ExitCode {
    common::main(cases! {
        an_insert_is_found_again
        an_unknown_key_is_a_miss
        an_insert_replaces_the_older_value
        an_insert_is_visible_to_other_tasks_when_it_returns
        a_hit_tells_id_length_meta_times_and_size
        an_empty_body_is_a_hit_of_no_bytes
        every_insert_gets_an_id_of_its_own
        variants_of_a_path_are_entries_of_their_own
        contains_agrees_with_a_plain_get_and_counts_nothing
        remove_tells_whether_the_key_was_there
        remove_with_any_durability_removes_at_once
        remove_entry_of_the_right_id_removes_it_and_tells_it
        remove_entry_of_another_id_leaves_the_entry
        remove_entry_of_an_unknown_key_is_none
        update_meta_changes_the_meta_and_keeps_body_id_and_creation
        update_meta_of_another_id_changes_nothing
        update_meta_of_an_unknown_key_is_false
        update_meta_sets_keeps_and_lifts_the_expiry
        update_meta_of_a_large_body_writes_one_small_record
        of_concurrent_new_metas_one_is_left_whole
        update_meta_keeps_tags_and_label
        expire_makes_an_entry_stale_and_keeps_its_body
        expire_of_another_id_leaves_the_entry_fresh
        update_meta_lifts_an_expire_and_every_soft_purge
        an_insert_is_not_hit_by_an_earlier_purge
        purge_all_removes_everything
        purge_namespace_leaves_the_others
        purge_path_takes_every_variant_and_nothing_else
        purge_prefix_need_not_end_at_a_boundary
        purge_prefix_sees_the_label_instead_of_the_path
        purge_tag_reaches_every_namespace
        a_soft_purge_of_each_scope_makes_stale_what_a_hard_one_removes
        a_purge_reaches_large_bodies_too
        a_purge_too_long_for_a_segment_is_refused_and_hurts_nobody
        contains_is_false_where_a_purge_by_tag_might_apply
        an_expired_entry_is_a_miss_and_a_stale_hit
        the_default_ttl_is_for_those_that_name_no_expiry
        clear_removes_everything_and_gives_the_space_back
        flush_brings_everything_to_the_disk
        stats_count_what_happened
        stats_of_count_one_namespace
        a_range_is_read_from_small_and_large_bodies
        a_reader_seeks_again_and_again
        a_stream_gives_the_body_in_order
        a_hit_outlives_replacement_removal_and_purge
        a_hit_outlives_eviction_and_reclaim
        a_hit_outlives_the_close
        a_hit_outlives_the_last_handle
        remove_of_a_key_that_a_tag_or_label_purged_is_false
        every_verb_says_closed_after_close
        two_handles_see_one_cache
        the_last_handle_closes_in_the_background
        an_operation_that_is_dropped_leaves_the_cache_whole
        a_dyn_cache_has_every_verb
        generic_code_takes_a_cache_and_a_dyn_cache
        generic_code_fetches_once_through_a_cache_and_a_dyn_cache
        a_writer_of_a_dyn_cache_keeps_it_open
    })
}

fn scope_of(kind: usize) -> PurgeScope {
    match kind {
        0 => PurgeScope::All,
        1 => PurgeScope::Namespace("ns".into()),
        2 => PurgeScope::Path { namespace: "ns".into(), path: "path-1".into() },
        3 => PurgeScope::Prefix { namespace: "ns".into(), prefix: "pat".into() },
        _ => PurgeScope::Tag("tag".into()),
    }
}

async fn stale(cache: &DiskCache, key: &CacheKey) -> bool {
    assert!(cache.get(key).await.unwrap().is_none(), "a stale entry is no plain hit");
    find_stale(cache, key).await.expect("it is kept").is_stale()
}

async fn an_insert_is_found_again(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 1), (2, 700), (3, 8000), (4, LARGE)] {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
    for (n, len) in [(1, 1), (2, 700), (3, 8000), (4, LARGE)] {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, len)), "{len} bytes");
    }
}

async fn an_unknown_key_is_a_miss(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    for other in
        [key(2), CacheKey::new("other", "path-1"), key(1).with_variant("v"), CacheKey::from("path-1")]
    {
        assert!(cache.get(&other).await.unwrap().is_none(), "{other:?}");
    }
}

async fn an_insert_replaces_the_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    // Small over large and large over small, as well as equals.
    for (version, len) in [(1, 100), (2, 200), (3, LARGE), (4, LARGE + 1), (5, 300)] {
        cache.insert(&key(1), body(1, version, len)).await.unwrap();
        assert_eq!(get(&cache, &key(1)).await, Some(body(1, version, len)));
        assert_eq!(cache.stats().entries, 1);
    }
}

async fn an_insert_is_visible_to_other_tasks_when_it_returns(ctx: Ctx) {
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

async fn a_hit_tells_id_length_meta_times_and_size(ctx: Ctx) {
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

async fn an_empty_body_is_a_hit_of_no_bytes(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), Bytes::new(), InsertOptions::new().meta("204")).await.unwrap();
    let hit = hit(&cache, &key(1)).await;
    assert!(hit.is_empty());
    assert_eq!((hit.bytes().await.unwrap(), hit.meta().as_ref()), (Bytes::new(), &b"204"[..]));
    assert!(hit.reader().next().await.unwrap().is_none());
    assert_eq!(hit.stream().count().await, 0);
}

async fn every_insert_gets_an_id_of_its_own(ctx: Ctx) {
    let cache = ctx.open().await;
    let mut seen = std::collections::HashSet::new();
    for n in 0..200 {
        let len = if n % 10 == 0 { LARGE / 2 } else { 50 };
        let inserted = cache.insert(&key(n % 7), body(n, 1, len)).await.unwrap();
        assert!(seen.insert(id(&inserted)), "{inserted:?} came twice");
    }
}

async fn variants_of_a_path_are_entries_of_their_own(ctx: Ctx) {
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

async fn contains_agrees_with_a_plain_get_and_counts_nothing(ctx: Ctx) {
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

async fn remove_tells_whether_the_key_was_there(ctx: Ctx) {
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

async fn remove_with_any_durability_removes_at_once(ctx: Ctx) {
    let cache = ctx.open().await;
    for durability in [Durability::Buffered, Durability::Written, Durability::Synced] {
        cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
        assert!(cache.remove_with(&key(1), durability).await.unwrap());
        assert!(peek(&cache, &key(1)).await.is_none(), "{durability:?}");
    }
}

async fn remove_entry_of_the_right_id_removes_it_and_tells_it(ctx: Ctx) {
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

async fn remove_entry_of_another_id_leaves_the_entry(ctx: Ctx) {
    let cache = ctx.open().await;
    let old = id(&cache.insert(&key(1), body(1, 1, 10)).await.unwrap());
    let new = id(&cache.insert(&key(1), body(1, 2, 10)).await.unwrap());
    for wrong in [old, EntryId(new.0 + 1), EntryId(0)] {
        assert_eq!(cache.remove_entry((&key(1), wrong)).await.unwrap(), None, "{wrong}");
    }
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, 10)));
    assert_eq!(cache.stats().removes, 0);
}

async fn remove_entry_of_an_unknown_key_is_none(ctx: Ctx) {
    let cache = ctx.open().await;
    let other = id(&cache.insert(&key(2), body(2, 1, 10)).await.unwrap());
    assert_eq!(cache.remove_entry(&key(1)).await.unwrap(), None);
    assert_eq!(cache.remove_entry((&key(1), other)).await.unwrap(), None);
    assert_eq!(get(&cache, &key(2)).await, Some(body(2, 1, 10)));
}

async fn update_meta_changes_the_meta_and_keeps_body_id_and_creation(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, LARGE)] {
        let options = InsertOptions::new().meta("first");
        let stored = id(&cache.insert_with(&key(n), body(n, 1, len), options).await.unwrap());
        let created = hit(&cache, &key(n)).await.created_at();
        ctx.clock.advance(Duration::from_secs(5));
        for meta in ["second, which is longer", ""] {
            assert!(cache.update_meta((&key(n), stored), meta.into(), Expiry::Keep).await.unwrap());
            let hit = hit(&cache, &key(n)).await;
            assert_eq!((hit.id(), hit.created_at(), hit.meta().as_ref()), (stored, created, meta.as_bytes()));
            assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len));
        }
    }
    assert_eq!((cache.stats().entries, cache.stats().inserts), (2, 2));
}

async fn update_meta_of_another_id_changes_nothing(ctx: Ctx) {
    let cache = ctx.open().await;
    let options = InsertOptions::new().meta("first");
    let stored = id(&cache.insert_with(&key(1), body(1, 1, 10), options).await.unwrap());
    let wrong = EntryId(stored.0 + 1);
    assert!(!cache.update_meta((&key(1), wrong), "second".into(), Expiry::Never).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.meta(), "first");
}

async fn update_meta_of_an_unknown_key_is_false(ctx: Ctx) {
    let cache = ctx.open().await;
    assert!(!cache.update_meta(&key(1), "m".into(), Expiry::Never).await.unwrap());
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    cache.purge(scope_of(2)).await.unwrap();
    assert!(!cache.update_meta(&key(1), "m".into(), Expiry::Never).await.unwrap(), "it was purged");
    assert!(peek(&cache, &key(1)).await.is_none());
}

async fn update_meta_sets_keeps_and_lifts_the_expiry(ctx: Ctx) {
    let cache = ctx.open().await;
    let minute = Duration::from_secs(60);
    let options = InsertOptions::new().expiry(Expiry::After(minute));
    cache.insert_with(&key(1), body(1, 1, 10), options).await.unwrap();
    ctx.clock.advance(minute / 2);
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::Keep).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(epoch() + minute));
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::After(minute)).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(epoch() + minute * 3 / 2));
    let at = epoch() + Duration::from_secs(7777);
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::At(at)).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(at));
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::Never).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), None);
}

async fn update_meta_of_a_large_body_writes_one_small_record(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, LARGE)).await.unwrap();
    let files = ctx.object_files();
    let before = cache.stats().bytes_written;
    assert!(cache.update_meta(&key(1), body(9, 9, 100), Expiry::Never).await.unwrap());
    let written = cache.stats().bytes_written - before;
    assert!(written > 100 && written < 400, "{written} bytes");
    assert_eq!(ctx.object_files(), files, "the body stays where it is");
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, LARGE)));
}

async fn of_concurrent_new_metas_one_is_left_whole(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let cache = cache.clone();
            tokio::spawn(
                async move { cache.update_meta(&key(1), body(n, n, 50), Expiry::Never).await.unwrap() },
            )
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap(), "the entry was there all the time");
    }
    let hit = hit(&cache, &key(1)).await;
    assert!((0..16).any(|n| hit.meta() == &body(n, n, 50)), "{:?}", hit.meta());
    assert_eq!(hit.bytes().await.unwrap(), body(1, 1, 700));
    assert_eq!(cache.stats().entries, 1);
}

async fn update_meta_keeps_tags_and_label(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in [1, 2] {
        let options = InsertOptions::new().tag("tag").label("label/x");
        cache.insert_with(&key(n), body(n, 1, 10), options).await.unwrap();
        assert!(cache.update_meta(&key(n), "m".into(), Expiry::Never).await.unwrap());
    }
    cache.purge(PurgeScope::Prefix { namespace: "ns".into(), prefix: "path".into() }).await.unwrap();
    assert!(peek(&cache, &key(1)).await.is_some(), "what has a label is met by that");
    cache.purge(scope_of(4)).await.unwrap();
    assert!(peek(&cache, &key(1)).await.is_none() && peek(&cache, &key(2)).await.is_none());
}

async fn expire_makes_an_entry_stale_and_keeps_its_body(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, LARGE)] {
        let stored = id(&cache.insert(&key(n), body(n, 1, len)).await.unwrap());
        assert_eq!(cache.expire(&key(n)).await.unwrap(), Some(stored));
        assert!(stale(&cache, &key(n)).await);
        assert_eq!(peek(&cache, &key(n)).await, Some(body(n, 1, len)));
    }
    assert_eq!(cache.expire(&key(3)).await.unwrap(), None, "it is not there");
}

async fn expire_of_another_id_leaves_the_entry_fresh(ctx: Ctx) {
    let cache = ctx.open().await;
    let old = id(&cache.insert(&key(1), body(1, 1, 10)).await.unwrap());
    let new = id(&cache.insert(&key(1), body(1, 2, 10)).await.unwrap());
    assert_eq!(cache.expire((&key(1), old)).await.unwrap(), None);
    assert!(!hit(&cache, &key(1)).await.is_stale());
    assert_eq!(cache.expire((&key(1), new)).await.unwrap(), Some(new));
    assert!(stale(&cache, &key(1)).await);
}

async fn update_meta_lifts_an_expire_and_every_soft_purge(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().tag("tag")).await.unwrap();
    for kind in 0..6 {
        match kind {
            5 => assert!(cache.expire(&key(1)).await.unwrap().is_some()),
            _ => cache.purge_with(scope_of(kind), PurgeMode::Expire).await.unwrap(),
        }
        assert!(stale(&cache, &key(1)).await, "scope {kind}");
        assert!(cache.update_meta(&key(1), "new".into(), Expiry::Never).await.unwrap());
        assert!(!hit(&cache, &key(1)).await.is_stale(), "scope {kind}");
    }
}

async fn an_insert_is_not_hit_by_an_earlier_purge(ctx: Ctx) {
    let cache = ctx.open().await;
    for kind in 0..5 {
        for mode in [PurgeMode::Remove, PurgeMode::Expire] {
            cache.purge_with(scope_of(kind), mode).await.unwrap();
        }
    }
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().tag("tag")).await.unwrap();
    assert!(cache.contains(&key(1)));
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 10)));
}

async fn purge_all_removes_everything(ctx: Ctx) {
    let cache = ctx.open().await;
    let keys: Vec<_> = (0..20).map(|n| CacheKey::new(format!("ns-{}", n % 3), format!("p{n}"))).collect();
    for key in &keys {
        cache.insert(key, body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::All).await.unwrap();
    for key in &keys {
        assert!(peek(&cache, key).await.is_none() && !cache.contains(key));
    }
    assert_eq!((cache.stats().entries, cache.stats().live_bytes, cache.stats().purged), (0, 0, 20));
}

async fn purge_namespace_leaves_the_others(ctx: Ctx) {
    let cache = ctx.open().await;
    let of = |namespace: &str| CacheKey::new(namespace, "p");
    for namespace in ["a", "ab", "", "b"] {
        cache.insert(&of(namespace), body(1, 1, 100)).await.unwrap();
        cache.insert(&of(namespace).with_variant("v"), body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::Namespace("a".into())).await.unwrap();
    for (namespace, there) in [("a", false), ("ab", true), ("", true), ("b", true)] {
        assert_eq!(get(&cache, &of(namespace)).await.is_some(), there, "{namespace:?}");
        assert_eq!(get(&cache, &of(namespace).with_variant("v")).await.is_some(), there, "{namespace:?}");
    }
}

async fn purge_path_takes_every_variant_and_nothing_else(ctx: Ctx) {
    let cache = ctx.open().await;
    let gone = [CacheKey::new("n", "a/b"), CacheKey::new("n", "a/b").with_variant("x")];
    let kept = [CacheKey::new("n", "a/bc"), CacheKey::new("n", "a"), CacheKey::new("m", "a/b")];
    for key in gone.iter().chain(&kept) {
        cache.insert(key, body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::Path { namespace: "n".into(), path: "a/b".into() }).await.unwrap();
    for key in &gone {
        assert!(peek(&cache, key).await.is_none(), "{key:?}");
    }
    for key in &kept {
        assert!(get(&cache, key).await.is_some(), "{key:?}");
    }
}

async fn purge_prefix_need_not_end_at_a_boundary(ctx: Ctx) {
    let cache = ctx.open().await;
    let paths = ["img/a", "img/ab", "img/ab/c", "img", "im", "IMG/ab"];
    for path in paths {
        cache.insert(&CacheKey::new("n", path).with_variant("v"), body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: "img/ab".into() }).await.unwrap();
    for path in paths {
        let key = CacheKey::new("n", path).with_variant("v");
        assert_eq!(get(&cache, &key).await.is_some(), !path.starts_with("img/ab"), "{path}");
    }
    cache.purge(PurgeScope::Prefix { namespace: "m".into(), prefix: Bytes::new() }).await.unwrap();
    assert!(get(&cache, &CacheKey::new("n", "im").with_variant("v")).await.is_some(), "another namespace");
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: Bytes::new() }).await.unwrap();
    assert!(get(&cache, &CacheKey::new("n", "im").with_variant("v")).await.is_none());
}

async fn purge_prefix_sees_the_label_instead_of_the_path(ctx: Ctx) {
    let cache = ctx.open().await;
    let (labelled, bare) = (CacheKey::new("n", "0123456789abcdef"), CacheKey::new("n", "https://host/x"));
    cache.insert_with(&labelled, body(1, 1, 10), InsertOptions::new().label("https://host/a")).await.unwrap();
    cache.insert(&bare, body(2, 1, 10)).await.unwrap();
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: "0123".into() }).await.unwrap();
    assert!(get(&cache, &labelled).await.is_some(), "its path is not what counts");
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: "https://host/".into() }).await.unwrap();
    assert!(get(&cache, &labelled).await.is_none() && get(&cache, &bare).await.is_none());
}

async fn purge_tag_reaches_every_namespace(ctx: Ctx) {
    let cache = ctx.open().await;
    let of = |namespace: &str, n: u64| CacheKey::new(namespace, format!("p{n}"));
    for namespace in ["a", "b"] {
        let options = InsertOptions::new().tag("red").tag("round");
        cache.insert_with(&of(namespace, 1), body(1, 1, 10), options).await.unwrap();
        cache
            .insert_with(&of(namespace, 2), body(2, 1, 10), InsertOptions::new().tag("redder"))
            .await
            .unwrap();
        cache.insert(&of(namespace, 3), body(3, 1, 10)).await.unwrap();
    }
    cache.purge(PurgeScope::Tag("round".into())).await.unwrap();
    for namespace in ["a", "b"] {
        assert!(peek(&cache, &of(namespace, 1)).await.is_none());
        assert!(get(&cache, &of(namespace, 2)).await.is_some());
        assert!(get(&cache, &of(namespace, 3)).await.is_some());
    }
}

async fn a_soft_purge_of_each_scope_makes_stale_what_a_hard_one_removes(ctx: Ctx) {
    let cache = ctx.open().await;
    let other = CacheKey::new("else", "where");
    for kind in 0..5 {
        for (n, len) in [(1, 300), (1, LARGE)] {
            cache.insert_with(&key(n), body(n, 1, len), InsertOptions::new().tag("tag")).await.unwrap();
            cache.insert(&other, body(7, 7, 10)).await.unwrap();
            cache.purge_with(scope_of(kind), PurgeMode::Expire).await.unwrap();
            assert!(stale(&cache, &key(n)).await, "scope {kind}");
            assert_eq!(peek(&cache, &key(n)).await, Some(body(n, 1, len)));
            assert_eq!(get(&cache, &other).await.is_some(), kind != 0, "scope {kind}");
            cache.purge_with(scope_of(kind), PurgeMode::Remove).await.unwrap();
            assert!(peek(&cache, &key(n)).await.is_none(), "scope {kind}");
            assert_eq!(get(&cache, &other).await.is_some(), kind != 0, "scope {kind}");
        }
    }
}

async fn a_purge_reaches_large_bodies_too(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..5 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
    }
    cache.purge(scope_of(1)).await.unwrap();
    for n in 0..5 {
        assert!(peek(&cache, &key(n)).await.is_none());
    }
    cache.flush().await.unwrap();
    common::until("the bodies are unlinked", || ctx.object_files().is_empty()).await;
    assert_eq!(cache.stats().live_bytes, 0);
}

/// Such a record was owed to the log for ever, and nothing could be written any more.
async fn a_purge_too_long_for_a_segment_is_refused_and_hurts_nobody(ctx: Ctx) {
    let small = disk_cache::ByteSize::kib(8);
    let cache = ctx.builder().segment_size(small).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    let scope = PurgeScope::Prefix { namespace: "ns".into(), prefix: vec![b'x'; 10_000].into() };
    let refused = cache.purge(scope).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    for n in 2..100 {
        cache.insert(&key(n), body(n, 1, 500)).await.unwrap();
    }
    assert!(cache.remove(&key(50)).await.unwrap());
    cache.flush().await.unwrap();
    assert_eq!(get(&cache, &key(99)).await, Some(body(99, 1, 500)));
}

async fn contains_is_false_where_a_purge_by_tag_might_apply(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().tag("a")).await.unwrap();
    cache.insert(&key(2), body(2, 1, 10)).await.unwrap();
    cache.purge(PurgeScope::Tag("b".into())).await.unwrap();
    assert!(!cache.contains(&key(1)), "only its record knows its tags");
    assert!(cache.contains(&key(2)), "it has no tags");
    assert!(get(&cache, &key(1)).await.is_some(), "a get reads before it knows");
}

async fn an_expired_entry_is_a_miss_and_a_stale_hit(ctx: Ctx) {
    let cache = ctx.open().await;
    let minute = Duration::from_secs(60);
    for (n, len) in [(1, 700), (2, LARGE)] {
        let options = InsertOptions::new().expiry(Expiry::After(minute));
        cache.insert_with(&key(n), body(n, 1, len), options).await.unwrap();
    }
    ctx.clock.advance(minute - Duration::from_millis(1));
    assert!(!hit(&cache, &key(1)).await.is_stale());
    ctx.clock.advance(Duration::from_millis(1));
    for (n, len) in [(1, 700), (2, LARGE)] {
        assert!(stale(&cache, &key(n)).await);
        assert_eq!(peek(&cache, &key(n)).await, Some(body(n, 1, len)));
    }
    assert!(cache.stats().expirations >= 2);
}

async fn the_default_ttl_is_for_those_that_name_no_expiry(ctx: Ctx) {
    let minute = Duration::from_secs(60);
    let cache = ctx.builder().default_ttl(minute).open().await.unwrap();
    for (n, expiry) in [
        (1, Expiry::Default),
        (2, Expiry::Keep),
        (3, Expiry::Never),
        (4, Expiry::After(minute * 2)),
        (5, Expiry::At(epoch() + minute * 3)),
    ] {
        cache.insert_with(&key(n), body(n, 1, 10), InsertOptions::new().expiry(expiry)).await.unwrap();
    }
    let mut expires = Vec::new();
    for n in 1..=5 {
        expires.push(hit(&cache, &key(n)).await.expires_at().map(|t| t.duration_since(epoch()).unwrap()));
    }
    assert_eq!(expires, [Some(minute), Some(minute), None, Some(minute * 2), Some(minute * 3)]);
}

async fn clear_removes_everything_and_gives_the_space_back(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..200 {
        cache.insert(&key(n), body(n, 1, if n % 40 == 0 { LARGE } else { 3000 })).await.unwrap();
    }
    let before = cache.stats().disk_bytes;
    cache.clear().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.live_bytes), (0, 0));
    common::until("the space is back", || cache.stats().disk_bytes <= 3 * common::SEGMENT).await;
    assert!(before > 6 * common::SEGMENT);
    assert!(ctx.object_files().is_empty());
    for n in 0..200 {
        assert!(peek(&cache, &key(n)).await.is_none());
    }
    cache.insert(&key(1), body(1, 2, 10)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, 10)));
}

async fn flush_brings_everything_to_the_disk(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..30 {
        cache.insert(&key(n), body(n, 1, if n % 10 == 0 { LARGE } else { 500 })).await.unwrap();
    }
    cache.flush().await.unwrap();
    let crashed = ctx.crash("crashed");
    let again = crashed.open().await;
    for n in 0..30 {
        let len = if n % 10 == 0 { LARGE } else { 500 };
        assert_eq!(peek(&again, &key(n)).await, Some(body(n, 1, len)));
    }
}

async fn stats_count_what_happened(ctx: Ctx) {
    let cache = ctx.open().await;
    let expiring = InsertOptions::new().expiry(Expiry::After(Duration::ZERO));
    for n in 0..4 {
        cache.insert(&key(n), body(n, 1, 500)).await.unwrap();
    }
    cache.insert_with(&key(4), body(4, 1, 500), expiring).await.unwrap();
    for n in 0..6 {
        cache.get(&key(n)).await.unwrap();
    }
    cache.remove(&key(0)).await.unwrap();
    let tagged = InsertOptions::new().tag("t");
    cache.insert_with(&key(1), body(1, 2, 500), tagged).await.unwrap();
    cache.purge(PurgeScope::Tag("t".into())).await.unwrap();
    assert!(cache.get(&key(1)).await.unwrap().is_none());
    let s = cache.stats();
    assert_eq!((s.inserts, s.hits, s.misses, s.removes), (6, 4, 3, 1));
    assert_eq!((s.expirations, s.purged, s.entries), (1, 1, 3));
    assert_eq!((s.evictions, s.early_evictions, s.corruptions, s.shed), (0, 0, 0, 0));
    assert_eq!((s.read_errors, s.write_errors, s.cleanup_errors, s.in_flight), (0, 0, 0, 0));
    assert_eq!((s.capacity, s.fallback_reason.as_deref()), (32 * common::SEGMENT, None));
    assert!(s.healthy && s.segments >= 1 && s.open_files >= s.segments && s.index_bytes > 0);
    assert!(s.bytes_written >= 6 * 500 && s.live_bytes > 3 * 500 && s.disk_bytes >= s.live_bytes);
}

async fn stats_of_count_one_namespace(ctx: Ctx) {
    let cache = ctx.open().await;
    let of = |namespace: &str| CacheKey::new(namespace, "p");
    for namespace in ["a", "a", "b"] {
        cache.insert(&of(namespace), body(1, 1, 10)).await.unwrap();
        cache.get(&of(namespace)).await.unwrap();
    }
    cache.get(&CacheKey::new("a", "missing")).await.unwrap();
    cache.purge(PurgeScope::Path { namespace: "a".into(), path: "q".into() }).await.unwrap();
    cache.purge(PurgeScope::Prefix { namespace: "a".into(), prefix: "q".into() }).await.unwrap();
    cache.purge(PurgeScope::Namespace("b".into())).await.unwrap();
    let (a, b, none) = (cache.stats_of("a"), cache.stats_of("b"), cache.stats_of("c"));
    assert_eq!((a.hits, a.misses, a.inserts, a.purges), (2, 1, 2, 2));
    assert_eq!((b.hits, b.misses, b.inserts, b.purges), (1, 0, 1, 1));
    assert_eq!(none, disk_cache::NamespaceStats::default());
}

async fn a_range_is_read_from_small_and_large_bodies(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1u64, 700u64), (2, 300_000)] {
        let whole = body(n, 1, len as usize);
        cache.insert(&key(n), whole.clone()).await.unwrap();
        let hit = hit(&cache, &key(n)).await;
        for range in
            [0..0, 0..1, 5..600, len - 1..len, 0..len, len..len, len / 3..len / 2 + 17, 65_535..65_537]
        {
            let wanted = whole.get(range.start as usize..range.end as usize).map(Bytes::copy_from_slice);
            match hit.read_range(range.clone()).await {
                Ok(bytes) => assert_eq!(Some(bytes), wanted, "{range:?} of {len}"),
                Err(Error::InvalidRange { .. }) => assert_eq!(wanted, None, "{range:?} of {len}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

async fn a_reader_seeks_again_and_again(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, 300_000)] {
        let whole = body(n, 1, len);
        cache.insert(&key(n), whole.clone()).await.unwrap();
        let mut reader = hit(&cache, &key(n)).await.reader();
        assert_eq!((reader.len(), reader.position(), reader.is_empty()), (Some(len as u64), 0, false));
        for (start, end) in
            [(len / 2, None), (0, Some(10)), (len - 1, None), (3, Some(len - 3)), (len, None), (0, None)]
        {
            reader.seek(start as u64, end.map(|e| e as u64)).unwrap();
            assert_eq!(reader.position(), start as u64);
            let mut read = BytesMut::new();
            while let Some(piece) = reader.next().await.unwrap() {
                assert!(!piece.is_empty());
                read.extend_from_slice(&piece);
            }
            assert_eq!(read, whole[start..end.unwrap_or(len)], "{start}..{end:?}");
        }
        // Half way through, and back.
        reader.seek(0, None).unwrap();
        let first = reader.next().await.unwrap();
        reader.seek(0, None).unwrap();
        assert_eq!(reader.next().await.unwrap(), first);
    }
}

async fn a_stream_gives_the_body_in_order(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 1), (2, 700), (3, 1_000_000)] {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
        let stream = hit(&cache, &key(n)).await.stream();
        let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(pieces.concat(), body(n, 1, len));
    }
}

async fn a_hit_outlives_replacement_removal_and_purge(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, 300_000)] {
        let mut held = Vec::new();
        for version in 0..4 {
            cache.insert(&key(n), body(n, version, len)).await.unwrap();
            held.push((version, hit(&cache, &key(n)).await));
            match version {
                1 => assert!(cache.remove(&key(n)).await.unwrap()),
                2 => cache.purge(scope_of(1)).await.unwrap(),
                3 => cache.clear().await.unwrap(),
                _ => {}
            }
        }
        cache.flush().await.unwrap();
        common::until("the bodies are unlinked", || ctx.object_files().is_empty()).await;
        for (version, hit) in held {
            assert_eq!(hit.bytes().await.unwrap(), body(n, version, len), "version {version}");
        }
    }
}

async fn a_hit_outlives_eviction_and_reclaim(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap();
    let (small, large) = (hit(&cache, &key(1)).await, hit(&cache, &key(2)).await);
    let mut reader = large.reader();
    let oldest = ctx.segment_files().remove(0);
    for n in 10..2000 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    assert!(!oldest.exists(), "its segment was reclaimed");
    assert!(peek(&cache, &key(1)).await.is_none() && peek(&cache, &key(2)).await.is_none());
    assert_eq!(small.bytes().await.unwrap(), body(1, 1, 700));
    assert_eq!(large.bytes().await.unwrap(), body(2, 1, LARGE));
    reader.seek(LARGE as u64 - 10, None).unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), body(2, 1, LARGE)[LARGE - 10..]);
}

async fn a_hit_outlives_the_close(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap();
    let (small, large) = (hit(&cache, &key(1)).await, hit(&cache, &key(2)).await);
    cache.close().await.unwrap();
    assert_eq!(small.bytes().await.unwrap(), body(1, 1, 700));
    assert_eq!(large.bytes().await.unwrap(), body(2, 1, LARGE));
}

async fn a_hit_outlives_the_last_handle(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, LARGE)).await.unwrap();
    let held = hit(&cache, &key(1)).await;
    drop(cache);
    unlocked(&ctx.dir).await;
    // So that the read has to wait for the device, which it does on threads that were the cache's own.
    common::forget_pages(&ctx.dir);
    assert_eq!(held.bytes().await.unwrap(), body(1, 1, LARGE));
    let mut reader = held.reader();
    drop(held);
    assert_eq!(reader.next().await.unwrap().unwrap(), body(1, 1, LARGE));
}

async fn remove_of_a_key_that_a_tag_or_label_purged_is_false(ctx: Ctx) {
    let cache = ctx.open().await;
    let options = InsertOptions::new().tag("tag").label("label");
    for purge in [scope_of(4), PurgeScope::Prefix { namespace: "ns".into(), prefix: "lab".into() }] {
        for (n, len) in [(1, 10), (2, LARGE)] {
            cache.insert_with(&key(n), body(n, 1, len), options.clone()).await.unwrap();
        }
        cache.purge(purge).await.unwrap();
        // Stored after the purge, which it looks as if it might be hit by.
        cache.insert_with(&key(3), body(3, 1, 10), options.clone()).await.unwrap();
        cache.purge(PurgeScope::Tag("another".into())).await.unwrap();
        assert!(!cache.remove(&key(1)).await.unwrap() && !cache.remove(&key(2)).await.unwrap());
        assert!(cache.remove(&key(3)).await.unwrap());
    }
    assert_eq!(cache.stats().removes, 2);
}

async fn every_verb_says_closed_after_close(ctx: Ctx) {
    let cache = ctx.open().await;
    let stored = id(&cache.insert(&key(1), body(1, 1, 10)).await.unwrap());
    cache.close().await.unwrap();
    fn closed<T: std::fmt::Debug>(verb: &str, result: Result<T, Error>) {
        assert!(matches!(result, Err(Error::Closed)), "{verb}: {result:?}");
    }
    let k = key(1);
    closed("get", cache.get(&k).await);
    closed("get_with", cache.get_with(&k, GetOptions::new().peek(true)).await);
    closed("insert", cache.insert(&k, body(1, 1, 10)).await);
    closed("insert, large", cache.insert(&k, body(1, 1, LARGE)).await);
    closed("insert_with", cache.insert_with(&k, body(1, 1, 10), InsertOptions::new()).await);
    closed("remove", cache.remove(&k).await);
    closed("remove_with", cache.remove_with(&k, Durability::Buffered).await);
    closed("remove_entry", cache.remove_entry((&k, stored)).await);
    closed("update_meta", cache.update_meta(&k, Bytes::new(), Expiry::Never).await);
    closed("expire", cache.expire(&k).await);
    closed("purge", cache.purge(PurgeScope::All).await);
    closed("purge_with", cache.purge_with(PurgeScope::All, PurgeMode::Expire).await);
    closed("clear", cache.clear().await);
    closed("flush", cache.flush().await);
    closed("close", cache.close().await);
    assert!(!cache.contains(&k));
    assert_eq!(cache.stats().in_flight, 0);
    let again = ctx.open().await;
    assert_eq!(get(&again, &k).await, Some(body(1, 1, 10)), "none of it did anything");
}

async fn two_handles_see_one_cache(ctx: Ctx) {
    let one = ctx.open().await;
    let two = one.clone();
    one.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(get(&two, &key(1)).await, Some(body(1, 1, 10)));
    two.remove(&key(1)).await.unwrap();
    assert!(get(&one, &key(1)).await.is_none());
    drop(one);
    two.insert(&key(2), body(2, 1, 10)).await.unwrap();
    assert_eq!(get(&two, &key(2)).await, Some(body(2, 1, 10)), "the other handle's end is not its own");
    assert_eq!(two.stats().inserts, 2);
    two.clone().close().await.unwrap();
    assert!(matches!(two.get(&key(2)).await, Err(Error::Closed)));
}

async fn the_last_handle_closes_in_the_background(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..50 {
        cache.insert(&key(n), body(n, 1, 500)).await.unwrap();
    }
    drop(cache.clone());
    assert!(matches!(ctx.builder().open().await, Err(Error::Locked { .. })), "one handle is left");
    drop(cache);
    unlocked(&ctx.dir).await;
    assert!(ctx.snapshot().exists(), "it was a clean close");
    let again = ctx.open().await;
    assert_eq!(again.recovery_report().entries, 50);
    assert_eq!(get(&again, &key(49)).await, Some(body(49, 1, 500)));
}

async fn an_operation_that_is_dropped_leaves_the_cache_whole(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..60 {
        let len = if n % 3 == 0 { LARGE } else { 500 };
        let key = key(n);
        // Polled so often, then dropped.
        let mut insert = Box::pin(cache.insert_with(&key, body(n, 1, len), common::synced()));
        for _ in 0..n % 5 {
            if (&mut insert).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(insert);
    }
    cache.flush().await.unwrap();
    assert_eq!(cache.stats().in_flight, 0);
    for n in 0..60 {
        let len = if n % 3 == 0 { LARGE } else { 500 };
        let found = get(&cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, len)), "entry {n}");
    }
    let entries = cache.stats().entries as usize;
    let objects = (0..60).step_by(3).filter(|n| cache.contains(&key(*n))).count();
    common::until("unfinished bodies are unlinked", || ctx.object_files().len() == objects).await;
    assert!(entries <= 60);
}

async fn a_dyn_cache_has_every_verb(ctx: Ctx) {
    let cache: Arc<dyn DynCache> = Arc::new(ctx.open().await);
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().meta("m")).await.unwrap();
    cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap();
    assert!(cache.contains(&key(1)));
    assert_eq!(cache.get(&key(1)).await.unwrap().unwrap().meta(), "m");
    let peeked = cache.get_with(&key(2), GetOptions::new().peek(true)).await.unwrap().unwrap();
    assert_eq!(peeked.bytes().await.unwrap(), body(2, 1, LARGE));
    cache.purge_with(PurgeScope::Namespace("ns".into()), PurgeMode::Expire).await.unwrap();
    assert!(cache.get(&key(1)).await.unwrap().is_none());
    assert!(cache.get_with(&key(1), GetOptions::new().allow_stale(true)).await.unwrap().unwrap().is_stale());
    assert!(cache.remove(&key(1)).await.unwrap());
    cache.purge(PurgeScope::All).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!((cache.stats().entries, cache.stats().inserts), (0, 2));

    let mut writer = cache.writer(&key(3), InsertOptions::new().meta("head")).await.unwrap();
    let follower = cache.follow((&key(3)).into()).expect("the write in flight");
    assert_eq!((follower.id(), follower.meta().as_ref()), (writer.id(), &b"head"[..]));
    writer.keep_feeding(true);
    writer.write(body(3, 1, LARGE)).await.unwrap();
    let stored = id(&writer.commit().await.unwrap());
    assert_eq!(follower.bytes().await.unwrap(), body(3, 1, LARGE));
    assert!(cache.follow((&key(3)).into()).is_none(), "the write is over");
    assert!(cache.update_meta((&key(3), stored).into(), "new".into(), Expiry::Never).await.unwrap());
    assert_eq!(cache.get(&key(3)).await.unwrap().unwrap().meta(), "new");
    assert_eq!(cache.expire((&key(3)).into()).await.unwrap(), Some(stored));
    assert!(cache.get(&key(3)).await.unwrap().is_none());
    assert_eq!(cache.remove_entry((&key(3), stored).into()).await.unwrap(), Some(stored));
    cache.flush().await.unwrap();
    cache.close().await.unwrap();
    assert!(matches!(cache.flush().await, Err(Error::Closed)));
    assert!(matches!(cache.writer(&key(3), InsertOptions::new()).await, Err(Error::Closed)));
}

async fn generic_code_takes_a_cache_and_a_dyn_cache(ctx: Ctx) {
    async fn use_it(cache: &impl Cache, n: u64) -> Option<Bytes> {
        cache.insert(&key(n), body(n, 1, 100)).await.unwrap();
        Some(cache.get(&key(n)).await.unwrap()?.bytes().await.unwrap())
    }
    let cache = ctx.open().await;
    let shared: Arc<dyn DynCache> = Arc::new(cache.clone());
    assert_eq!(use_it(&cache, 1).await, Some(body(1, 1, 100)));
    // In a task: the future of generic code over a trait object is `Send` too.
    let used = tokio::spawn(async move { use_it(&shared, 2).await });
    assert_eq!(used.await.unwrap(), Some(body(2, 1, 100)));
    assert_eq!(cache.stats().inserts, 2, "both are one cache");
}

async fn generic_code_fetches_once_through_a_cache_and_a_dyn_cache(ctx: Ctx) {
    async fn page(cache: &impl Cache, fetches: &Arc<AtomicUsize>) -> Bytes {
        let fetches = fetches.clone();
        let fetch = async move |fill: Fill| {
            fetches.fetch_add(1, Ordering::SeqCst);
            assert_eq!((fill.key(), fill.is_superseded()), (&key(1), false));
            let mut writer = fill.begin(InsertOptions::new().meta("head")).await?;
            writer.write(body(1, 1, LARGE)).await?;
            writer.commit().await
        };
        let fetched = cache.get_or_fetch(&key(1), fetch).await.unwrap();
        assert_eq!(fetched.meta().unwrap(), "head");
        fetched.bytes().await.unwrap().unwrap()
    }
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    let shared: Arc<dyn DynCache> = Arc::new(cache.clone());
    let (other, counted) = (shared.clone(), fetches.clone());
    // In a task: the future of generic code over a trait object is `Send` here too.
    let fetched = tokio::spawn(async move { page(&other, &counted).await });
    assert_eq!(fetched.await.unwrap(), body(1, 1, LARGE));
    assert_eq!(page(&cache, &fetches).await, body(1, 1, LARGE));
    assert_eq!(fetches.load(Ordering::SeqCst), 1, "both are one cache");

    let failed = shared.get_or_fetch(&key(2), async |_fill| Err::<Inserted, _>("no answer")).await;
    assert!(matches!(&failed, Err(Error::Fetch(why)) if why.to_string() == "no answer"), "{failed:?}");
    let private = shared.refetch(&key(1), async |fill: Fill| Ok::<_, Error>(fill.uncacheable())).await;
    assert!(matches!(private, Ok(Fetched::Uncacheable)), "{private:?}");
}

async fn a_writer_of_a_dyn_cache_keeps_it_open(ctx: Ctx) {
    let cache: Arc<dyn DynCache> = Arc::new(ctx.open().await);
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    drop(cache);
    writer.write(body(1, 1, LARGE)).await.unwrap();
    assert!(matches!(writer.commit().await.unwrap(), Inserted::Stored { .. }));
    unlocked(&ctx.dir).await;
    assert_eq!(get(&ctx.open().await, &key(1)).await, Some(body(1, 1, LARGE)));
}
