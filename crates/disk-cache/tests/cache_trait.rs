//! The verbs of the cache, one promise each.
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

#[path = "cache_trait/bodies.rs"]
mod bodies;
#[path = "cache_trait/entries.rs"]
mod entries;
#[path = "cache_trait/handles.rs"]
mod handles;
#[path = "cache_trait/meta.rs"]
mod meta;
#[path = "cache_trait/purges.rs"]
mod purges;
#[path = "cache_trait/upkeep.rs"]
mod upkeep;

use bodies::*;
use common::find_stale;
use disk_cache::{CacheKey, DiskCache, PurgeScope};
use entries::*;
use handles::*;
use meta::*;
use purges::*;
use std::process::ExitCode;
use upkeep::*;

fn main() -> ExitCode {
    common::main(cases! {
        an_insert_is_found_again
        an_unknown_key_is_a_miss
        an_insert_replaces_the_older_value
        an_insert_is_visible_to_other_tasks_when_it_returns
        a_hit_tells_id_length_meta_times_and_size
        an_empty_body_is_a_hit_of_no_bytes
        every_insert_gets_an_id_of_its_own
        variants_of_a_path_are_entries_of_their_own
        contains_agrees_with_a_plain_get_and_counts_nothing
        remove_tells_whether_the_key_was_there
        remove_with_any_durability_removes_at_once
        remove_entry_of_the_right_id_removes_it_and_tells_it
        remove_entry_of_another_id_leaves_the_entry
        remove_entry_of_an_unknown_key_is_none
        update_meta_changes_the_meta_and_keeps_body_id_and_creation
        update_meta_of_another_id_changes_nothing
        update_meta_of_an_unknown_key_is_false
        update_meta_sets_keeps_and_lifts_the_expiry
        update_meta_of_a_large_body_writes_one_small_record
        of_concurrent_new_metas_one_is_left_whole
        update_meta_keeps_tags_and_label
        expire_makes_an_entry_stale_and_keeps_its_body
        expire_of_another_id_leaves_the_entry_fresh
        update_meta_lifts_an_expire_and_every_soft_purge
        an_insert_is_not_hit_by_an_earlier_purge
        purge_all_removes_everything
        purge_namespace_leaves_the_others
        purge_path_takes_every_variant_and_nothing_else
        purge_prefix_need_not_end_at_a_boundary
        purge_prefix_sees_the_label_instead_of_the_path
        purge_tag_reaches_every_namespace
        a_soft_purge_of_each_scope_makes_stale_what_a_hard_one_removes
        a_purge_reaches_large_bodies_too
        a_purge_too_long_for_a_segment_is_refused_and_hurts_nobody
        contains_is_false_where_a_purge_by_tag_might_apply
        an_expired_entry_is_a_miss_and_a_stale_hit
        the_default_ttl_is_for_those_that_name_no_expiry
        clear_removes_everything_and_gives_the_space_back
        flush_brings_everything_to_the_disk
        stats_count_what_happened
        stats_of_count_one_namespace
        a_range_is_read_from_small_and_large_bodies
        a_reader_seeks_again_and_again
        a_stream_gives_the_body_in_order
        a_hit_outlives_replacement_removal_and_purge
        a_hit_outlives_eviction_and_reclaim
        a_hit_outlives_the_close
        a_hit_outlives_the_last_handle
        remove_of_a_key_that_a_tag_or_label_purged_is_false
        every_verb_says_closed_after_close
        two_handles_see_one_cache
        the_last_handle_closes_in_the_background
        an_operation_that_is_dropped_leaves_the_cache_whole
        a_dyn_cache_has_every_verb
        generic_code_takes_a_cache_and_a_dyn_cache
        generic_code_fetches_once_through_a_cache_and_a_dyn_cache
        a_writer_of_a_dyn_cache_keeps_it_open
    })
}

fn scope_of(kind: usize) -> PurgeScope {
    match kind {
        0 => PurgeScope::All,
        1 => PurgeScope::Namespace("ns".into()),
        2 => PurgeScope::Path { namespace: "ns".into(), path: "path-1".into() },
        3 => PurgeScope::Prefix { namespace: "ns".into(), prefix: "pat".into() },
        _ => PurgeScope::Tag("tag".into()),
    }
}

async fn stale(cache: &DiskCache, key: &CacheKey) -> bool {
    assert!(cache.get(key).await.unwrap().is_none(), "a stale entry is no plain hit");
    find_stale(cache, key).await.expect("it is kept").is_stale()
}
