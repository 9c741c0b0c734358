//! What callers and machines do wrong: each gives the documented result or a typed error, and hurts nothing else.
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

#[path = "bad_input/arguments.rs"]
mod arguments;
#[path = "bad_input/configuration.rs"]
mod configuration;
#[path = "bad_input/directories.rs"]
mod directories;
#[path = "bad_input/disks.rs"]
mod disks;
#[path = "bad_input/limits.rs"]
mod limits;

use arguments::*;
use bytes::Bytes;
use common::Ctx;
use configuration::*;
use directories::*;
use disk_cache::{Builder, ByteSize, Error};
use disks::*;
use limits::*;
use std::process::ExitCode;

fn main() -> ExitCode {
    common::main(cases! {
        keys_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused
        a_key_that_is_too_long_is_no_entry_for_any_verb
        metas_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused
        a_refused_insert_leaves_the_other_entries_and_no_older_value
        a_new_meta_that_is_too_long_leaves_the_entry_as_it_was
        bodies_around_the_border_of_large_ones_come_back
        bodies_of_the_largest_size_are_stored_and_larger_ones_refused
        the_largest_size_may_be_set
        labels_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused
        tags_up_to_the_longest_and_most_are_stored_and_more_refused
        everything_at_its_limit_at_once_is_stored
        a_record_too_long_for_its_segment_is_refused
        purge_scopes_that_are_too_long_are_refused
        empty_scopes_mean_what_they_say
        a_range_past_the_end_is_refused_with_its_numbers
        a_seek_past_the_end_is_refused_and_the_reader_stays
        a_zero_ttl_is_stale_at_once
        an_expiry_in_the_past_is_stale_at_once
        an_expiry_beyond_all_time_is_never_reached
        a_capacity_that_is_too_small_is_refused_before_anything_is_made
        a_capacity_is_required
        every_value_out_of_bounds_is_refused_by_name_before_anything_is_made
        missing_directories_are_made
        a_file_in_the_directorys_place_is_refused_and_stays
        a_file_in_the_place_of_the_segments_is_refused_and_stays
        a_directory_in_the_place_of_the_superblock_is_refused
        a_read_only_file_system_is_refused
        a_full_disk_refuses_an_open_and_allows_one_when_there_is_room
        a_disk_that_fills_up_refuses_inserts_and_keeps_serving
        a_disk_without_a_name_to_give_refuses_large_bodies_and_keeps_serving
        a_minimum_of_free_space_that_is_not_there_stops_the_growth
        an_operation_after_close_is_refused_and_a_second_close_too
        errors_say_what_to_do
        a_configuration_reads_from_json
        a_configuration_with_an_unknown_field_is_refused
        a_configuration_without_directory_or_capacity_is_refused
        a_configuration_with_a_value_of_the_wrong_kind_is_refused
        a_configuration_survives_being_written_and_read
        sizes_that_are_none_are_refused
    })
}

/// A cache of 32 segments of 1 MiB, which takes every limit at its highest.
fn roomy(ctx: &Ctx) -> Builder {
    ctx.builder().capacity(ByteSize::mib(32)).segment_size(ByteSize::mib(1))
}

fn bytes(len: usize) -> Bytes {
    vec![b'x'; len].into()
}

fn too_large<T: std::fmt::Debug>(result: Result<T, Error>, len: usize, max: usize) {
    match result {
        Err(Error::TooLarge { len: l, max: m, .. }) => assert_eq!((l, m), (len as u64, max as u64)),
        other => panic!("{len} bytes: {other:?}"),
    }
}
