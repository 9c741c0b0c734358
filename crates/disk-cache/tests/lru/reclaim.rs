//! What reclaim moves, and what it gives up.

use crate::{
    LEN,
    common::{Ctx, LARGE, SEGMENT, body, get, hit, key, peek},
    free_moves, full, insert,
};
use disk_cache::{Expiry, InsertOptions};
use std::{collections::HashMap, time::Duration};

/// Keys of so many bytes together, the least recently used of them replaced.
struct Lru {
    most: usize,
    bytes: usize,
    now: u64,
    /// When each was used last, and its bytes.
    used: HashMap<u64, (u64, usize)>,
}

impl Lru {
    fn of(most: usize) -> Self {
        Self { most, bytes: 0, now: 0, used: HashMap::new() }
    }

    /// Uses a key; whether it was there.
    fn was_there(&mut self, n: u64, len: usize) -> bool {
        self.now += 1;
        let there = self.used.insert(n, (self.now, len)).is_some();
        self.bytes += if there { 0 } else { len };
        while self.bytes > self.most
            && let Some((&oldest, &(_, len))) = self.used.iter().min_by_key(|(_, (used, _))| *used)
        {
            self.used.remove(&oldest);
            self.bytes -= len;
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
    let mut order = Lru::of(full(&cache).await.len() * LEN);
    let mut counted = (0, 0);
    let mut before = cache.stats();
    for round in 0..ROUNDS {
        if round == ROUNDS / 4 {
            (before, counted) = (cache.stats(), (0, 0));
        }
        let below = random.below(1500) + 1;
        let n = random.below(below);
        counted.1 += u64::from(order.was_there(n, LEN));
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

/// Room for the log came from the log alone: a cache of both gave its small entries up and kept the large bodies.
pub(crate) async fn large_bodies_and_small_ones_are_hit_about_as_often_as_in_an_exact_lru_of_both(ctx: Ctx) {
    const ROUNDS: u64 = 40_000;
    let len = |n: u64| if n.is_multiple_of(5) { LARGE } else { LEN };
    let cache = ctx.open().await;
    let mut random = cache_testkit::Rng::new(23);
    let (mut order, mut counted) = (Lru::of(27 * SEGMENT as usize), [(0, 0); 2]);
    for round in 0..ROUNDS {
        let below = random.below(900) + 1;
        let n = random.below(below);
        let was_there = order.was_there(n, len(n));
        let is_there = get(&cache, &key(n)).await.is_some();
        if !is_there {
            cache.insert(&key(n), body(n, 1, len(n))).await.unwrap();
        }
        if round >= ROUNDS / 4 {
            let (hits, exact) = &mut counted[usize::from(len(n) == LARGE)];
            *hits += u64::from(is_there);
            *exact += u64::from(was_there);
        }
    }
    println!("hits and those of an exact LRU: {:?} small, {:?} large", counted[0], counted[1]);
    for (hits, exact) in counted {
        assert!(hits * 100 > exact * 94, "{hits} hits, {exact} of an exact LRU");
    }
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
