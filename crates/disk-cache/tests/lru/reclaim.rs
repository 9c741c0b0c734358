//! What reclaim moves, and what it gives up.

use crate::{
    LEN,
    common::{Ctx, LARGE, body, get, hit, key, peek},
    free_moves, full, insert,
};
use disk_cache::{Expiry, InsertOptions};
use std::{collections::HashMap, time::Duration};

/// So many keys, the least recently used of them replaced.
struct Lru {
    most: usize,
    now: u64,
    used: HashMap<u64, u64>,
}

impl Lru {
    fn of(most: usize) -> Self {
        Self { most, now: 0, used: HashMap::new() }
    }

    /// Uses a key; whether it was there.
    fn was_there(&mut self, n: u64) -> bool {
        self.now += 1;
        let there = self.used.insert(n, self.now).is_some();
        if self.used.len() > self.most
            && let Some(oldest) = self.used.iter().min_by_key(|(_, used)| **used).map(|(n, _)| *n)
        {
            self.used.remove(&oldest);
        }
        there
    }
}

pub(crate) async fn no_entry_is_evicted_early_where_moving_is_free(ctx: Ctx) {
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

pub(crate) async fn without_a_budget_nothing_is_moved(ctx: Ctx) {
    let cache = ctx.builder().max_write_amplification(1.0).open().await.unwrap();
    for n in 0..3000 {
        insert(&cache, n).await;
        cache.get(&key(n % 300)).await.unwrap();
    }
    let stats = cache.stats();
    assert!(stats.bytes_relocated <= stats.capacity, "no more than what a cache starts with: {stats:?}");
}

pub(crate) async fn writes_stay_within_the_bound_on_amplification(ctx: Ctx) {
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

/// The most recent ones of all were moved, as many as the bound on write amplification allows: twice the writes, and fewer hits.
pub(crate) async fn a_full_cache_moves_little_but_what_is_used_and_hits_about_as_often_as_an_exact_lru(
    ctx: Ctx,
) {
    const ROUNDS: u64 = 40_000;
    let cache = ctx.open().await;
    let mut random = cache_testkit::Rng::new(17);
    let mut order = Lru::of(full(&cache).await.len());
    let mut counted = (0, 0);
    let mut before = cache.stats();
    for round in 0..ROUNDS {
        if round == ROUNDS / 4 {
            (before, counted) = (cache.stats(), (0, 0));
        }
        let below = random.below(1500) + 1;
        let n = random.below(below);
        counted.1 += u64::from(order.was_there(n));
        if get(&cache, &key(n)).await.is_some() {
            counted.0 += 1;
        } else {
            insert(&cache, n).await;
        }
    }
    let after = cache.stats();
    let moved = after.bytes_relocated - before.bytes_relocated;
    let amplification = (after.bytes_written - before.bytes_written) as f64
        / (after.bytes_written - before.bytes_written - moved) as f64;
    println!("{} hits, {} of an exact LRU, write amplification {amplification:.2}", counted.0, counted.1);
    assert!(amplification < 2.4, "{amplification:.2}");
    assert!(counted.0 * 100 > counted.1 * 97, "{} hits, {} of an exact LRU", counted.0, counted.1);
}

/// Room for the log came from the log alone: of small entries beside large bodies hardly one stayed.
pub(crate) async fn large_bodies_that_nobody_uses_make_room_before_the_small_ones_beside_them(ctx: Ctx) {
    const SMALL: u64 = 40;
    let cache = ctx.open().await;
    let large = |n: u64| key(1_000 + n);
    for n in 0..SMALL {
        insert(&cache, n).await;
        if n % 10 == 0 {
            cache.insert(&large(n / 10), body(n, 1, LARGE)).await.unwrap();
        }
    }
    let mut n = SMALL;
    while cache.stats().live_bytes < 1_650_000 {
        insert(&cache, n).await;
        n += 1;
    }
    // Nothing more than the last ones again and again: what is dead lies in the newest segments.
    let mut again = 0;
    while cache.contains(&large(0)) {
        assert!(again < 2_000, "nothing made room: {:?}", cache.stats());
        cache.insert(&key(n - 1 - again % 20), body(n, again, LEN)).await.unwrap();
        let gone = (0..SMALL).filter(|n| !cache.contains(&key(*n))).count();
        assert_eq!(gone, 0, "small ones went before large ones: {:?}", cache.stats());
        again += 1;
    }
    assert!(cache.contains(&large(2)), "more went than was wanted: {:?}", cache.stats());
}

pub(crate) async fn expired_entries_stay_for_those_that_allow_stale_ones(ctx: Ctx) {
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

pub(crate) async fn reclaim_keeps_the_expired_within_the_stale_window_only(ctx: Ctx) {
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

pub(crate) async fn a_cache_of_hot_entries_keeps_them_under_a_flood(ctx: Ctx) {
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
