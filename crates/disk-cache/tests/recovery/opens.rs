//! What many opens leave, and what the report says.

use crate::{
    common::{Ctx, LARGE, body, id, key},
    filled_and_closed, intact, reopened,
};
use disk_cache::{Durability, InsertOptions, RecoveryReport};
use std::{collections::HashSet, fs};

pub(crate) async fn files_that_are_not_the_caches_own_stay(ctx: Ctx) {
    fs::create_dir_all(ctx.dir.join("mine.tmp")).unwrap();
    fs::write(ctx.dir.join("draft.tmp"), b"somebody's").unwrap();
    fs::write(ctx.dir.join("README"), b"somebody's").unwrap();
    filled_and_closed(&ctx, 5, 100).await;
    let cache = ctx.open().await;
    assert_eq!(intact(&cache, 5, 100).await, 5);
    assert_eq!(fs::read(ctx.dir.join("draft.tmp")).unwrap(), b"somebody's");
    assert_eq!(fs::read(ctx.dir.join("README")).unwrap(), b"somebody's");
    assert!(ctx.dir.join("mine.tmp").is_dir());
}

pub(crate) async fn ids_are_never_used_twice_over_restarts(ctx: Ctx) {
    let mut seen = HashSet::new();
    let mut ctx = ctx;
    for round in 0..9 {
        let cache = ctx.open().await;
        for n in 0..5 {
            let len = if n == 0 { LARGE } else { 100 };
            let options = InsertOptions::new().durability(Durability::Buffered);
            let stored = id(&cache.insert_with(&key(n), body(n, round, len), options).await.unwrap());
            assert!(seen.insert(stored), "{stored} came twice");
        }
        match round % 3 {
            0 => cache.close().await.unwrap(),
            // What was not flushed may be lost; its ids are used all the same.
            1 => ctx = ctx.crash(&format!("round-{round}")),
            _ => {
                cache.close().await.unwrap();
                fs::remove_file(ctx.snapshot()).unwrap();
            }
        }
    }
}

pub(crate) async fn empty_segments_do_not_pile_up_over_many_opens(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    for _ in 0..140 {
        let cache = ctx.open().await;
        cache.close().await.unwrap();
    }
    let cache = ctx.open().await;
    assert_eq!(intact(&cache, 5, 100).await, 5);
    crate::common::until("reclaim has caught up", || cache.stats().segments <= 2 * 32 + 66).await;
}

pub(crate) async fn an_empty_cache_closes_and_opens(ctx: Ctx) {
    for _ in 0..3 {
        let cache = ctx.open().await;
        assert_eq!(cache.stats().entries, 0);
        cache.close().await.unwrap();
    }
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().entries, 0);
    assert!(!cache.recovery_report().snapshot_ignored);
}

pub(crate) async fn the_report_counts_what_is_there(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..100 {
        cache.insert(&key(n), body(n, 1, if n % 25 == 0 { LARGE } else { 3000 })).await.unwrap();
    }
    for n in 0..10 {
        cache.remove(&key(n + 50)).await.unwrap();
    }
    let before = cache.stats();
    let (_, cache) = reopened(&ctx, cache, 1).await;
    let RecoveryReport { entries, live_bytes, segments, .. } = *cache.recovery_report();
    assert_eq!((entries, live_bytes), (before.entries, before.live_bytes));
    assert!(segments >= 4 && segments <= before.segments, "{segments} of {}", before.segments);
    cache.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().entries, before.entries);
    assert_eq!(cache.recovery_report().live_bytes, before.live_bytes, "the log counts as the snapshot does");
}
