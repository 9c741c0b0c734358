//! What counts as a use, and who goes first.

use crate::{
    LEN,
    common::{Ctx, body, find_stale, get, hit, key, peek},
    evicts_in_order, free_moves, full, insert,
};
use disk_cache::{Expiry, GetOptions, InsertOptions, Inserted, PurgeMode, PurgeScope};
use std::time::Duration;

pub(crate) async fn nothing_is_evicted_while_there_is_room(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..300 {
        insert(&cache, n).await;
    }
    assert_eq!((cache.stats().evictions, cache.stats().early_evictions, cache.stats().entries), (0, 0, 300));
    for n in 0..300 {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, LEN)));
    }
}

pub(crate) async fn the_least_recently_written_goes_first(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    evicts_in_order(&cache, &mut order, 700).await;
}

pub(crate) async fn a_get_makes_an_entry_the_latest(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    for _ in 0..3 {
        let oldest = order.pop_front().unwrap();
        hit(&cache, &key(oldest)).await;
        order.push_back(oldest);
        evicts_in_order(&cache, &mut order, 1).await;
    }
}

pub(crate) async fn gets_in_any_order_are_followed_exactly(ctx: Ctx) {
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

pub(crate) async fn a_peek_is_no_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    for n in order.iter().take(50) {
        assert!(cache.get_with(&key(*n), GetOptions::new().peek(true)).await.unwrap().is_some());
        assert!(peek(&cache, &key(*n)).await.is_some());
    }
    evicts_in_order(&cache, &mut order, 100).await;
}

pub(crate) async fn contains_is_no_use(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut order = full(&cache).await;
    for n in order.iter().take(50) {
        assert!(cache.contains(&key(*n)));
    }
    evicts_in_order(&cache, &mut order, 100).await;
}

pub(crate) async fn a_plain_get_of_an_expired_entry_is_no_use(ctx: Ctx) {
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
pub(crate) async fn a_plain_get_of_a_softly_purged_entry_is_no_use(ctx: Ctx) {
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

pub(crate) async fn an_allowed_stale_hit_is_a_use(ctx: Ctx) {
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

pub(crate) async fn an_overwrite_counts_as_a_use_and_its_bytes_count_once(ctx: Ctx) {
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

pub(crate) async fn a_new_meta_is_no_use_and_its_bytes_count_once(ctx: Ctx) {
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

pub(crate) async fn the_order_is_one_over_all_namespaces(ctx: Ctx) {
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

pub(crate) async fn evictions_are_counted_one_by_one(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    for n in 0..1500 {
        insert(&cache, n).await;
        let stats = cache.stats();
        assert_eq!(stats.entries + stats.evictions + stats.early_evictions, n + 1);
    }
}

pub(crate) async fn an_evicted_key_can_come_back(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..1000 {
        insert(&cache, n).await;
    }
    assert!(peek(&cache, &key(0)).await.is_none());
    cache.insert(&key(0), body(0, 2, LEN)).await.unwrap();
    assert_eq!(get(&cache, &key(0)).await, Some(body(0, 2, LEN)));
}
