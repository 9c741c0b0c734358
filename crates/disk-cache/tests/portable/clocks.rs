//! Clocks that jump: time decides what is stale and nothing else.

use crate::common::{Ctx, LARGE, body, epoch, find_stale, get, hit, key, peek, synced};
use disk_cache::{Expiry, InsertOptions, PurgeMode, PurgeScope};
use std::{
    fs,
    time::{Duration, SystemTime},
};

const TEN_YEARS: Duration = Duration::from_secs(3652 * 86_400);
const HOUR: Duration = Duration::from_secs(3600);

fn an_hour() -> InsertOptions {
    InsertOptions::new().expiry(Expiry::After(HOUR))
}

pub(crate) async fn a_clock_set_back_ten_years_keeps_everything_fresh(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 100), an_hour()).await.unwrap();
    cache.insert_with(&key(2), body(2, 1, LARGE), an_hour()).await.unwrap();
    ctx.clock.set(epoch() + 2 * HOUR);
    assert!(get(&cache, &key(1)).await.is_none());
    ctx.clock.set(epoch() - TEN_YEARS);
    for n in [1, 2] {
        let hit = hit(&cache, &key(n)).await;
        assert_eq!(
            (hit.is_stale(), hit.created_at(), hit.expires_at()),
            (false, epoch(), Some(epoch() + HOUR))
        );
    }
    // What is stored now is an hour old in an hour of this clock.
    cache.insert_with(&key(3), body(3, 1, 100), an_hour()).await.unwrap();
    ctx.clock.advance(HOUR);
    assert!(get(&cache, &key(3)).await.is_none() && get(&cache, &key(1)).await.is_some());
    cache.close().await.unwrap();
    let cache = ctx.open().await;
    assert!(get(&cache, &key(3)).await.is_none() && get(&cache, &key(1)).await.is_some());
}

pub(crate) async fn a_clock_set_forth_ten_years_makes_stale_what_expires_and_nothing_else(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 100), an_hour()).await.unwrap();
    cache.insert(&key(2), body(2, 1, 100)).await.unwrap();
    ctx.clock.set(epoch() + TEN_YEARS);
    assert!(!cache.contains(&key(1)) && cache.contains(&key(2)));
    assert!(find_stale(&cache, &key(1)).await.unwrap().is_stale());
    assert_eq!(get(&cache, &key(2)).await, Some(body(2, 1, 100)));
    assert_eq!(cache.stats().entries, 2, "a stale entry stays until its room is wanted");
    // The jump was a mistake.
    ctx.clock.set(epoch());
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
}

pub(crate) async fn a_soft_purge_holds_wherever_the_clock_goes(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 1..=3 {
        cache.insert_with(&key(n), body(n, 1, 100), synced()).await.unwrap();
    }
    cache.expire(&key(1)).await.unwrap();
    let path = PurgeScope::Path { namespace: "ns".into(), path: "path-2".into() };
    cache.purge_with(path, PurgeMode::Expire).await.unwrap();
    for by in [-1i32, 1, -2] {
        let years = TEN_YEARS * by.unsigned_abs();
        ctx.clock.set(if by < 0 { epoch() - years } else { epoch() + years });
        let cache = ctx.crash(&format!("at-{by}")).open().await;
        for n in [1, 2] {
            assert!(get(&cache, &key(n)).await.is_none(), "entry {n} at {by}");
            assert!(find_stale(&cache, &key(n)).await.unwrap().is_stale());
        }
        assert!(get(&cache, &key(3)).await.is_some());
    }
}

pub(crate) async fn the_log_tells_what_is_newer_and_the_clock_does_not(ctx: Ctx) {
    let cache = ctx.open().await;
    // Each version seems older than the one before it.
    for version in 0..5u32 {
        ctx.clock.set(epoch() - TEN_YEARS * version);
        for n in 0..4 {
            let len = if n == 0 { LARGE } else { 500 };
            cache.insert(&key(n), body(n, u64::from(version), len)).await.unwrap();
        }
    }
    // Removed, purged, and stored again "before" that.
    cache.remove(&key(1)).await.unwrap();
    cache.purge(PurgeScope::Path { namespace: "ns".into(), path: "path-2".into() }).await.unwrap();
    ctx.clock.set(epoch() - TEN_YEARS * 6);
    cache.insert_with(&key(2), body(2, 9, 500), synced()).await.unwrap();
    cache.flush().await.unwrap();
    for now in [epoch(), epoch() - TEN_YEARS * 2, epoch() + TEN_YEARS] {
        ctx.clock.set(now);
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let cache = ctx.crash(&format!("at-{seconds}")).open().await;
        assert_eq!(peek(&cache, &key(0)).await, Some(body(0, 4, LARGE)));
        assert_eq!(peek(&cache, &key(1)).await, None);
        assert_eq!(peek(&cache, &key(2)).await, Some(body(2, 9, 500)));
        assert_eq!(peek(&cache, &key(3)).await, Some(body(3, 4, 500)));
    }
}

pub(crate) async fn the_order_of_use_does_not_depend_on_the_clock(ctx: Ctx) {
    let cache = ctx.builder().max_write_amplification(1000.0).open().await.unwrap();
    for n in 0..200 {
        ctx.clock.set(epoch() - HOUR * n as u32);
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    for n in 0..50 {
        ctx.clock.set(epoch() - TEN_YEARS - HOUR * n as u32);
        hit(&cache, &key(n)).await;
    }
    let mut n = 1000;
    while cache.stats().evictions < 150 {
        ctx.clock.advance(TEN_YEARS / 100);
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        n += 1;
    }
    for n in 0..200 {
        assert_eq!(cache.contains(&key(n)), n < 50, "entry {n}");
    }
}

pub(crate) async fn a_cache_made_in_the_future_opens_in_the_past(ctx: Ctx) {
    ctx.clock.set(epoch() + TEN_YEARS * 5);
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 100), an_hour()).await.unwrap();
    cache.close().await.unwrap();
    ctx.clock.set(epoch());
    for _ in 0..2 {
        let cache = ctx.open().await;
        let hit = hit(&cache, &key(1)).await;
        assert_eq!(hit.created_at(), epoch() + TEN_YEARS * 5);
        cache.close().await.unwrap();
        // Once by the snapshot, once by the log.
        fs::remove_file(ctx.snapshot()).unwrap();
    }
}

pub(crate) async fn a_clock_before_1970_makes_stale_at_once_what_lives_for_no_time(ctx: Ctx) {
    ctx.clock.set(SystemTime::UNIX_EPOCH - TEN_YEARS);
    let cache = ctx.open().await;
    cache
        .insert_with(&key(1), body(1, 1, 10), InsertOptions::new().expiry(Expiry::After(Duration::ZERO)))
        .await
        .unwrap();
    cache.insert_with(&key(2), body(2, 1, 10), an_hour()).await.unwrap();
    assert!(get(&cache, &key(1)).await.is_none());
    assert!(find_stale(&cache, &key(1)).await.unwrap().is_stale());
    assert_eq!(get(&cache, &key(2)).await, Some(body(2, 1, 10)));
}

pub(crate) async fn times_beyond_32_bits_are_kept_to_the_millisecond(ctx: Ctx) {
    // After 2038, after 2106, and in 5138.
    for (n, seconds) in (0..).zip([1u64 << 31, 1 << 32, 100_000_000_000]) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7);
        ctx.clock.set(now);
        let cache = ctx.open().await;
        cache.insert_with(&key(n), body(n, 1, 100), an_hour()).await.unwrap();
        cache.close().await.unwrap();
        if n % 2 == 0 {
            fs::remove_file(ctx.snapshot()).unwrap();
        }
        let cache = ctx.open().await;
        let found = hit(&cache, &key(n)).await;
        assert_eq!((found.created_at(), found.expires_at()), (now, Some(now + HOUR)));
        ctx.clock.set(now + HOUR - Duration::from_millis(1));
        assert!(cache.contains(&key(n)));
        ctx.clock.set(now + HOUR);
        assert!(!cache.contains(&key(n)));
        cache.close().await.unwrap();
    }
}
