//! Expiry, clear, flush and counts.

use crate::{
    common::{Ctx, LARGE, body, epoch, get, hit, key, peek},
    stale,
};
use disk_cache::{CacheKey, Expiry, InsertOptions, PurgeScope};
use std::time::Duration;

pub(crate) async fn an_expired_entry_is_a_miss_and_a_stale_hit(ctx: Ctx) {
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

pub(crate) async fn the_default_ttl_is_for_those_that_name_no_expiry(ctx: Ctx) {
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

pub(crate) async fn clear_removes_everything_and_gives_the_space_back(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..200 {
        cache.insert(&key(n), body(n, 1, if n % 40 == 0 { LARGE } else { 3000 })).await.unwrap();
    }
    let before = cache.stats().disk_bytes;
    cache.clear().await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.live_bytes), (0, 0));
    crate::common::until("the space is back", || cache.stats().disk_bytes <= 3 * crate::common::SEGMENT)
        .await;
    assert!(before > 6 * crate::common::SEGMENT);
    assert!(ctx.object_files().is_empty());
    for n in 0..200 {
        assert!(peek(&cache, &key(n)).await.is_none());
    }
    cache.insert(&key(1), body(1, 2, 10)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, 10)));
}

pub(crate) async fn flush_brings_everything_to_the_disk(ctx: Ctx) {
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

pub(crate) async fn stats_count_what_happened(ctx: Ctx) {
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
    assert_eq!((s.capacity, s.fallback_reason.as_deref()), (32 * crate::common::SEGMENT, None));
    assert!(s.healthy && s.segments >= 1 && s.open_files >= s.segments && s.index_bytes > 0);
    assert!(s.bytes_written >= 6 * 500 && s.live_bytes > 3 * 500 && s.disk_bytes >= s.live_bytes);
}

pub(crate) async fn stats_of_count_one_namespace(ctx: Ctx) {
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
