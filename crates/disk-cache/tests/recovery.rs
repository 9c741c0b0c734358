//! What an open makes of a directory: clean, crashed, damaged, foreign, newer, smaller, in use.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::needless_pass_by_value,
    clippy::items_after_statements,
    clippy::single_match_else,
    clippy::unchecked_time_subtraction,
    clippy::wildcard_imports,
    reason = "a test fails by a panic, and reads from top to bottom, and is named once, in the list below"
)]

mod common;

#[path = "recovery/objects.rs"]
mod objects;
#[path = "recovery/opens.rs"]
mod opens;
#[path = "recovery/refusals.rs"]
mod refusals;
#[path = "recovery/reopens.rs"]
mod reopens;
#[path = "recovery/segments.rs"]
mod segments;
#[path = "recovery/snapshots.rs"]
mod snapshots;

use common::{Ctx, body, key, peek};
use disk_cache::{ByteSize, DiskCache, Error, RecoverySource};
use objects::*;
use opens::*;
use refusals::*;
use reopens::*;
use segments::*;
use snapshots::*;
use std::{fs, process::ExitCode};

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
