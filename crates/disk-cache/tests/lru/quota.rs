//! The quota, and the bytes that are counted against it.

use crate::{
    LEN,
    common::{Ctx, LARGE, SEGMENT, body, find_stale, get, key, peek},
    free_moves, full, insert, on_disk, within_quota,
};
use disk_cache::{ByteSize, Durability};

pub(crate) async fn live_bytes_are_the_sum_of_the_entries_exactly(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..400 {
        let len = [0, 1, 100, 8000, 9000, LARGE / 4][n as usize % 6];
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
    let mut sum = 0;
    for n in 0..400 {
        sum += find_stale(&cache, &key(n)).await.map_or(0, |hit| hit.disk_size());
    }
    assert_eq!(cache.stats().live_bytes, sum);
}

pub(crate) async fn removed_bytes_are_given_back_exactly(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..20 {
        cache.insert(&key(n), body(n, 1, if n % 4 == 0 { LARGE } else { LEN })).await.unwrap();
    }
    for n in 0..20 {
        let size = find_stale(&cache, &key(n)).await.unwrap().disk_size();
        let before = cache.stats().live_bytes;
        cache.remove(&key(n)).await.unwrap();
        assert_eq!(before - cache.stats().live_bytes, size, "entry {n}");
    }
    assert_eq!((cache.stats().live_bytes, cache.stats().entries), (0, 0));
    crate::common::until("the large bodies are unlinked", || ctx.object_files().is_empty()).await;
}

pub(crate) async fn the_quota_holds_at_every_step_for_small_bodies(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..2000 {
        insert(&cache, n).await;
        if n % 5 == 0 {
            within_quota(&ctx, &cache);
        }
    }
    assert!(cache.stats().evictions > 1000);
}

pub(crate) async fn the_quota_holds_at_every_step_for_large_bodies(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..150 {
        cache.insert(&key(n), body(n, 1, LARGE + 1000 * n as usize)).await.unwrap();
        within_quota(&ctx, &cache);
    }
    assert!(cache.stats().evictions > 50);
}

pub(crate) async fn the_quota_holds_at_every_step_for_mixed_sizes_and_overwrites(ctx: Ctx) {
    let cache = ctx.open().await;
    let mut random = cache_testkit::Rng::new(3);
    for version in 0..1500 {
        let n = random.below(300);
        let len = [10, 500, 3000, 8000, 20_000, 200_000][random.below(6) as usize];
        cache.insert(&key(n), body(n, version, len)).await.unwrap();
        if random.below(10) == 0 {
            cache.remove_with(&key(random.below(300)), Durability::Buffered).await.unwrap();
        }
        within_quota(&ctx, &cache);
        assert_eq!(peek(&cache, &key(n)).await, Some(body(n, version, len)));
    }
}

pub(crate) async fn the_quota_holds_while_many_tasks_insert(ctx: Ctx) {
    let cache = ctx.open().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (cache, ctx) = (cache.clone(), ctx.clone());
            tokio::spawn(async move {
                for n in 0..200 {
                    let len = if n % 20 == 0 { LARGE } else { LEN };
                    cache.insert(&key(task * 1000 + n), body(n, task, len)).await.unwrap();
                    within_quota(&ctx, &cache);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(cache.stats().inserts, 1600);
}

pub(crate) async fn the_quota_holds_in_a_cache_of_eight_segments(ctx: Ctx) {
    let cache = ctx.builder().capacity(ByteSize::bytes_of(8 * SEGMENT)).open().await.unwrap();
    for n in 0..800 {
        cache.insert(&key(n), body(n, 1, if n % 50 == 0 { LARGE } else { LEN })).await.unwrap();
        within_quota(&ctx, &cache);
        assert!(cache.contains(&key(n)));
    }
    assert!(cache.stats().entries > 20, "{:?}", cache.stats());
}

pub(crate) async fn the_quota_holds_with_segments_of_four_kib(ctx: Ctx) {
    let builder = ctx.builder().segment_size(ByteSize::kib(4)).capacity(ByteSize::kib(256));
    let cache = builder.open().await.unwrap();
    for n in 0..800 {
        cache.insert(&key(n), body(n, 1, [50, 400, 2000][n as usize % 3])).await.unwrap();
        within_quota(&ctx, &cache);
    }
    for n in 790..800 {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, [50, 400, 2000][n as usize % 3])));
    }
}

pub(crate) async fn the_quota_holds_over_restarts(ctx: Ctx) {
    for round in 0..8 {
        let cache = ctx.open().await;
        within_quota(&ctx, &cache);
        for n in 0..150 {
            insert(&cache, round * 1000 + n).await;
            within_quota(&ctx, &cache);
        }
        cache.close().await.unwrap();
        assert!(on_disk(&ctx) <= 32 * SEGMENT, "the snapshot counts too");
        if round % 2 == 0 {
            std::fs::remove_file(ctx.snapshot()).unwrap();
        }
    }
}

pub(crate) async fn a_full_cache_uses_most_of_its_capacity(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    full(&cache).await;
    let stats = cache.stats();
    assert!(stats.live_bytes * 10 > stats.capacity * 7, "{} live of {}", stats.live_bytes, stats.capacity);
}
