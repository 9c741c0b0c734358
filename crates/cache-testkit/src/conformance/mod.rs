//! The cases that every backend passes: what the trait's text promises, one sentence each.
//!
//! A case gets a backend and an empty directory of its own. It fails by a panic or by an error. [`trials`] makes a test of
//! each, with a runtime of its own, for a test binary without the usual harness.

mod cancel;
mod direct;
mod dirs;
mod files;
mod names;
mod reads;
mod writes;

use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, OpenMode};
use libtest_mimic::Trial;
use std::{future::Future, io, path::PathBuf, pin::Pin, sync::Arc};
use tokio::runtime::Handle;

type Outcome = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// One promise of the trait.
#[derive(Debug)]
pub struct Case<B> {
    /// The promise as a sentence.
    pub name: &'static str,
    /// Checks it in a directory that is empty.
    pub run: fn(Arc<B>, PathBuf) -> Outcome,
}

/// All cases.
pub fn cases<B: DiskBackend>() -> Vec<Case<B>> {
    macro_rules! list {
        ($($module:ident: $($name:ident)*;)*) => {
            vec![$($(Case { name: stringify!($name), run: |b, dir| Box::pin($module::$name(b, dir)) },)*)*]
        };
    }
    list! {
        reads:
            a_read_past_the_end_is_short
            a_read_appends_behind_what_the_buffer_holds
            a_read_of_nothing_reads_nothing
            a_read_uses_the_room_that_is_there
            a_page_cache_read_is_the_front_of_what_a_read_gives
            an_impossible_range_is_refused_and_the_buffer_comes_back
            many_reads_and_writes_of_one_file_go_on_at_once;
        writes:
            bufs_are_written_one_after_another
            empty_buffers_write_nothing
            more_than_1024_buffers_are_written
            a_large_write_comes_back_whole
            a_write_past_the_end_leaves_zeros_between
            a_write_in_the_middle_leaves_the_rest
            a_read_only_handle_refuses_writes
            a_sync_takes_in_all_that_was_written
            hints_change_nothing;
        files:
            opening_a_missing_file_is_not_found
            create_new_refuses_an_existing_file
            create_makes_what_is_missing_and_opens_what_is_there
            preallocate_makes_the_file_that_long
            preallocate_never_cuts
            preallocate_needs_a_file_opened_to_write
            a_reservation_that_fails_leaves_no_new_file
            set_len_cuts_and_extends_with_zeros
            two_handles_see_the_same_bytes
            a_lock_has_one_holder_until_its_last_clone_is_dropped;
        direct:
            a_direct_file_is_refused_or_read_to_its_odd_end
            a_direct_file_is_refused_or_gives_what_was_just_written_through_another_handle
            a_direct_file_is_refused_or_never_answered_from_the_page_cache;
        names:
            an_open_handle_reads_on_after_remove
            an_open_handle_follows_a_rename
            a_rename_replaces_what_has_the_new_name
            a_rename_of_a_missing_file_is_not_found
            removing_a_missing_file_is_not_found
            a_removed_name_can_be_made_again;
        dirs:
            list_gives_every_file_with_its_length
            listing_a_missing_directory_is_not_found
            create_dir_makes_parents_and_takes_what_is_there
            create_dir_refuses_a_file_of_that_name
            a_file_in_a_missing_directory_is_not_found
            a_directory_that_is_missing_cannot_be_synced
            free_space_is_told_or_not_known;
        cancel:
            a_dropped_read_future_frees_nothing_under_the_kernel
            a_dropped_write_future_frees_nothing_under_the_kernel
            a_dropped_future_of_any_verb_leaves_the_backend_working;
    }
}

/// A test for each case, named `prefix::case`, in a directory below `base`. `make` is called once per test, outside of the
/// runtime whose handle it gets.
pub fn trials<B: DiskBackend>(
    prefix: &str,
    base: &std::path::Path,
    make: impl Fn(&Handle) -> Arc<B> + Send + Sync + 'static,
) -> Vec<Trial> {
    let make = Arc::new(make);
    let trial = |case: Case<B>| {
        let (make, dir) = (make.clone(), base.join(case.name));
        Trial::test(format!("{prefix}::{}", case.name), move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
            let backend = make(runtime.handle());
            runtime.block_on(async {
                backend.create_dir(&dir).await?;
                (case.run)(backend.clone(), dir).await
            })?;
            drop(backend);
            Ok(())
        })
    };
    cases::<B>().into_iter().map(trial).collect()
}

/// Bytes that say where they belong.
fn pattern(len: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; len];
    crate::Rng::new(seed).fill(&mut bytes);
    bytes.into()
}

/// Makes a file with these bytes.
async fn file_of<B: DiskBackend>(backend: &B, path: &std::path::Path, bytes: &[u8]) -> io::Result<B::File> {
    let file = backend.open(path, OpenMode::CREATE_NEW).await?;
    backend.write_at(&file, vec![Bytes::copy_from_slice(bytes)], 0).await?;
    Ok(file)
}

/// All bytes of a file.
async fn all<B: DiskBackend>(backend: &B, file: &B::File) -> io::Result<BytesMut> {
    let len = backend.len(file).await?;
    // One more than there is: a file that grew would show.
    let (read, buf) = backend.read_at(file, BytesMut::new(), len as usize + 1, 0).await;
    assert_eq!(read? as u64, len, "a read to the end gives the file's length");
    Ok(buf)
}

/// The error of something that must fail.
fn refused<T>(result: io::Result<T>, what: &str) -> io::Error {
    match result {
        Ok(_) => panic!("{what} went through"),
        Err(e) => e,
    }
}
