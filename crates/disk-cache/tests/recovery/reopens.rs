//! What an open finds after a clean close, a crash, and a crash of an open.

use crate::{
    common::{Ctx, LARGE, body, find_stale, get, hit, key, peek},
    crashed, filled_and_closed, intact, reopened,
};
use disk_cache::{CacheKey, DiskCache, Expiry, InsertOptions, PurgeMode, PurgeScope, RecoverySource};
use std::{fs, time::Duration};

pub(crate) async fn a_new_directory_is_made_and_reported_as_fresh(ctx: Ctx) {
    let ctx = Ctx { dir: ctx.base.join("a/b/c"), ..ctx };
    let cache = ctx.open().await;
    let report = cache.recovery_report();
    assert_eq!((report.source, report.entries, report.segments), (RecoverySource::Fresh, 0, 0));
    assert_eq!(report.dropped, disk_cache::Dropped::default());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&ctx.dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

pub(crate) async fn a_clean_reopen_finds_everything_by_the_snapshot(ctx: Ctx) {
    filled_and_closed(&ctx, 100, 700).await;
    let cache = ctx.open().await;
    let report = cache.recovery_report().clone();
    assert_eq!((report.source, report.entries), (RecoverySource::Snapshot, 100));
    assert!(report.recency_known && !report.snapshot_ignored);
    assert_eq!((report.scanned_segments, report.dropped), (0, disk_cache::Dropped::default()));
    assert_eq!(intact(&cache, 100, 700).await, 100);
}

pub(crate) async fn a_clean_reopen_keeps_the_order_of_use(ctx: Ctx) {
    let builder = || ctx.builder().max_write_amplification(1000.0);
    let cache = builder().open().await.unwrap();
    for n in 0..400 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    // Used in another order than written: the first hundred are the latest now.
    for n in 0..100 {
        hit(&cache, &key(n)).await;
    }
    cache.close().await.unwrap();
    let cache = builder().open().await.unwrap();
    assert!(cache.recovery_report().recency_known);
    let mut n = 1000;
    while cache.stats().evictions < 300 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        n += 1;
    }
    assert_eq!((cache.stats().evictions, cache.stats().early_evictions), (300, 0));
    for n in 0..400 {
        assert_eq!(peek(&cache, &key(n)).await.is_some(), n < 100, "entry {n}");
    }
}

pub(crate) async fn an_open_without_the_snapshot_finds_everything_in_the_log(ctx: Ctx) {
    filled_and_closed(&ctx, 100, 700).await;
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    let report = cache.recovery_report().clone();
    assert_eq!((report.source, report.entries, report.scanned_segments), (RecoverySource::Log, 100, 0));
    assert!(!report.recency_known && !report.snapshot_ignored);
    assert_eq!(intact(&cache, 100, 700).await, 100);
}

pub(crate) async fn an_open_after_a_crash_finds_what_was_flushed(ctx: Ctx) {
    let ctx = crashed(&ctx, 100, 2000).await;
    let cache = ctx.open().await;
    let report = cache.recovery_report().clone();
    assert_eq!((report.source, report.entries), (RecoverySource::Log, 100));
    assert!(report.scanned_segments > 0);
    assert_eq!(intact(&cache, 100, 2000).await, 100);
}

pub(crate) async fn an_open_after_an_open_that_crashed_finds_the_same(ctx: Ctx) {
    let mut ctx = crashed(&ctx, 100, 700).await;
    for n in 0..5 {
        let cache = ctx.open().await;
        assert_eq!(intact(&cache, 100, 700).await, 100, "open {n}");
        ctx = ctx.crash(&format!("crash-{n}"));
    }
}

pub(crate) async fn metas_expiries_and_staleness_survive_every_kind_of_reopen(ctx: Ctx) {
    let minute = Duration::from_secs(60);
    for way in 0..3 {
        let ctx = Ctx { dir: ctx.base.join(format!("way-{way}")), ..ctx.clone() };
        let cache = ctx.open().await;
        for (n, len) in [(1, 700), (2, LARGE)] {
            let options = InsertOptions::new().meta("first").expiry(Expiry::After(minute));
            cache.insert_with(&key(n), body(n, 1, len), options).await.unwrap();
            cache.update_meta(&key(n), "second".into(), Expiry::Keep).await.unwrap();
        }
        cache.insert(&key(3), body(3, 1, 10)).await.unwrap();
        cache.expire(&key(3)).await.unwrap();
        cache.insert(&key(4), body(4, 1, 10)).await.unwrap();
        cache.expire(&key(4)).await.unwrap();
        cache.update_meta(&key(4), "lifted".into(), Expiry::Never).await.unwrap();
        let before = hit(&cache, &key(1)).await;
        let (ctx, cache) = reopened(&ctx, cache, way).await;
        for (n, len) in [(1, 700), (2, LARGE)] {
            let hit = hit(&cache, &key(n)).await;
            assert_eq!(
                (hit.meta().as_ref(), hit.expires_at()),
                (&b"second"[..], before.expires_at()),
                "way {way}"
            );
            assert_eq!(hit.created_at(), before.created_at());
            assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len));
        }
        assert_eq!(hit(&cache, &key(1)).await.id(), before.id());
        assert!(find_stale(&cache, &key(3)).await.unwrap().is_stale(), "way {way}");
        assert_eq!(hit(&cache, &key(4)).await.meta(), "lifted");
        ctx.clock.advance(minute);
        assert!(get(&cache, &key(1)).await.is_none());
    }
}

pub(crate) async fn removals_and_purges_survive_every_kind_of_reopen(ctx: Ctx) {
    for way in 0..3 {
        let ctx = Ctx { dir: ctx.base.join(format!("way-{way}")), ..ctx.clone() };
        let cache = ctx.open().await;
        let of = |namespace: &str, path: &str| CacheKey::new(namespace, path);
        let all = [
            of("a", "removed"),
            of("a", "path"),
            of("a", "prefix/1"),
            of("b", "x"),
            of("c", "tagged"),
            of("c", "soft"),
            of("c", "kept"),
        ];
        for key in &all {
            let tag = if key.path() == b"tagged" { "t" } else { "u" };
            cache.insert_with(key, body(1, 1, 100), InsertOptions::new().tag(tag)).await.unwrap();
        }
        cache.remove(&all[0]).await.unwrap();
        cache.purge(PurgeScope::Path { namespace: "a".into(), path: "path".into() }).await.unwrap();
        cache.purge(PurgeScope::Prefix { namespace: "a".into(), prefix: "pref".into() }).await.unwrap();
        cache.purge(PurgeScope::Namespace("b".into())).await.unwrap();
        cache.purge(PurgeScope::Tag("t".into())).await.unwrap();
        let soft = PurgeScope::Path { namespace: "c".into(), path: "soft".into() };
        cache.purge_with(soft, PurgeMode::Expire).await.unwrap();
        cache.insert(&of("b", "later"), body(2, 2, 100)).await.unwrap();
        let (_, cache) = reopened(&ctx, cache, way).await;
        for key in &all[..5] {
            assert!(peek(&cache, key).await.is_none(), "{key:?}, way {way}");
        }
        assert!(find_stale(&cache, &all[5]).await.unwrap().is_stale(), "way {way}");
        assert!(get(&cache, &all[5]).await.is_none());
        assert!(get(&cache, &all[6]).await.is_some() && get(&cache, &of("b", "later")).await.is_some());
    }
}

pub(crate) async fn the_newest_of_many_versions_survives_every_kind_of_reopen(ctx: Ctx) {
    for way in 0..3 {
        let ctx = Ctx { dir: ctx.base.join(format!("way-{way}")), ..ctx.clone() };
        let cache = ctx.open().await;
        for version in 0..40 {
            for n in 0..5 {
                let len = if version % 7 == n { 9000 } else { 900 };
                cache.insert(&key(n), body(n, version, len)).await.unwrap();
            }
        }
        let mut wanted = Vec::new();
        for n in 0..5 {
            wanted.push(peek(&cache, &key(n)).await.unwrap());
        }
        let (_, cache) = reopened(&ctx, cache, way).await;
        assert_eq!(cache.stats().entries, 5);
        for n in 0..5 {
            assert_eq!(peek(&cache, &key(n)).await.as_ref(), wanted.get(n as usize), "way {way}");
        }
    }
}

pub(crate) async fn a_reclaimed_log_is_recovered(ctx: Ctx) {
    for way in 0..3 {
        let ctx = Ctx { dir: ctx.base.join(format!("way-{way}")), ..ctx.clone() };
        let cache = ctx.open().await;
        cache.insert(&key(5000), body(5000, 1, 3000)).await.unwrap();
        for n in 0..1500 {
            cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
            if n % 50 == 0 {
                hit(&cache, &key(5000)).await;
            }
        }
        assert!(cache.stats().bytes_relocated > 0);
        let evicted = |cache: &DiskCache| cache.stats().evictions + cache.stats().early_evictions;
        let (witness, before) = (cache.clone(), evicted(&cache));
        let mut there = Vec::new();
        for n in 0..1500 {
            there.push(peek(&cache, &key(n)).await.is_some());
        }
        let (_, cache) = reopened(&ctx, cache, way).await;
        assert_eq!(peek(&cache, &key(5000)).await, Some(body(5000, 1, 3000)), "it was moved, way {way}");
        let mut lost = 0;
        for (n, there) in (0..).zip(there) {
            let found = peek(&cache, &key(n)).await;
            assert!(found.is_none() || found == Some(body(n, 1, 3000)));
            // Evicted ones may come back.
            lost += u64::from(found.is_none() && there);
        }
        // Without the snapshot the order of use is that of the log, and some that come back are kept in the place of others.
        let excused = evicted(&witness) - before + evicted(&cache);
        assert!(lost <= excused, "{lost} entries are lost, {excused} were evicted meanwhile, way {way}");
        let stats = cache.stats();
        assert!(stats.disk_bytes <= stats.capacity);
    }
}
