//! One directory, two backends; and which of them is taken.

use crate::common::{
    Ctx, LARGE, Skip, Verdict, body, copy_dir, find_stale, get, hit, id, key, no_io_uring, peek, synced,
};
use disk_cache::{
    BackendChoice, BackendKind, CacheKey, DiskCache, Durability, Error, Expiry, InsertOptions, PurgeMode,
    PurgeScope, RecoverySource,
};
use std::time::Duration;

/// The same with the other backend.
fn other(ctx: &Ctx) -> Result<Ctx, Skip> {
    match (ctx.backend, no_io_uring()) {
        (BackendChoice::IoUring, _) => Ok(ctx.with_backend(BackendChoice::Tokio)),
        (_, None) => Ok(ctx.with_backend(BackendChoice::IoUring)),
        (_, Some(reason)) => Err(Skip(format!("it needs io_uring too: {reason}"))),
    }
}

const LENGTHS: [usize; 5] = [0, 1, 700, 8000, LARGE];

async fn fill(cache: &DiskCache) {
    for (n, len) in (0..).zip(LENGTHS) {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
}

async fn check(cache: &DiskCache) {
    for (n, len) in (0..).zip(LENGTHS) {
        assert_eq!(peek(cache, &key(n)).await, Some(body(n, 1, len)), "{len} bytes");
    }
}

pub(crate) async fn a_directory_that_one_backend_closed_is_opened_by_the_other(ctx: Ctx) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.open().await;
    fill(&cache).await;
    cache.close().await.unwrap();
    let cache = other.open().await;
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot);
    check(&cache).await;
    Ok(())
}

pub(crate) async fn a_directory_that_one_backend_left_in_a_crash_is_recovered_by_the_other(
    ctx: Ctx,
) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.open().await;
    fill(&cache).await;
    cache.flush().await.unwrap();
    let other = Ctx { dir: ctx.crash("crashed").dir, ..other };
    let cache = other.open().await;
    assert_eq!((cache.recovery_report().source, cache.stats().entries), (RecoverySource::Log, 5));
    check(&cache).await;
    Ok(())
}

pub(crate) async fn what_one_backend_acknowledged_as_written_is_found_by_the_other(ctx: Ctx) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.open().await;
    for (n, durability) in (0..).zip([Durability::Written, Durability::Synced]) {
        let options = InsertOptions::new().durability(durability);
        cache.insert_with(&key(n), body(n, 1, 700), options.clone()).await.unwrap();
        cache.insert_with(&key(10 + n), body(n, 1, LARGE), options).await.unwrap();
        // Not flushed: what is acknowledged is in the files right now.
        let other = Ctx { dir: ctx.crash(&format!("crash-{n}")).dir, ..other.clone() };
        let cache = other.open().await;
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 700)), "{durability:?}");
        assert_eq!(get(&cache, &key(10 + n)).await, Some(body(n, 1, LARGE)), "{durability:?}");
    }
    Ok(())
}

pub(crate) async fn removals_and_purges_by_one_backend_hold_under_the_other(ctx: Ctx) -> Verdict {
    let other = other(&ctx)?;
    let of = |namespace: &str| CacheKey::new(namespace, "path");
    let cache = ctx.open().await;
    for name in ["kept", "removed", "namespace", "path", "prefix"] {
        cache.insert_with(&of(name), body(1, 1, 300), synced()).await.unwrap();
    }
    cache.close().await.unwrap();
    // Removed by the other backend than the one that stored them, and looked for by the first again.
    let cache = other.open().await;
    assert!(cache.remove(&of("removed")).await.unwrap());
    cache.purge(PurgeScope::Namespace("namespace".into())).await.unwrap();
    cache.purge(PurgeScope::Path { namespace: "path".into(), path: "path".into() }).await.unwrap();
    cache.purge(PurgeScope::Prefix { namespace: "prefix".into(), prefix: "pa".into() }).await.unwrap();
    let cache = Ctx { backend: ctx.backend, ..other.crash("crashed") }.open().await;
    assert!(get(&cache, &of("kept")).await.is_some());
    for name in ["removed", "namespace", "path", "prefix"] {
        assert!(peek(&cache, &of(name)).await.is_none(), "{name}");
    }
    Ok(())
}

pub(crate) async fn tags_and_labels_stored_by_one_backend_are_purged_by_the_other(ctx: Ctx) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.open().await;
    for n in 0..4 {
        let options = InsertOptions::new().tag(format!("tag-{n}")).label(format!("label-{n}"));
        cache.insert_with(&key(n), body(n, 1, if n == 0 { LARGE } else { 200 }), options).await.unwrap();
    }
    cache.close().await.unwrap();
    let cache = other.open().await;
    cache.purge(PurgeScope::Tag("tag-0".into())).await.unwrap();
    cache.purge(PurgeScope::Prefix { namespace: "ns".into(), prefix: "label-1".into() }).await.unwrap();
    for n in 0..4 {
        assert_eq!(peek(&cache, &key(n)).await.is_some(), n >= 2, "entry {n}");
    }
    Ok(())
}

pub(crate) async fn metas_expiries_and_stale_marks_of_one_backend_are_read_by_the_other(ctx: Ctx) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.open().await;
    let options = InsertOptions::new().meta("meta").expiry(Expiry::After(Duration::from_secs(60)));
    for (n, len) in [(1, 100), (2, LARGE)] {
        cache.insert_with(&key(n), body(n, 1, len), options.clone()).await.unwrap();
    }
    cache.insert(&key(3), body(3, 1, 100)).await.unwrap();
    cache.expire(&key(3)).await.unwrap();
    let before = hit(&cache, &key(1)).await;
    cache.close().await.unwrap();
    let cache = other.open().await;
    for n in [1, 2] {
        let hit = hit(&cache, &key(n)).await;
        assert_eq!((hit.meta().as_ref(), hit.expires_at()), (&b"meta"[..], before.expires_at()));
        assert_eq!(hit.created_at(), before.created_at());
    }
    assert!(find_stale(&cache, &key(3)).await.unwrap().is_stale());
    Ok(())
}

pub(crate) async fn the_order_of_use_under_one_backend_is_the_order_of_eviction_under_the_other(
    ctx: Ctx,
) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.builder().max_write_amplification(1000.0).open().await.unwrap();
    for n in 0..200 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    for n in (0..200).step_by(2) {
        hit(&cache, &key(n)).await;
    }
    cache.close().await.unwrap();
    let cache = other.builder().max_write_amplification(1000.0).open().await.unwrap();
    let mut n = 1000;
    while cache.stats().evictions < 100 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        n += 1;
    }
    for n in 0..200 {
        assert_eq!(cache.contains(&key(n)), n % 2 == 0, "entry {n}");
    }
    Ok(())
}

pub(crate) async fn backends_that_take_turns_keep_the_newest_of_every_key(ctx: Ctx) -> Verdict {
    let mut turn = [ctx.clone(), other(&ctx)?];
    for round in 0u64..6 {
        let cache = turn[0].open().await;
        for n in 0..20 {
            let wanted = round.checked_sub(1).map(|before| body(n, before, 500 * (n as usize % 5 + 1) * 4));
            assert_eq!(peek(&cache, &key(n)).await, wanted, "entry {n}, round {round}");
            cache.insert(&key(n), body(n, round, 500 * (n as usize % 5 + 1) * 4)).await.unwrap();
        }
        if round % 2 == 0 {
            cache.close().await.unwrap();
        } else {
            cache.flush().await.unwrap();
            let dir = turn[0].crash(&format!("crash-{round}")).dir;
            turn = turn.map(|ctx| Ctx { dir: dir.clone(), ..ctx });
        }
        turn.swap(0, 1);
    }
    Ok(())
}

pub(crate) async fn ids_go_on_growing_from_one_backend_to_the_other(ctx: Ctx) -> Verdict {
    let mut turn = [ctx.clone(), other(&ctx)?];
    let mut last = None;
    for _ in 0..4 {
        let cache = turn[0].open().await;
        for len in [10, LARGE] {
            let given = id(&cache.insert(&key(1), body(1, 1, len)).await.unwrap());
            assert!(last < Some(given), "{last:?}, then {given}");
            last = Some(given);
        }
        cache.close().await.unwrap();
        turn.swap(0, 1);
    }
    Ok(())
}

/// Everything that leaves a trace in the log, from one empty directory that was made before.
async fn a_day_of_work(ctx: &Ctx) -> disk_cache::Stats {
    let cache = ctx.open().await;
    for n in 0..120 {
        let options = InsertOptions::new().meta(format!("meta-{n}")).tag("tag");
        let len = if n % 20 == 3 { LARGE } else { [10, 900, 5000][n as usize % 3] };
        cache.insert_with(&key(n), body(n, 1, len), options).await.unwrap();
        if n % 10 == 6 {
            cache.remove(&key(n / 2)).await.unwrap();
            cache.update_meta(&key(n), "new".into(), Expiry::Never).await.unwrap();
        }
        assert!(get(&cache, &key(n)).await.is_some());
    }
    cache.expire(&key(100)).await.unwrap();
    cache.purge_with(PurgeScope::Tag("none".into()), PurgeMode::Expire).await.unwrap();
    cache.flush().await.unwrap();
    let mut large = 0;
    for n in (3..120).step_by(20) {
        large += usize::from(peek(&cache, &key(n)).await.is_some());
    }
    crate::common::until("removed bodies are unlinked", || ctx.object_files().len() == large).await;
    // Closed first: segments are sealed, and the next ones opened, some time after the flush.
    cache.clone().close().await.unwrap();
    cache.stats()
}

/// Two directories with the same superblock, each with the work done by one backend.
async fn twins(ctx: &Ctx) -> Result<[(Ctx, disk_cache::Stats); 2], Skip> {
    let mine = Ctx { dir: ctx.base.join("mine"), ..ctx.clone() };
    let other = Ctx { dir: ctx.base.join("other"), ..other(ctx)? };
    ctx.open().await.close().await.unwrap();
    copy_dir(&ctx.dir, &mine.dir);
    copy_dir(&ctx.dir, &other.dir);
    let (first, second) = (a_day_of_work(&mine).await, a_day_of_work(&other).await);
    Ok([(mine, first), (other, second)])
}

pub(crate) async fn the_same_operations_are_counted_alike_by_both_backends(ctx: Ctx) -> Verdict {
    let [(_, mine), (_, other)] = twins(&ctx).await?;
    let counted = |s: &disk_cache::Stats| {
        [
            s.entries,
            s.live_bytes,
            s.disk_bytes,
            s.hits,
            s.misses,
            s.inserts,
            s.removes,
            s.bytes_written,
            s.segments,
        ]
    };
    assert_eq!(counted(&mine), counted(&other));
    assert_ne!(mine.backend, other.backend);
    Ok(())
}

pub(crate) async fn the_lock_of_one_backend_keeps_the_other_out(ctx: Ctx) -> Verdict {
    let other = other(&ctx)?;
    let cache = ctx.open().await;
    assert!(matches!(other.builder().open().await, Err(Error::Locked { .. })));
    cache.close().await.unwrap();
    other.open().await;
    Ok(())
}

pub(crate) async fn stats_name_the_backend_that_was_asked_for_and_no_fallback(ctx: Ctx) {
    let stats = ctx.open().await.stats();
    let kind = if ctx.backend == BackendChoice::Tokio { BackendKind::Tokio } else { BackendKind::IoUring };
    assert_eq!((stats.backend, stats.fallback_reason), (kind, None));
}

pub(crate) async fn auto_takes_rings_where_they_open_and_says_why_where_they_do_not(ctx: Ctx) {
    let stats = ctx.with_backend(BackendChoice::Auto).open().await.stats();
    match no_io_uring() {
        None => assert_eq!((stats.backend, stats.fallback_reason), (BackendKind::IoUring, None)),
        Some(_) => {
            assert_eq!((stats.backend, stats.rings), (BackendKind::Tokio, 0));
            // Where rings are not even compiled in there is nothing to explain.
            if cfg!(all(target_os = "linux", feature = "io-uring")) {
                assert!(stats.fallback_reason.is_some_and(|reason| !reason.is_empty()));
            }
        }
    }
}

pub(crate) async fn rings_are_counted_by_the_backend_that_has_them_and_by_no_other(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, LARGE), synced()).await.unwrap();
    let stats = cache.stats();
    let rings = ctx.backend == BackendChoice::IoUring;
    for (what, count) in [("rings", stats.rings), ("writes", stats.ring_writes), ("syncs", stats.ring_syncs)]
    {
        assert_eq!(count > 0, rings, "{what}: {count}");
    }
}

pub(crate) async fn backends_have_one_name_in_stats_errors_and_configurations(_: Ctx) {
    for (kind, choice) in
        [(BackendKind::Tokio, BackendChoice::Tokio), (BackendKind::IoUring, BackendChoice::IoUring)]
    {
        let name = serde_json::to_value(choice).unwrap();
        assert_eq!(name, serde_json::to_value(kind).unwrap());
        assert_eq!(name, kind.to_string());
        assert_eq!(serde_json::from_value::<BackendChoice>(name.clone()).unwrap(), choice);
        let error = Error::BackendUnavailable { backend: kind, reason: String::new() }.to_string();
        assert!(error.contains(name.as_str().unwrap()), "{error}");
    }
}
