//! Who is evicted, when, and what the files take meanwhile.
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

use common::{Ctx, LARGE, SEGMENT, body, find_stale, get, hit, key, names, peek};
use disk_cache::{
    Builder, ByteSize, DiskCache, Durability, Error, Expiry, GetOptions, InsertOptions, Inserted, PurgeMode,
    PurgeScope,
};
use std::{collections::VecDeque, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    common::main(cases! {
        nothing_is_evicted_while_there_is_room
        the_least_recently_written_goes_first
        a_get_makes_an_entry_the_latest
        gets_in_any_order_are_followed_exactly
        a_peek_is_no_use
        contains_is_no_use
        a_plain_get_of_an_expired_entry_is_no_use
        a_plain_get_of_a_softly_purged_entry_is_no_use
        an_allowed_stale_hit_is_a_use
        an_overwrite_counts_as_a_use_and_its_bytes_count_once
        a_new_meta_is_no_use_and_its_bytes_count_once
        the_order_is_one_over_all_namespaces
        live_bytes_are_the_sum_of_the_entries_exactly
        removed_bytes_are_given_back_exactly
        the_quota_holds_at_every_step_for_small_bodies
        the_quota_holds_at_every_step_for_large_bodies
        the_quota_holds_at_every_step_for_mixed_sizes_and_overwrites
        the_quota_holds_while_many_tasks_insert
        the_quota_holds_in_a_cache_of_eight_segments
        the_quota_holds_with_segments_of_four_kib
        the_quota_holds_over_restarts
        a_full_cache_uses_most_of_its_capacity
        a_large_body_is_evicted_by_one_unlink
        large_bodies_are_evicted_in_order
        large_and_small_bodies_share_one_order
        a_body_of_half_the_capacity_fits_and_one_more_byte_does_not
        a_hit_that_is_held_keeps_its_bytes_in_the_quota
        without_room_an_insert_is_refused_and_works_again_later
        a_refused_insert_removes_the_older_value
        no_entry_is_evicted_early_where_moving_is_free
        without_a_budget_nothing_is_moved
        writes_stay_within_the_bound_on_amplification
        expired_entries_stay_for_those_that_allow_stale_ones
        reclaim_keeps_the_expired_within_the_stale_window_only
        a_cache_of_hot_entries_keeps_them_under_a_flood
        evictions_are_counted_one_by_one
        an_evicted_key_can_come_back
    })
}

/// Bytes of the bodies below: about 19 of them fill a segment.
const LEN: usize = 3000;

/// Reclaim may move whatever it wants, so that only the order of use decides.
fn free_moves(ctx: &Ctx) -> Builder {
    ctx.builder().max_write_amplification(1000.0)
}

/// A cache that is as full as it gets, and its keys, the least recently used first.
async fn full(cache: &DiskCache) -> VecDeque<u64> {
    let mut keys = VecDeque::new();
    let mut n = 0;
    while cache.stats().evictions == 0 {
        insert(cache, n).await;
        keys.push_back(n);
        n += 1;
    }
    for _ in 0..cache.stats().evictions {
        keys.pop_front();
    }
    assert!(keys.len() > 300, "{} entries fit", keys.len());
    keys
}

async fn insert(cache: &DiskCache, n: u64) {
    cache.insert(&key(n), body(n, 1, LEN)).await.unwrap();
}

/// Inserts so many new entries, one after the other, and expects exactly the first of `order` to go for each.
async fn evicts_in_order(cache: &DiskCache, order: &mut VecDeque<u64>, count: usize) {
    for n in (1_000_000 + cache.stats().inserts..).take(count) {
        let before = cache.stats().evictions;
        insert(cache, n).await;
        order.push_back(n);
        for _ in before..cache.stats().evictions {
            let gone = order.pop_front().unwrap();
            assert!(!cache.contains(&key(gone)), "{gone} should have gone");
        }
        assert!(cache.contains(&key(order[0])), "{} should have stayed", order[0]);
    }
    for n in order.iter() {
        assert!(cache.contains(&key(*n)), "{n} should be there");
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.early_evictions), (order.len() as u64, 0));
    assert!(stats.evictions as usize >= count / 2);
}

/// Bytes of all files; a file that vanishes under the count is none.
fn on_disk(ctx: &Ctx) -> u64 {
    let of = |dir: &str| {
        let files = names(&ctx.dir.join(dir));
        files
            .iter()
            .filter_map(|p| std::fs::metadata(p).ok())
            .filter(std::fs::Metadata::is_file)
            .map(|m| m.len())
            .sum::<u64>()
    };
    of("") + of("segments") + of("objects")
}

fn within_quota(ctx: &Ctx, cache: &DiskCache) {
    let (files, stats) = (on_disk(ctx), cache.stats());
    assert!(stats.disk_bytes <= stats.capacity, "{} counted of {}", stats.disk_bytes, stats.capacity);
    assert!(files <= stats.capacity, "{files} on disk of {}", stats.capacity);
}

async fn nothing_is_evicted_while_there_is_room(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..300 {
        insert(&cache, n).await;
    }
    assert_eq!((cache.stats().evictions, cache.stats().early_evictions, cache.stats().entries), (0, 0, 300));
    for n in 0..300 {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, LEN)));
    }
}

async fn the_least_recently_written_goes_first(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    evicts_in_order(&cache, &mut order, 700).await;
}

async fn a_get_makes_an_entry_the_latest(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    for _ in 0..3 {
        let oldest = order.pop_front().unwrap();
        hit(&cache, &key(oldest)).await;
        order.push_back(oldest);
        evicts_in_order(&cache, &mut order, 1).await;
    }
}

async fn gets_in_any_order_are_followed_exactly(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    let mut random = cache_testkit::Rng::new(7);
    for _ in 0..600 {
        let at = random.below(order.len() as u64) as usize;
        let used = order.remove(at).unwrap();
        hit(&cache, &key(used)).await;
        order.push_back(used);
    }
    evicts_in_order(&cache, &mut order, 500).await;
}

async fn a_peek_is_no_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    for n in order.iter().take(50) {
        assert!(cache.get_with(&key(*n), GetOptions::new().peek(true)).await.unwrap().is_some());
        assert!(peek(&cache, &key(*n)).await.is_some());
    }
    evicts_in_order(&cache, &mut order, 100).await;
}

async fn contains_is_no_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    for n in order.iter().take(50) {
        assert!(cache.contains(&key(*n)));
    }
    evicts_in_order(&cache, &mut order, 100).await;
}

async fn a_plain_get_of_an_expired_entry_is_no_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let soon = InsertOptions::new().expiry(Expiry::After(Duration::from_secs(1)));
    cache.insert_with(&key(7777), body(7777, 1, LEN), soon).await.unwrap();
    ctx.clock.advance(Duration::from_secs(2));
    while cache.stats().evictions == 0 {
        assert!(cache.get(&key(7777)).await.unwrap().is_none());
        insert(&cache, cache.stats().inserts).await;
    }
    assert!(peek(&cache, &key(7777)).await.is_none(), "it was the oldest");
}

/// Whether a purge by tag hits an entry is known only when its record was read: by then it had counted as used.
async fn a_plain_get_of_a_softly_purged_entry_is_no_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let scopes = [
        PurgeScope::Tag("tag".into()),
        PurgeScope::Path { namespace: "ns".into(), path: "path-7777".into() },
    ];
    for scope in scopes {
        cache.insert_with(&key(7777), body(7777, 1, LEN), InsertOptions::new().tag("tag")).await.unwrap();
        cache.purge_with(scope.clone(), PurgeMode::Expire).await.unwrap();
        let before = cache.stats().evictions;
        let limit = cache.stats().inserts + 2000;
        while find_stale(&cache, &key(7777)).await.is_some() {
            assert!(cache.get(&key(7777)).await.unwrap().is_none());
            insert(&cache, cache.stats().inserts).await;
            assert!(cache.stats().inserts < limit, "{scope:?}: it never gets old");
        }
        assert!(cache.stats().evictions > before);
    }
}

async fn an_allowed_stale_hit_is_a_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    let oldest = order.pop_front().unwrap();
    cache.expire(&key(oldest)).await.unwrap();
    assert!(cache.get_with(&key(oldest), GetOptions::new().allow_stale(true)).await.unwrap().is_some());
    for n in 2_000_000..2_000_050 {
        insert(&cache, n).await;
    }
    assert!(find_stale(&cache, &key(oldest)).await.is_some());
    assert!(!cache.contains(&key(order[0])));
}

async fn an_overwrite_counts_as_a_use_and_its_bytes_count_once(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let Inserted::Stored { disk_size, .. } = cache.insert(&key(0), body(0, 0, LEN)).await.unwrap() else {
        panic!("it was not stored")
    };
    for version in 0..300 {
        cache.insert(&key(0), body(0, version, LEN)).await.unwrap();
        assert_eq!((cache.stats().entries, cache.stats().live_bytes), (1, disk_size));
    }
    for n in 1..=100 {
        insert(&cache, n).await;
    }
    cache.insert(&key(0), body(0, 999, LEN)).await.unwrap();
    while cache.stats().evictions < 100 {
        insert(&cache, 1000 + cache.stats().inserts).await;
    }
    assert_eq!(peek(&cache, &key(0)).await, Some(body(0, 999, LEN)));
    assert!(!cache.contains(&key(100)));
}

async fn a_new_meta_is_no_use_and_its_bytes_count_once(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    let oldest = order[0];
    let before = (cache.stats().entries, cache.stats().live_bytes);
    for _ in 0..20 {
        assert!(cache.update_meta(&key(oldest), body(1, 1, 8), Expiry::Never).await.unwrap());
        assert_eq!((cache.stats().entries, cache.stats().live_bytes - before.1), (before.0, 8));
    }
    evicts_in_order(&cache, &mut order, 20).await;
}

async fn the_order_is_one_over_all_namespaces(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let of = |n: u64| disk_cache::CacheKey::new(format!("ns-{}", n % 5), format!("path-{n}"));
    let mut n = 0;
    while cache.stats().evictions < 200 {
        cache.insert(&of(n), body(n, 1, LEN)).await.unwrap();
        n += 1;
    }
    let evicted = cache.stats().evictions;
    for m in 0..n {
        assert_eq!(cache.contains(&of(m)), m >= evicted, "{m}");
    }
}

async fn live_bytes_are_the_sum_of_the_entries_exactly(ctx: Ctx) {
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

async fn removed_bytes_are_given_back_exactly(ctx: Ctx) {
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
    common::until("the large bodies are unlinked", || ctx.object_files().is_empty()).await;
}

async fn the_quota_holds_at_every_step_for_small_bodies(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..2000 {
        insert(&cache, n).await;
        if n % 5 == 0 {
            within_quota(&ctx, &cache);
        }
    }
    assert!(cache.stats().evictions > 1000);
}

async fn the_quota_holds_at_every_step_for_large_bodies(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..150 {
        cache.insert(&key(n), body(n, 1, LARGE + 1000 * n as usize)).await.unwrap();
        within_quota(&ctx, &cache);
    }
    assert!(cache.stats().evictions > 50);
}

async fn the_quota_holds_at_every_step_for_mixed_sizes_and_overwrites(ctx: Ctx) {
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

async fn the_quota_holds_while_many_tasks_insert(ctx: Ctx) {
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

async fn the_quota_holds_in_a_cache_of_eight_segments(ctx: Ctx) {
    let cache = ctx.builder().capacity(ByteSize::bytes_of(8 * SEGMENT)).open().await.unwrap();
    for n in 0..800 {
        cache.insert(&key(n), body(n, 1, if n % 50 == 0 { LARGE } else { LEN })).await.unwrap();
        within_quota(&ctx, &cache);
        assert!(cache.contains(&key(n)));
    }
    assert!(cache.stats().entries > 20, "{:?}", cache.stats());
}

async fn the_quota_holds_with_segments_of_four_kib(ctx: Ctx) {
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

async fn the_quota_holds_over_restarts(ctx: Ctx) {
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

async fn a_full_cache_uses_most_of_its_capacity(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    full(&cache).await;
    let stats = cache.stats();
    assert!(stats.live_bytes * 10 > stats.capacity * 7, "{} live of {}", stats.live_bytes, stats.capacity);
}

async fn a_large_body_is_evicted_by_one_unlink(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut n = 0;
    while cache.stats().evictions == 0 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
        n += 1;
    }
    let written = cache.stats().bytes_written;
    let entries = cache.stats().entries;
    cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
    common::until("the body is unlinked", || ctx.object_files().len() as u64 == cache.stats().entries).await;
    assert!(cache.stats().entries <= entries);
    let moved = cache.stats().bytes_written - written;
    assert!(moved < LARGE as u64 + 10_000, "{moved} bytes written for one body");
}

async fn large_bodies_are_evicted_in_order(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut n = 0;
    while cache.stats().evictions < 20 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
        hit(&cache, &key(0)).await;
        n += 1;
    }
    let evicted = cache.stats().evictions;
    for m in 1..n {
        assert_eq!(cache.contains(&key(m)), m > evicted, "{m} of {n}, {evicted} evicted");
    }
    assert_eq!(get(&cache, &key(0)).await, Some(body(0, 1, LARGE)));
}

async fn large_and_small_bodies_share_one_order(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let len = |n: u64| if n.is_multiple_of(3) { LARGE } else { LEN };
    let mut n = 0;
    while cache.stats().evictions < 60 {
        cache.insert(&key(n), body(n, 1, len(n))).await.unwrap();
        n += 1;
    }
    let stats = cache.stats();
    assert_eq!(stats.early_evictions, 0);
    for m in 0..n {
        assert_eq!(cache.contains(&key(m)), m >= stats.evictions, "{m} of {n}");
    }
}

async fn a_body_of_half_the_capacity_fits_and_one_more_byte_does_not(ctx: Ctx) {
    let cache = ctx.open().await;
    let half = (16 * SEGMENT) as usize;
    for n in 0..4 {
        cache.insert(&key(n), body(n, 1, half)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, half)));
        within_quota(&ctx, &cache);
    }
    let refused = cache.insert(&key(9), body(9, 1, half + 1)).await;
    match refused {
        Err(Error::TooLarge { len, max, .. }) => assert_eq!((len, max), (half as u64 + 1, half as u64)),
        other => panic!("{other:?}"),
    }
}

async fn a_hit_that_is_held_keeps_its_bytes_in_the_quota(ctx: Ctx) {
    let cache = ctx.open().await;
    let len = 12 * SEGMENT as usize;
    cache.insert(&key(1), body(1, 1, len)).await.unwrap();
    let held = hit(&cache, &key(1)).await;
    let before = cache.stats().disk_bytes;
    cache.remove(&key(1)).await.unwrap();
    common::until("the body is unlinked", || ctx.object_files().is_empty()).await;
    assert!(cache.stats().disk_bytes >= before, "the disk has its bytes until the file is closed");
    assert_eq!(held.bytes().await.unwrap(), body(1, 1, len));
    drop(held);
    // The name is gone a moment before the one that removed it lets go of the file.
    common::until("the room is back", || cache.stats().disk_bytes + len as u64 <= before).await;
}

async fn without_room_an_insert_is_refused_and_works_again_later(ctx: Ctx) {
    let cache = ctx.open().await;
    let len = 10 * SEGMENT as usize;
    let mut held = Vec::new();
    for n in 0..2 {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
        held.push(hit(&cache, &key(n)).await);
        cache.remove(&key(n)).await.unwrap();
    }
    let refused = cache.insert(&key(5), body(5, 1, len)).await;
    assert!(matches!(refused, Err(Error::StorageFull { .. })), "{refused:?}");
    for (n, hit) in (0..).zip(&held) {
        assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len));
    }
    insert(&cache, 6).await;
    assert_eq!(get(&cache, &key(6)).await, Some(body(6, 1, LEN)), "there is room for small ones");
    drop(held);
    cache.insert(&key(5), body(5, 1, len)).await.unwrap();
    assert_eq!(get(&cache, &key(5)).await, Some(body(5, 1, len)));
}

async fn a_refused_insert_removes_the_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    insert(&cache, 1).await;
    assert!(cache.insert(&key(1), body(1, 2, 17 * SEGMENT as usize)).await.is_err());
    assert!(peek(&cache, &key(1)).await.is_none());
    cache.flush().await.unwrap();
    let cache = ctx.crash("crashed").open().await;
    assert!(peek(&cache, &key(1)).await.is_none(), "nor does a crash bring it back");
}

async fn no_entry_is_evicted_early_where_moving_is_free(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut random = cache_testkit::Rng::new(11);
    for version in 0..6000 {
        let below = random.below(400) + 1;
        let n = random.below(below);
        cache.insert(&key(n), body(n, version, LEN)).await.unwrap();
    }
    assert!(cache.stats().bytes_relocated > 0);
    assert_eq!(cache.stats().early_evictions, 0, "{:?}", cache.stats());
}

async fn without_a_budget_nothing_is_moved(ctx: Ctx) {
    let cache = ctx.builder().max_write_amplification(1.0).open().await.unwrap();
    for n in 0..3000 {
        insert(&cache, n).await;
        cache.get(&key(n % 300)).await.unwrap();
    }
    let stats = cache.stats();
    assert!(stats.bytes_relocated <= stats.capacity, "no more than what a cache starts with: {stats:?}");
}

async fn writes_stay_within_the_bound_on_amplification(ctx: Ctx) {
    for limit in [1.5, 3.0] {
        let dir = ctx.base.join(format!("limit-{limit}"));
        let cache = ctx.builder_at(&dir).max_write_amplification(limit).open().await.unwrap();
        let mut random = cache_testkit::Rng::new(5);
        let mut new = 0;
        for version in 0..8000 {
            // A cold half and a hot, overwritten one.
            let n = if random.below(10) == 0 { 1000 + random.below(300) } else { random.below(200) };
            let before = cache.stats().bytes_relocated;
            cache.insert(&key(n), body(n, version, LEN)).await.unwrap();
            assert!(cache.stats().bytes_relocated >= before);
            new += LEN as u64 + 200;
        }
        let stats = cache.stats();
        let bound = stats.capacity as f64 + new as f64 * (limit - 1.0);
        assert!((stats.bytes_relocated as f64) <= bound, "{} moved, {bound} allowed", stats.bytes_relocated);
        assert!(stats.bytes_relocated > 0);
    }
}

async fn expired_entries_stay_for_those_that_allow_stale_ones(ctx: Ctx) {
    let cache = ctx.open().await;
    let soon = InsertOptions::new().expiry(Expiry::After(Duration::from_secs(1)));
    for n in 0..100 {
        cache.insert_with(&key(n), body(n, 1, LEN), soon.clone()).await.unwrap();
    }
    ctx.clock.advance(Duration::from_secs(1_000_000));
    for n in 0..100 {
        assert!(get(&cache, &key(n)).await.is_none());
        assert_eq!(peek(&cache, &key(n)).await, Some(body(n, 1, LEN)));
    }
    assert_eq!(cache.stats().entries, 100);
}

async fn reclaim_keeps_the_expired_within_the_stale_window_only(ctx: Ctx) {
    for (window, kept) in [(Duration::ZERO, false), (Duration::from_secs(3600), true)] {
        let dir = ctx.base.join(format!("window-{kept}"));
        let builder = ctx.builder_at(&dir).max_write_amplification(1000.0).stale_window(window);
        let cache = builder.open().await.unwrap();
        let soon = InsertOptions::new().expiry(Expiry::After(Duration::from_secs(1)));
        for n in 0..20 {
            cache.insert_with(&key(n), body(n, 1, LEN), soon.clone()).await.unwrap();
        }
        ctx.clock.advance(Duration::from_secs(60));
        // Overwrites make dead bytes, so that reclaim has work while nothing needs to be evicted.
        for version in 0..1500 {
            let n = 1000 + version % 50;
            cache.insert(&key(n), body(n, version, LEN)).await.unwrap();
        }
        assert_eq!(cache.stats().evictions, 0);
        for n in 0..20 {
            assert_eq!(peek(&cache, &key(n)).await.is_some(), kept, "entry {n}, window {window:?}");
        }
    }
}

async fn a_cache_of_hot_entries_keeps_them_under_a_flood(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..20 {
        insert(&cache, n).await;
    }
    for n in 100..3000 {
        insert(&cache, n).await;
        hit(&cache, &key(n % 20)).await;
    }
    for n in 0..20 {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, LEN)), "entry {n}");
    }
}

async fn evictions_are_counted_one_by_one(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    for n in 0..1500 {
        insert(&cache, n).await;
        let stats = cache.stats();
        assert_eq!(stats.entries + stats.evictions + stats.early_evictions, n + 1);
    }
}

async fn an_evicted_key_can_come_back(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..1000 {
        insert(&cache, n).await;
    }
    assert!(peek(&cache, &key(0)).await.is_none());
    cache.insert(&key(0), body(0, 2, LEN)).await.unwrap();
    assert_eq!(get(&cache, &key(0)).await, Some(body(0, 2, LEN)));
}
