//! What an open makes of a directory: clean, crashed, damaged, foreign, newer, smaller, in use.
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

use common::{Ctx, LARGE, SEGMENT, body, contents, find_stale, flip, get, hit, id, key, peek, synced};
use disk_cache::{
    ByteSize, CacheKey, DiskCache, Durability, Error, Expiry, InsertOptions, OnDamage, PurgeMode, PurgeScope,
    RecoveryReport, RecoverySource,
};
use std::{
    collections::HashSet,
    fs,
    hash::Hasher,
    process::{Command, ExitCode},
    time::Duration,
};

/// The other process of the test on locks: opens the directory that this names and tells how it went.
const OTHER_PROCESS: &str = "DISK_CACHE_TEST_OTHER_PROCESS";

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(OTHER_PROCESS) {
        let opened = DiskCache::builder(dir).capacity(ByteSize::mib(8)).open_blocking();
        println!("{}", if matches!(opened, Err(Error::Locked { .. })) { "locked" } else { "not locked" });
        return ExitCode::SUCCESS;
    }
    common::main(cases! {
        a_new_directory_is_made_and_reported_as_fresh
        a_clean_reopen_finds_everything_by_the_snapshot
        a_clean_reopen_keeps_the_order_of_use
        an_open_without_the_snapshot_finds_everything_in_the_log
        an_open_after_a_crash_finds_what_was_flushed
        an_open_after_an_open_that_crashed_finds_the_same
        metas_expiries_and_staleness_survive_every_kind_of_reopen
        removals_and_purges_survive_every_kind_of_reopen
        the_newest_of_many_versions_survives_every_kind_of_reopen
        a_reclaimed_log_is_recovered
        a_flipped_byte_anywhere_in_the_snapshot_makes_it_ignored
        a_truncated_snapshot_is_ignored
        a_snapshot_of_another_cache_is_ignored
        an_older_snapshot_is_ignored
        the_snapshot_is_gone_while_the_cache_is_open
        a_damaged_superblock_is_refused_and_nothing_is_touched
        a_damaged_superblock_may_be_started_over
        a_missing_superblock_is_refused_where_there_are_segments
        a_newer_version_is_refused_and_nothing_is_touched
        a_newer_version_is_not_started_over
        the_next_newer_version_is_refused_where_all_else_reads_like_this_one
        a_second_opener_of_this_process_is_refused
        a_second_opener_of_another_process_is_refused
        a_refused_open_does_not_keep_the_lock
        a_smaller_capacity_drops_the_oldest
        a_capacity_too_small_for_the_segments_is_refused
        the_segment_size_stays_what_it_was_made_with
        a_flipped_byte_anywhere_in_a_crashed_segment_gives_no_wrong_byte
        a_flipped_byte_anywhere_in_a_sealed_segment_gives_no_wrong_byte
        damage_met_by_a_get_is_a_counted_miss_and_is_met_once
        a_segment_truncated_anywhere_gives_no_wrong_byte
        a_deleted_segment_gives_no_older_value
        an_older_copy_of_a_segment_gives_no_wrong_byte
        a_segment_under_another_name_gives_no_wrong_byte
        two_segments_swapped_give_no_wrong_byte
        a_segment_of_another_cache_is_not_read
        a_torn_body_is_a_miss_however_many_opens_later
        a_missing_object_is_a_miss_and_reported
        a_truncated_object_is_a_miss
        a_damaged_object_gives_an_error_and_then_a_miss
        a_damaged_chunk_spares_the_others
        a_damaged_object_head_is_a_counted_miss
        two_objects_swapped_are_misses
        orphaned_objects_and_temporary_files_are_removed
        files_that_are_not_the_caches_own_stay
        ids_are_never_used_twice_over_restarts
        empty_segments_do_not_pile_up_over_many_opens
        an_empty_cache_closes_and_opens
        the_report_counts_what_is_there
    })
}

/// How many bytes lie between two that are damaged; `DISK_CACHE_EVERY_BYTE=1` damages each.
fn stride(usual: usize) -> usize {
    if std::env::var_os("DISK_CACHE_EVERY_BYTE").is_some_and(|v| v == "1") { 1 } else { usual }
}

/// Fills, flushes and leaves as a crash would.
async fn crashed(ctx: &Ctx, count: u64, len: usize) -> Ctx {
    let cache = ctx.open().await;
    for n in 0..count {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
    cache.flush().await.unwrap();
    ctx.crash("crashed")
}

async fn filled_and_closed(ctx: &Ctx, count: u64, len: usize) {
    let cache = ctx.open().await;
    for n in 0..count {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
    cache.close().await.unwrap();
}

/// How many of the entries are there; none may have other bytes than its own.
async fn intact(cache: &DiskCache, count: u64, len: usize) -> u64 {
    let mut found = 0;
    for n in 0..count {
        if let Some(bytes) = peek(cache, &key(n)).await {
            assert_eq!(bytes, body(n, 1, len), "entry {n}");
            found += 1;
        }
    }
    found
}

/// The three ways in which the next open can find a directory.
async fn reopened(ctx: &Ctx, cache: DiskCache, way: usize) -> (Ctx, DiskCache) {
    let next = match way {
        0 => {
            cache.flush().await.unwrap();
            ctx.crash(&format!("{}-crashed", ctx.dir.file_name().unwrap().display()))
        }
        _ => {
            cache.close().await.unwrap();
            ctx.clone()
        }
    };
    if way == 2 {
        fs::remove_file(next.snapshot()).unwrap();
    }
    let cache = next.open().await;
    let wanted = if way == 1 { RecoverySource::Snapshot } else { RecoverySource::Log };
    assert_eq!(cache.recovery_report().source, wanted);
    (next, cache)
}

async fn a_new_directory_is_made_and_reported_as_fresh(ctx: Ctx) {
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

async fn a_clean_reopen_finds_everything_by_the_snapshot(ctx: Ctx) {
    filled_and_closed(&ctx, 100, 700).await;
    let cache = ctx.open().await;
    let report = cache.recovery_report().clone();
    assert_eq!((report.source, report.entries), (RecoverySource::Snapshot, 100));
    assert!(report.recency_known && !report.snapshot_ignored);
    assert_eq!((report.scanned_segments, report.dropped), (0, disk_cache::Dropped::default()));
    assert_eq!(intact(&cache, 100, 700).await, 100);
}

async fn a_clean_reopen_keeps_the_order_of_use(ctx: Ctx) {
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

async fn an_open_without_the_snapshot_finds_everything_in_the_log(ctx: Ctx) {
    filled_and_closed(&ctx, 100, 700).await;
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    let report = cache.recovery_report().clone();
    assert_eq!((report.source, report.entries, report.scanned_segments), (RecoverySource::Log, 100, 0));
    assert!(!report.recency_known && !report.snapshot_ignored);
    assert_eq!(intact(&cache, 100, 700).await, 100);
}

async fn an_open_after_a_crash_finds_what_was_flushed(ctx: Ctx) {
    let ctx = crashed(&ctx, 100, 2000).await;
    let cache = ctx.open().await;
    let report = cache.recovery_report().clone();
    assert_eq!((report.source, report.entries), (RecoverySource::Log, 100));
    assert!(report.scanned_segments > 0);
    assert_eq!(intact(&cache, 100, 2000).await, 100);
}

async fn an_open_after_an_open_that_crashed_finds_the_same(ctx: Ctx) {
    let mut ctx = crashed(&ctx, 100, 700).await;
    for n in 0..5 {
        let cache = ctx.open().await;
        assert_eq!(intact(&cache, 100, 700).await, 100, "open {n}");
        ctx = ctx.crash(&format!("crash-{n}"));
    }
}

async fn metas_expiries_and_staleness_survive_every_kind_of_reopen(ctx: Ctx) {
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

async fn removals_and_purges_survive_every_kind_of_reopen(ctx: Ctx) {
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

async fn the_newest_of_many_versions_survives_every_kind_of_reopen(ctx: Ctx) {
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

async fn a_reclaimed_log_is_recovered(ctx: Ctx) {
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
        let excused = evicted(&witness) - before;
        assert!(lost <= excused, "{lost} entries are lost, {excused} were evicted meanwhile, way {way}");
        let stats = cache.stats();
        assert!(stats.disk_bytes <= stats.capacity);
    }
}

async fn a_flipped_byte_anywhere_in_the_snapshot_makes_it_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.snapshot()).unwrap();
    for at in (0..good.len()).step_by(stride(17)) {
        fs::write(ctx.snapshot(), &good).unwrap();
        flip(&ctx.snapshot(), at);
        let copy = ctx.crash(&format!("flipped-{at}"));
        let cache = copy.open().await;
        let report = cache.recovery_report();
        assert!(report.snapshot_ignored && report.source == RecoverySource::Log, "byte {at}: {report:?}");
        assert_eq!(intact(&cache, 5, 100).await, 5, "byte {at}");
    }
}

async fn a_truncated_snapshot_is_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.snapshot()).unwrap();
    for len in [0, 1, 15, 16, 17, good.len() / 2, good.len() - 1] {
        fs::write(ctx.snapshot(), &good[..len]).unwrap();
        let copy = ctx.crash(&format!("cut-{len}"));
        let cache = copy.open().await;
        assert!(cache.recovery_report().snapshot_ignored, "{len} bytes");
        assert_eq!(intact(&cache, 5, 100).await, 5, "{len} bytes");
    }
}

async fn a_snapshot_of_another_cache_is_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let other = Ctx { dir: ctx.base.join("other"), ..ctx.clone() };
    filled_and_closed(&other, 3, 100).await;
    fs::copy(other.snapshot(), ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    assert!(cache.recovery_report().snapshot_ignored);
    assert_eq!(intact(&cache, 5, 100).await, 5);
}

async fn an_older_snapshot_is_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let old = fs::read(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    cache.remove(&key(1)).await.unwrap();
    cache.insert(&key(2), body(2, 2, 100)).await.unwrap();
    cache.close().await.unwrap();
    fs::write(ctx.snapshot(), old).unwrap();
    let cache = ctx.open().await;
    assert!(cache.recovery_report().snapshot_ignored);
    assert!(peek(&cache, &key(1)).await.is_none(), "it was removed after that snapshot");
    assert_eq!(peek(&cache, &key(2)).await, Some(body(2, 2, 100)));
}

async fn the_snapshot_is_gone_while_the_cache_is_open(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    assert!(ctx.snapshot().exists());
    let cache = ctx.open().await;
    assert!(!ctx.snapshot().exists());
    drop(cache);
}

async fn refused_untouched(ctx: &Ctx, on_damage: OnDamage) -> Error {
    let before = contents(&ctx.dir);
    let refused = ctx.builder().on_damage(on_damage).open().await.expect_err("it was opened");
    assert!(contents(&ctx.dir) == before, "something was touched");
    refused
}

async fn a_damaged_superblock_is_refused_and_nothing_is_touched(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.superblock()).unwrap();
    let mut bad: Vec<Vec<u8>> = [0, 4, 20, 60, good.len() - 1]
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        })
        .into();
    bad.extend([Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat(), vec![0; 4096]]);
    for bytes in bad {
        fs::write(ctx.superblock(), &bytes).unwrap();
        match refused_untouched(&ctx, OnDamage::Refuse).await {
            Error::Corrupt { path, reason } => {
                assert_eq!(path, ctx.superblock());
                assert!(reason.contains("Recreate"), "it says what to do: {reason}");
            }
            other => panic!("{other}"),
        }
    }
    fs::write(ctx.superblock(), &good).unwrap();
    assert_eq!(intact(&ctx.open().await, 5, 100).await, 5, "nothing was lost by the refusals");
}

async fn a_damaged_superblock_may_be_started_over(ctx: Ctx) {
    filled_and_closed(&ctx, 5, LARGE).await;
    flip(&ctx.superblock(), 20);
    let cache = ctx.builder().on_damage(OnDamage::Recreate).open().await.unwrap();
    assert_eq!((cache.recovery_report().source, cache.stats().entries), (RecoverySource::Fresh, 0));
    assert!(ctx.object_files().is_empty());
    for n in 0..5 {
        assert!(peek(&cache, &key(n)).await.is_none());
    }
    cache.insert(&key(1), body(1, 2, 100)).await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(peek(&ctx.open().await, &key(1)).await, Some(body(1, 2, 100)));
}

async fn a_missing_superblock_is_refused_where_there_are_segments(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    fs::remove_file(ctx.superblock()).unwrap();
    let refused = refused_untouched(&ctx, OnDamage::Refuse).await;
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    let cache = ctx.builder().on_damage(OnDamage::Recreate).open().await.unwrap();
    assert_eq!(cache.stats().entries, 0);
}

async fn newer(ctx: &Ctx) {
    filled_and_closed(ctx, 5, LARGE).await;
    let mut bytes = fs::read(ctx.superblock()).unwrap();
    // The version lies behind eight bytes of magic, in every version to come. What follows may be anything.
    bytes[8] = 9;
    bytes.truncate(20);
    fs::write(ctx.superblock(), bytes).unwrap();
}

async fn a_newer_version_is_refused_and_nothing_is_touched(ctx: Ctx) {
    newer(&ctx).await;
    match refused_untouched(&ctx, OnDamage::Refuse).await {
        Error::UnsupportedFormat { path, found, supported } => {
            assert_eq!((path, found, supported), (ctx.superblock(), 9, 1));
        }
        other => panic!("{other}"),
    }
}

async fn a_newer_version_is_not_started_over(ctx: Ctx) {
    newer(&ctx).await;
    let refused = refused_untouched(&ctx, OnDamage::Recreate).await;
    assert!(matches!(refused, Error::UnsupportedFormat { .. }), "{refused}");
}

async fn the_next_newer_version_is_refused_where_all_else_reads_like_this_one(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let mut bytes = fs::read(ctx.superblock()).unwrap();
    bytes[8] = 2;
    let (fields, checksum) = bytes.split_last_chunk_mut::<8>().unwrap();
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(fields);
    *checksum = hasher.finish().to_le_bytes();
    fs::write(ctx.superblock(), &bytes).unwrap();
    let refused = refused_untouched(&ctx, OnDamage::Refuse).await;
    assert!(matches!(refused, Error::UnsupportedFormat { found: 2, .. }), "{refused}");
}

async fn a_second_opener_of_this_process_is_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 100), synced()).await.unwrap();
    for _ in 0..3 {
        let refused = ctx.builder().on_damage(OnDamage::Recreate).open().await;
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    }
    cache.insert(&key(2), body(2, 1, 100)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
    cache.close().await.unwrap();
    assert_eq!(intact(&ctx.open().await, 3, 100).await, 2);
}

async fn a_second_opener_of_another_process_is_refused(ctx: Ctx) {
    let ask = |dir: std::path::PathBuf| async move {
        let asked = tokio::task::spawn_blocking(move || {
            Command::new(std::env::current_exe().unwrap()).env(OTHER_PROCESS, dir).output().unwrap()
        });
        String::from_utf8(asked.await.unwrap().stdout).unwrap().trim().to_owned()
    };
    let cache = ctx.open().await;
    assert_eq!(ask(ctx.dir.clone()).await, "locked");
    cache.close().await.unwrap();
    assert_eq!(ask(ctx.dir.clone()).await, "not locked");
}

async fn a_refused_open_does_not_keep_the_lock(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.superblock()).unwrap();
    flip(&ctx.superblock(), 20);
    assert!(matches!(ctx.builder().open().await, Err(Error::Corrupt { .. })));
    fs::write(ctx.superblock(), good).unwrap();
    assert_eq!(intact(&ctx.open().await, 5, 100).await, 5);
}

async fn a_smaller_capacity_drops_the_oldest(ctx: Ctx) {
    for crash in [false, true] {
        let ctx = Ctx { dir: ctx.base.join(format!("{crash}")), ..ctx.clone() };
        let cache = ctx.open().await;
        for n in 0..500 {
            cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        }
        cache.insert(&key(500), body(500, 1, LARGE)).await.unwrap();
        let ctx = if crash {
            cache.flush().await.unwrap();
            ctx.crash("smaller")
        } else {
            cache.close().await.unwrap();
            ctx
        };
        let capacity = 12 * SEGMENT;
        let cache = ctx.builder().capacity(ByteSize::bytes_of(capacity)).open().await.unwrap();
        let stats = cache.stats();
        assert!(stats.disk_bytes <= capacity && stats.capacity == capacity, "{stats:?}");
        assert!(on_disk(&ctx) <= capacity);
        assert!(cache.recovery_report().dropped.segments_over_capacity > 0);
        assert_eq!(peek(&cache, &key(500)).await, Some(body(500, 1, LARGE)), "the newest stays");
        let kept: Vec<u64> = {
            let mut kept = Vec::new();
            for n in 0..500 {
                if let Some(bytes) = peek(&cache, &key(n)).await {
                    assert_eq!(bytes, body(n, 1, 3000));
                    kept.push(n);
                }
            }
            kept
        };
        assert!(kept.len() > 50, "{} of 500 entries", kept.len());
        assert_eq!(kept, (500 - kept.len() as u64..500).collect::<Vec<_>>(), "the newest of them");
    }
}

/// Bytes of all files, as the file system gives them out.
fn on_disk(ctx: &Ctx) -> u64 {
    contents(&ctx.dir).values().flatten().map(|bytes| bytes.len() as u64).sum()
}

async fn a_capacity_too_small_for_the_segments_is_refused(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let before = contents(&ctx.dir);
    let small = ctx.builder().segment_size(ByteSize::kib(4)).capacity(ByteSize::bytes_of(4 * SEGMENT));
    let refused = small.open().await;
    assert!(matches!(refused, Err(Error::InvalidConfig { field: "capacity", .. })), "{refused:?}");
    assert!(contents(&ctx.dir) == before, "something was touched");
    assert_eq!(intact(&ctx.open().await, 5, 100).await, 5);
}

async fn the_segment_size_stays_what_it_was_made_with(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let cache = ctx.builder().segment_size(ByteSize::kib(16)).open().await.unwrap();
    assert_eq!(intact(&cache, 5, 100).await, 5);
    cache.insert_with(&key(9), body(9, 1, 100), synced()).await.unwrap();
    // The newest may be the one that is opened ahead: a moment ago it was made, and it is empty until it is allocated.
    let newest = ctx.segment_files().pop().unwrap();
    common::until("the newest segment is as long as the first", || {
        fs::metadata(&newest).unwrap().len() == SEGMENT
    })
    .await;
}

async fn a_flipped_byte_anywhere_in_a_crashed_segment_gives_no_wrong_byte(ctx: Ctx) {
    let ctx = crashed(&ctx, 6, 120).await;
    let segment = ctx.segment_files().remove(0);
    let used = fs::read(&segment).unwrap().iter().rposition(|b| *b != 0).unwrap() + 1;
    for at in (0..used).step_by(stride(17)) {
        let copy = ctx.crash(&format!("flipped-{at}"));
        flip(&copy.segment_files()[0], at);
        let cache = copy.open().await;
        let found = intact(&cache, 6, 120).await;
        assert!(found >= 5, "byte {at}: {found} entries");
        assert_eq!(cache.stats().corruptions, 0, "what does not verify is left out at once");
    }
}

async fn a_flipped_byte_anywhere_in_a_sealed_segment_gives_no_wrong_byte(ctx: Ctx) {
    filled_and_closed(&ctx, 6, 120).await;
    let segment = ctx.segment_files().remove(0);
    let len = fs::metadata(&segment).unwrap().len() as usize;
    for without_snapshot in [false, true] {
        for at in (0..len).step_by(stride(37)) {
            let copy = ctx.crash(&format!("flipped-{without_snapshot}-{at}"));
            if without_snapshot {
                fs::remove_file(copy.snapshot()).unwrap();
            }
            flip(&copy.segment_files()[0], at);
            let cache = copy.open().await;
            assert!(intact(&cache, 6, 120).await >= 5, "byte {at}");
        }
    }
}

async fn damage_met_by_a_get_is_a_counted_miss_and_is_met_once(ctx: Ctx) {
    filled_and_closed(&ctx, 6, 500).await;
    // The body of the first record: behind its header of 112 bytes and its key.
    flip(&ctx.segment_files()[0], 112 + key(0).as_bytes().len() + 50);
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot);
    assert!(cache.contains(&key(0)), "nobody has looked yet");
    for _ in 0..3 {
        assert!(cache.get(&key(0)).await.unwrap().is_none());
    }
    assert_eq!(cache.stats().corruptions, 1);
    assert!(!cache.contains(&key(0)));
    assert_eq!(intact(&cache, 6, 500).await, 5);
    cache.insert(&key(0), body(0, 2, 500)).await.unwrap();
    assert_eq!(get(&cache, &key(0)).await, Some(body(0, 2, 500)));
}

async fn a_segment_truncated_anywhere_gives_no_wrong_byte(ctx: Ctx) {
    filled_and_closed(&ctx, 6, 120).await;
    let segment = ctx.segment_files().remove(0);
    let len = fs::metadata(&segment).unwrap().len();
    for cut in (0..len).step_by(stride(29)) {
        let copy = ctx.crash(&format!("cut-{cut}"));
        fs::File::options().write(true).open(&copy.segment_files()[0]).unwrap().set_len(cut).unwrap();
        let cache = copy.open().await;
        assert!(cache.recovery_report().snapshot_ignored, "at {cut}");
        let found = intact(&cache, 6, 120).await;
        // Whole records before the cut are there.
        assert!(found >= (cut / 280).min(5), "at {cut}: {found}");
    }
}

/// Two versions of every key, the older ones in earlier segments than the newer.
async fn two_versions(ctx: &Ctx) {
    let cache = ctx.open().await;
    for version in [1, 2] {
        for n in 0..60 {
            cache.insert(&key(n), body(n, version, 3000)).await.unwrap();
        }
    }
    cache.close().await.unwrap();
    assert!(ctx.segment_files().len() >= 5);
}

/// Every key has its newest version or none.
async fn newest_or_none(ctx: &Ctx) -> usize {
    let cache = ctx.open().await;
    let mut found = 0;
    for n in 0..60 {
        if let Some(bytes) = peek(&cache, &key(n)).await {
            assert_eq!(bytes, body(n, 2, 3000), "entry {n}");
            found += 1;
        }
    }
    found
}

async fn a_deleted_segment_gives_no_older_value(ctx: Ctx) {
    two_versions(&ctx).await;
    let count = ctx.segment_files().len();
    // The last one is left: a log that ends early cannot be told from one that ended there.
    for at in 0..count - 1 {
        let copy = ctx.crash(&format!("without-{at}"));
        fs::remove_file(&copy.segment_files()[at]).unwrap();
        newest_or_none(&copy).await;
    }
}

async fn an_older_copy_of_a_segment_gives_no_wrong_byte(ctx: Ctx) {
    two_versions(&ctx).await;
    for (from, to) in [(0, 1), (0, 3), (2, 1), (3, 0)] {
        let copy = ctx.crash(&format!("{from}-over-{to}"));
        let files = copy.segment_files();
        fs::copy(&files[from], &files[to]).unwrap();
        newest_or_none(&copy).await;
    }
}

async fn a_segment_under_another_name_gives_no_wrong_byte(ctx: Ctx) {
    two_versions(&ctx).await;
    let last = ctx.segment_files().len();
    for name in [format!("{:08x}.seg", last + 1), format!("{:08x}.seg", last + 40), "00000000.seg".to_owned()]
    {
        let copy = ctx.crash(&format!("as-{name}"));
        let from = &copy.segment_files()[0];
        fs::copy(from, copy.dir.join("segments").join(name)).unwrap();
        newest_or_none(&copy).await;
    }
    // Names that only look like a segment's own.
    for name in ["0000000A.seg", "+0000002.seg", "00000002.SEG", "2.seg", "000000002.seg"] {
        let copy = ctx.crash(&format!("like-{name}"));
        let from = &copy.segment_files()[0];
        fs::copy(from, copy.dir.join("segments").join(name)).unwrap();
        assert_eq!(newest_or_none(&copy).await, 60, "{name}");
    }
}

async fn two_segments_swapped_give_no_wrong_byte(ctx: Ctx) {
    two_versions(&ctx).await;
    for (a, b) in [(0, 1), (0, 3), (1, 2)] {
        let copy = ctx.crash(&format!("{a}-for-{b}"));
        let files = copy.segment_files();
        let held = fs::read(&files[a]).unwrap();
        fs::copy(&files[b], &files[a]).unwrap();
        fs::write(&files[b], held).unwrap();
        newest_or_none(&copy).await;
    }
}

async fn a_segment_of_another_cache_is_not_read(ctx: Ctx) {
    let other = Ctx { dir: ctx.base.join("other"), ..ctx.clone() };
    let cache = other.open().await;
    for n in 0..60 {
        cache.insert(&key(n), body(n, 9, 3000)).await.unwrap();
    }
    cache.close().await.unwrap();
    two_versions(&ctx).await;
    for at in 0..3 {
        let copy = ctx.crash(&format!("other-{at}"));
        fs::copy(&other.segment_files()[at], &copy.segment_files()[at]).unwrap();
        newest_or_none(&copy).await;
    }
}

/// Five large bodies and five small ones, closed.
async fn with_objects(ctx: &Ctx) {
    let cache = ctx.open().await;
    for n in 0..5 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
    }
    cache.close().await.unwrap();
    assert_eq!(ctx.object_files().len(), 5);
}

/// Only the first open after a power cut used to know that the cut may have kept a record and torn its body.
async fn a_torn_body_is_a_miss_however_many_opens_later(ctx: Ctx) {
    let torn = crashed(&ctx, 3, LARGE).await;
    flip(&torn.object_files()[1], 4096 + 70_000);
    for way in 0..3 {
        for change in ["none", "update_meta", "reclaim"] {
            let case = format!("{change}-{way}");
            let copy = torn.crash(&case);
            let cache = copy.open().await;
            match change {
                "update_meta" => {
                    assert!(cache.update_meta(&key(1), "new".into(), Expiry::Never).await.unwrap());
                }
                "reclaim" => {
                    let before = cache.stats().bytes_relocated;
                    while cache.stats().bytes_relocated == before {
                        cache.insert(&key(9), body(9, 1, 4000)).await.unwrap();
                    }
                }
                _ => {}
            }
            let (copy, cache) = reopened(&copy, cache, way).await;
            let (_, cache) = reopened(&copy, cache, way).await;
            assert!(cache.get(&key(1)).await.unwrap().is_none(), "{case}");
            assert_eq!(intact(&cache, 3, LARGE).await, 2, "{case}");
            assert_eq!(cache.stats().corruptions, 1, "{case}");
        }
    }
}

async fn a_missing_object_is_a_miss_and_reported(ctx: Ctx) {
    with_objects(&ctx).await;
    fs::remove_file(&ctx.object_files()[2]).unwrap();
    let cache = ctx.open().await;
    let report = cache.recovery_report();
    assert_eq!((report.dropped.missing_objects, report.entries), (1, 4));
    assert!(peek(&cache, &key(2)).await.is_none());
    assert_eq!(intact(&cache, 5, LARGE).await, 4);
}

async fn a_truncated_object_is_a_miss(ctx: Ctx) {
    with_objects(&ctx).await;
    let len = fs::metadata(&ctx.object_files()[0]).unwrap().len();
    for cut in [0, 1, 56, 4096, 4097, len / 2, len - 1] {
        let copy = ctx.crash(&format!("cut-{cut}"));
        fs::File::options().write(true).open(&copy.object_files()[2]).unwrap().set_len(cut).unwrap();
        let cache = copy.open().await;
        assert!(cache.get(&key(2)).await.unwrap().is_none(), "at {cut}");
        assert_eq!(intact(&cache, 5, LARGE).await, 4, "at {cut}");
    }
}

async fn a_damaged_object_gives_an_error_and_then_a_miss(ctx: Ctx) {
    with_objects(&ctx).await;
    flip(&ctx.object_files()[2], 4096 + 70_000);
    let cache = ctx.open().await;
    let hit = hit(&cache, &key(2)).await;
    let read = hit.bytes().await;
    assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    assert!(cache.get(&key(2)).await.unwrap().is_none());
    assert_eq!(cache.stats().corruptions, 1);
    assert_eq!(intact(&cache, 5, LARGE).await, 4);
}

async fn a_damaged_chunk_spares_the_others(ctx: Ctx) {
    with_objects(&ctx).await;
    flip(&ctx.object_files()[2], 4096 + 70_000);
    let cache = ctx.open().await;
    let hit = hit(&cache, &key(2)).await;
    assert_eq!(hit.read_range(0..65_536).await.unwrap(), body(2, 1, LARGE)[..65_536]);
    let mut reader = hit.reader();
    reader.seek(65_536, None).unwrap();
    assert!(matches!(reader.next().await, Err(Error::Corrupt { .. })));
    assert_eq!(hit.read_range(10..20).await.unwrap(), body(2, 1, LARGE)[10..20]);
}

async fn a_damaged_object_head_is_a_counted_miss(ctx: Ctx) {
    with_objects(&ctx).await;
    for at in [0, 10, 25, 40, 50] {
        let copy = ctx.crash(&format!("head-{at}"));
        flip(&copy.object_files()[2], at);
        let cache = copy.open().await;
        assert!(cache.get(&key(2)).await.unwrap().is_none(), "byte {at}");
        assert!(cache.get(&key(2)).await.unwrap().is_none(), "byte {at}");
        assert_eq!(cache.stats().corruptions, 1, "byte {at}");
    }
}

async fn two_objects_swapped_are_misses(ctx: Ctx) {
    with_objects(&ctx).await;
    let files = ctx.object_files();
    let held = fs::read(&files[1]).unwrap();
    fs::copy(&files[3], &files[1]).unwrap();
    fs::write(&files[3], held).unwrap();
    let cache = ctx.open().await;
    assert!(peek(&cache, &key(1)).await.is_none() && peek(&cache, &key(3)).await.is_none());
    assert_eq!(intact(&cache, 5, LARGE).await, 3);
}

async fn orphaned_objects_and_temporary_files_are_removed(ctx: Ctx) {
    with_objects(&ctx).await;
    let stray = [
        ctx.dir.join("objects/00000077000000ff.obj"),
        ctx.dir.join("objects/0000007700000001.obj.tmp"),
        ctx.dir.join("index.snapshot.tmp"),
        ctx.dir.join("CACHE.tmp"),
    ];
    for path in &stray {
        fs::write(path, b"left over").unwrap();
    }
    let cache = ctx.open().await;
    for path in &stray {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(cache.recovery_report().dropped.orphan_files, 4);
    assert_eq!(intact(&cache, 5, LARGE).await, 5);
}

async fn files_that_are_not_the_caches_own_stay(ctx: Ctx) {
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

async fn ids_are_never_used_twice_over_restarts(ctx: Ctx) {
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

async fn empty_segments_do_not_pile_up_over_many_opens(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    for _ in 0..140 {
        let cache = ctx.open().await;
        cache.close().await.unwrap();
    }
    let cache = ctx.open().await;
    assert_eq!(intact(&cache, 5, 100).await, 5);
    common::until("reclaim has caught up", || cache.stats().segments <= 2 * 32 + 66).await;
}

async fn an_empty_cache_closes_and_opens(ctx: Ctx) {
    for _ in 0..3 {
        let cache = ctx.open().await;
        assert_eq!(cache.stats().entries, 0);
        cache.close().await.unwrap();
    }
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().entries, 0);
    assert!(!cache.recovery_report().snapshot_ignored);
}

async fn the_report_counts_what_is_there(ctx: Ctx) {
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
