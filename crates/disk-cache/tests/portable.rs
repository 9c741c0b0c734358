//! What must be the same everywhere: on both backends, on every platform, from every runtime, wherever the clock stands.
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

#[path = "portable/backends.rs"]
mod backends;
#[path = "portable/clocks.rs"]
mod clocks;
#[path = "portable/configs.rs"]
mod configs;
#[path = "portable/direct.rs"]
mod direct;
#[path = "portable/dirs.rs"]
mod dirs;
#[path = "portable/fixtures.rs"]
mod fixtures;
#[path = "portable/keys.rs"]
mod keys;
#[path = "portable/large_files.rs"]
mod large_files;
#[path = "portable/layout.rs"]
mod layout;
#[path = "portable/names.rs"]
mod names;
#[path = "portable/places.rs"]
mod places;
#[path = "portable/runtimes.rs"]
mod runtimes;

use backends::*;
use clocks::*;
use configs::*;
use direct::*;
use dirs::*;
use fixtures::*;
use keys::*;
use large_files::*;
use layout::*;
use names::*;
use places::*;
use runtimes::*;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(DYING_PROCESS) {
        open_and_die(dir);
    }
    if let Some(dir) = std::env::var_os(MAKE) {
        return make(dir.as_ref());
    }
    common::main(cases! {
        a_directory_that_one_backend_closed_is_opened_by_the_other
        a_directory_that_one_backend_left_in_a_crash_is_recovered_by_the_other
        what_one_backend_acknowledged_as_written_is_found_by_the_other
        removals_and_purges_by_one_backend_hold_under_the_other
        tags_and_labels_stored_by_one_backend_are_purged_by_the_other
        metas_expiries_and_stale_marks_of_one_backend_are_read_by_the_other
        the_order_of_use_under_one_backend_is_the_order_of_eviction_under_the_other
        backends_that_take_turns_keep_the_newest_of_every_key
        ids_go_on_growing_from_one_backend_to_the_other
        the_same_operations_are_counted_alike_by_both_backends
        the_lock_of_one_backend_keeps_the_other_out
        stats_name_the_backend_that_was_asked_for_and_no_fallback
        auto_takes_rings_where_they_open_and_says_why_where_they_do_not
        rings_are_counted_by_the_backend_that_has_them_and_by_no_other
        backends_have_one_name_in_stats_errors_and_configurations
        the_directory_of_a_closed_cache_of_format_1_opens_by_its_snapshot
        the_directory_of_a_closed_cache_of_format_1_opens_by_its_footers
        the_directory_of_a_crashed_cache_of_format_1_opens_by_its_records
        the_directory_of_a_cache_of_format_1_is_written_on_and_opened_again
        the_superblock_is_laid_out_as_documented
        an_insert_record_is_laid_out_as_documented
        tombstone_and_expire_records_are_laid_out_as_documented
        a_purge_record_is_laid_out_as_documented
        a_footer_is_laid_out_as_documented
        a_large_body_is_laid_out_as_documented
        a_snapshot_is_laid_out_as_documented
        keys_that_are_no_text_are_entries_like_any_other
        keys_that_look_like_paths_reach_no_file_of_that_name
        keys_that_differ_in_case_or_normal_form_only_are_different
        separators_in_keys_are_bytes_like_any_other
        the_length_of_a_key_shows_in_no_file_name
        a_prefix_that_cuts_a_character_in_half_purges_by_bytes
        tags_labels_and_metas_are_bytes_and_survive_a_restart
        namespaces_that_are_no_text_are_counted_and_purged
        a_directory_may_have_any_characters_in_its_name
        a_directory_whose_name_is_no_text_is_a_directory_like_any_other
        a_relative_path_begins_at_the_current_directory
        a_trailing_separator_changes_nothing
        two_spellings_of_one_directory_are_one_cache
        a_symlink_to_a_directory_is_that_directory
        a_symlink_to_nowhere_is_refused_and_stays
        a_long_name_on_a_long_path_is_taken
        a_directory_that_is_there_keeps_its_permissions
        every_file_and_directory_that_is_made_is_the_owners_alone
        a_cache_inside_the_directory_of_another_is_left_alone
        the_cache_makes_the_documented_names_and_no_others
        every_name_is_short_and_allowed_on_every_platform
        what_desktops_leave_behind_stays_and_hurts_nothing
        directories_among_the_segments_and_large_bodies_stay
        another_spelling_of_an_id_is_somebody_elses_file
        a_directory_with_the_name_of_a_segment_is_refused_and_stays
        what_is_in_the_lock_file_does_not_matter
        the_times_of_files_do_not_matter
        a_renamed_directory_opens_with_everything
        a_copy_of_a_directory_is_a_cache_of_its_own
        a_copy_without_its_lock_file_opens
        two_caches_of_one_process_share_nothing
        many_caches_of_one_process_work_at_once
        a_process_that_dies_leaves_no_lock_behind
        a_cache_works_from_a_runtime_of_one_thread
        a_cache_works_from_a_runtime_without_drivers
        a_cache_works_without_any_runtime
        a_cache_works_from_several_runtimes_at_once
        a_cache_works_in_tasks_that_stay_on_their_thread
        an_operation_begun_on_one_runtime_ends_on_another
        a_handle_outlives_the_runtime_that_opened_it
        a_runtime_that_ends_in_the_middle_of_operations_leaves_the_cache_whole
        the_last_handle_may_be_dropped_where_there_is_no_runtime
        a_cache_opens_on_a_thread_of_blocking_work
        every_future_of_the_api_can_be_sent_to_another_thread
        a_clock_set_back_ten_years_keeps_everything_fresh
        a_clock_set_forth_ten_years_makes_stale_what_expires_and_nothing_else
        a_soft_purge_holds_wherever_the_clock_goes
        the_log_tells_what_is_newer_and_the_clock_does_not
        the_order_of_use_does_not_depend_on_the_clock
        a_cache_made_in_the_future_opens_in_the_past
        a_clock_before_1970_makes_stale_at_once_what_lives_for_no_time
        times_beyond_32_bits_are_kept_to_the_millisecond
        every_field_of_a_configuration_survives_json_and_toml
        the_configuration_that_the_readme_shows_is_one
        a_cache_is_set_up_from_a_toml_file
        a_duration_below_a_millisecond_survives_being_written_and_read
        sizes_beyond_32_bits_are_kept_exactly
        bodies_of_every_length_come_back_past_the_page_cache_and_after_a_restart
        ranges_of_a_large_body_come_back_past_the_page_cache
        a_crash_past_the_page_cache_is_recovered_with_and_without_it
        bytes_beyond_four_gib_lie_where_they_were_written
        a_file_longer_than_four_gib_tells_its_length_and_is_cut_there
        the_page_cache_is_asked_beyond_four_gib
    })
}
