//! What operations cost, counted and not timed: allocations, calls of the backend, bytes, syncs, open files.
//!
//! Cases run one at a time. Those that count calls run over files in memory on a runtime of one thread whose clock stands
//! still while there is work, so that they are the same every time; those under a backend's name run on the disk.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::needless_pass_by_value,
    clippy::items_after_statements,
    clippy::single_match_else,
    clippy::unchecked_time_subtraction,
    clippy::wildcard_imports,
    reason = "a test fails by a panic, reads from top to bottom, and is named once, in the list below"
)]

mod common;

#[path = "performance/allocations.rs"]
mod allocations;
#[path = "performance/counting.rs"]
mod counting;
#[path = "performance/lines.rs"]
mod lines;
#[path = "performance/on_disk.rs"]
mod on_disk;
#[path = "performance/opens.rs"]
mod opens;
#[path = "performance/reads.rs"]
mod reads;
#[path = "performance/rig.rs"]
mod rig;
#[path = "performance/space.rs"]
mod space;
#[path = "performance/writes.rs"]
mod writes;

use allocations::*;
use libtest_mimic::{Arguments, Trial};
use on_disk::*;
use opens::*;
use reads::*;
use space::*;
use std::process::ExitCode;
use writes::*;

/// Cases over files in memory, under their own names.
macro_rules! in_memory {
    ($($name:ident)*) => {
        vec![$(Trial::test(stringify!($name), || {
            rig::run($name);
            Ok(())
        }),)*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut trials = in_memory! {
        a_warm_get_allocates_three_times_at_most
        a_warm_get_of_a_longer_body_allocates_no_more_often
        a_miss_allocates_nothing
        contains_allocates_nothing
        a_small_body_that_was_found_is_handed_out_without_a_copy
        a_buffered_insert_allocates_a_few_times_and_no_more_for_a_longer_body
        a_cold_get_is_one_read_of_exactly_its_record
        a_warm_get_asks_the_page_cache_once_and_the_backend_never
        a_get_past_the_page_cache_never_asks_it_and_reads_the_blocks_of_its_record_once
        a_large_body_past_the_page_cache_is_read_in_whole_blocks_and_no_more_often
        a_get_of_what_is_still_in_memory_makes_no_call
        a_miss_makes_no_call
        an_expired_or_purged_entry_is_a_miss_without_a_call
        questions_that_need_no_body_make_no_call
        the_first_hit_of_a_large_body_reads_head_and_checksums_and_the_next_nothing
        a_range_of_a_large_body_reads_the_chunks_it_lies_in_and_no_others
        a_large_body_is_read_once_from_end_to_end
        who_reads_or_writes_without_a_wait_lets_others_run_every_few_mebibytes
        gets_do_not_wait_for_writes_and_syncs_under_way
        an_insert_makes_no_call_before_it_returns
        small_inserts_go_out_together_in_one_write
        inserts_that_wait_together_share_a_sync
        removals_that_wait_together_share_a_sync
        inserts_do_not_wait_for_a_sync_under_way
        each_record_is_written_once_and_its_header_is_all_it_adds
        a_body_from_64_kib_is_written_from_the_callers_memory
        a_large_body_goes_past_the_page_cache_in_whole_blocks_and_only_its_rest_does_not
        a_large_body_without_a_way_past_the_page_cache_is_written_from_the_callers_memory
        a_large_body_needs_no_second_descriptor
        a_small_body_does_not_hold_on_to_the_callers_memory
        a_synced_large_body_is_two_syncs_of_data_and_one_of_names
        a_new_meta_of_a_large_body_touches_no_file_of_bodies
        tombstones_and_expiries_take_a_header_each
        a_purge_is_one_record_however_many_entries_it_hits
        a_flush_of_nothing_makes_no_call
        a_segment_costs_the_same_few_calls_however_many_records_it_takes
        eviction_of_small_bodies_makes_no_call_of_its_own
        a_segment_of_dead_records_is_reclaimed_without_a_read
        reclaim_looks_at_the_entries_of_its_segments_and_at_all_only_where_their_rows_do_not_read
        a_long_log_gives_several_segments_back_for_one_sync
        reclaim_reads_little_more_than_what_it_keeps
        what_reaches_the_disk_stays_within_the_bound_on_write_amplification
        an_idle_cache_makes_no_call
        files_of_large_bodies_that_are_kept_open_are_bounded
        a_closed_cache_holds_no_file_and_no_task
        tasks_do_not_grow_with_work
        an_index_entry_takes_less_than_64_bytes
        a_clean_open_reads_snapshot_and_tails_and_writes_nothing
        a_clean_open_makes_no_more_than_a_few_calls_for_each_segment
        an_open_after_a_crash_reads_no_data_of_sealed_segments
        a_close_writes_one_footer_and_one_snapshot
    };
    trials.extend(common::trials(cases! {
        a_synced_insert_on_rings_is_one_write_and_one_sync
        every_read_of_a_record_is_counted_as_fast_or_on_a_ring
        a_range_of_a_large_body_on_disk_does_not_count_as_a_get
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}
