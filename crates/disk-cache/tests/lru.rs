//! Who is evicted, when, and what the files take meanwhile.
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

#[path = "lru/large_bodies.rs"]
mod large_bodies;
#[path = "lru/order.rs"]
mod order;
#[path = "lru/quota.rs"]
mod quota;
#[path = "lru/reclaim.rs"]
mod reclaim;

use common::{Ctx, body, key, names};
use disk_cache::{Builder, DiskCache};
use large_bodies::*;
use order::*;
use quota::*;
use reclaim::*;
use std::{collections::VecDeque, process::ExitCode};

/// Bytes of the bodies below: about 19 of them fill a segment.
const LEN: usize = 3000;

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
        a_full_cache_moves_little_but_what_is_used_and_hits_about_as_often_as_an_exact_lru
        large_bodies_that_nobody_uses_make_room_before_the_small_ones_beside_them
        expired_entries_stay_for_those_that_allow_stale_ones
        reclaim_keeps_the_expired_within_the_stale_window_only
        a_cache_of_hot_entries_keeps_them_under_a_flood
        evictions_are_counted_one_by_one
        an_evicted_key_can_come_back
    })
}

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
