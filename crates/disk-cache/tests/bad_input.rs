//! What callers and machines do wrong: each gives the documented result or a typed error, and hurts nothing else.
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

use bytes::Bytes;
use common::{Ctx, LARGE, Skip, Verdict, body, contents, find_stale, get, hit, key, peek};
use disk_cache::{
    Builder, ByteSize, CacheKey, Config, DiskCache, Error, Expiry, InsertOptions, MAX_KEY_LEN, MAX_LABEL_LEN,
    MAX_META_LEN, MAX_TAG_LEN, MAX_TAGS, PurgeScope,
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, UNIX_EPOCH},
};

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
        a_directory_without_permission_is_refused
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

/// A key whose canonical form has this length.
fn key_of(len: usize) -> CacheKey {
    let key = CacheKey::from("k".repeat(len - 12));
    assert_eq!(key.as_bytes().len(), len);
    key
}

async fn keys_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    for len in [12, 13, MAX_KEY_LEN - 1, MAX_KEY_LEN] {
        cache.insert(&key_of(len), body(1, len as u64, 100)).await.unwrap();
    }
    for len in [12, 13, MAX_KEY_LEN - 1, MAX_KEY_LEN] {
        assert_eq!(get(&cache, &key_of(len)).await, Some(body(1, len as u64, 100)), "{len}");
    }
    for len in [MAX_KEY_LEN + 1, 70_000] {
        too_large(cache.insert(&key_of(len), bytes(1)).await, len, MAX_KEY_LEN);
    }
    assert_eq!(cache.stats().entries, 4);
}

async fn a_key_that_is_too_long_is_no_entry_for_any_verb(ctx: Ctx) {
    let cache = ctx.open().await;
    let long = key_of(MAX_KEY_LEN + 1);
    assert!(cache.get(&long).await.unwrap().is_none());
    assert!(!cache.contains(&long));
    too_large(cache.remove(&long).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
    too_large(cache.remove_entry(&long).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
    too_large(cache.expire(&long).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
    too_large(cache.update_meta(&long, Bytes::new(), Expiry::Keep).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
}

async fn metas_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    for len in [0, 1, MAX_META_LEN - 1, MAX_META_LEN] {
        for body_len in [10, LARGE * 10] {
            cache
                .insert_with(&key(1), body(1, 1, body_len), InsertOptions::new().meta(bytes(len)))
                .await
                .unwrap();
            let hit = hit(&cache, &key(1)).await;
            assert_eq!((hit.meta(), hit.bytes().await.unwrap()), (&bytes(len), body(1, 1, body_len)));
        }
    }
    let options = InsertOptions::new().meta(bytes(MAX_META_LEN + 1));
    too_large(cache.insert_with(&key(2), bytes(1), options).await, MAX_META_LEN + 1, MAX_META_LEN);
}

async fn a_refused_insert_leaves_the_other_entries_and_no_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..5 {
        cache.insert(&key(n), body(n, 1, 100)).await.unwrap();
    }
    let options = InsertOptions::new().meta(bytes(MAX_META_LEN + 1));
    too_large(cache.insert_with(&key(2), bytes(1), options).await, MAX_META_LEN + 1, MAX_META_LEN);
    assert!(peek(&cache, &key(2)).await.is_none(), "who replaces a value is never given the old one again");
    for n in [0, 1, 3, 4] {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 100)));
    }
}

async fn a_new_meta_that_is_too_long_leaves_the_entry_as_it_was(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    cache.insert_with(&key(1), body(1, 1, 100), InsertOptions::new().meta("first")).await.unwrap();
    let refused = cache.update_meta(&key(1), bytes(MAX_META_LEN + 1), Expiry::Never).await;
    too_large(refused, MAX_META_LEN + 1, MAX_META_LEN);
    let hit = hit(&cache, &key(1)).await;
    assert_eq!((hit.meta().as_ref(), hit.bytes().await.unwrap()), (&b"first"[..], body(1, 1, 100)));
}

async fn bodies_around_the_border_of_large_ones_come_back(ctx: Ctx) {
    let cache = ctx.open().await;
    let border = common::SEGMENT as usize / 8;
    for (n, len) in [0, 1, border - 1, border, border + 1, 65_535, 65_536, 65_537].into_iter().enumerate() {
        cache.insert(&key(n as u64), body(n as u64, 1, len)).await.unwrap();
        assert_eq!(get(&cache, &key(n as u64)).await, Some(body(n as u64, 1, len)), "{len} bytes");
    }
    assert_eq!(ctx.object_files().len(), 4, "the longer ones are out of line");
}

async fn bodies_of_the_largest_size_are_stored_and_larger_ones_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    let max = (16 * common::SEGMENT) as usize;
    for len in [max - 1, max] {
        cache.insert(&key(1), body(1, len as u64, len)).await.unwrap();
        assert_eq!(get(&cache, &key(1)).await, Some(body(1, len as u64, len)));
    }
    too_large(cache.insert(&key(1), bytes(max + 1)).await, max + 1, max);
    assert!(peek(&cache, &key(1)).await.is_none());
}

async fn the_largest_size_may_be_set(ctx: Ctx) {
    let cache = ctx.builder().max_entry_size(ByteSize::bytes_of(1000)).open().await.unwrap();
    cache.insert(&key(1), bytes(1000)).await.unwrap();
    too_large(cache.insert(&key(1), bytes(1001)).await, 1001, 1000);
}

async fn labels_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    for len in [0, 1, MAX_LABEL_LEN] {
        let key = CacheKey::new("n", format!("{len}"));
        cache.insert_with(&key, bytes(1), InsertOptions::new().label(bytes(len))).await.unwrap();
    }
    let options = InsertOptions::new().label(bytes(MAX_LABEL_LEN + 1));
    too_large(cache.insert_with(&key(2), bytes(1), options).await, MAX_LABEL_LEN + 1, MAX_LABEL_LEN);
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: bytes(MAX_LABEL_LEN) }).await.unwrap();
    for len in [0, 1, MAX_LABEL_LEN] {
        let there = get(&cache, &CacheKey::new("n", format!("{len}"))).await.is_some();
        assert_eq!(there, len != MAX_LABEL_LEN, "{len}");
    }
}

async fn tags_up_to_the_longest_and_most_are_stored_and_more_refused(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    let with = |count: usize, len: usize| {
        (0..count).fold(InsertOptions::new(), |o, n| o.tag([bytes(len - 1), vec![n as u8].into()].concat()))
    };
    cache.insert_with(&key(1), bytes(1), with(MAX_TAGS, MAX_TAG_LEN)).await.unwrap();
    cache.insert_with(&key(2), bytes(1), InsertOptions::new().tag("")).await.unwrap();
    too_large(cache.insert_with(&key(3), bytes(1), with(MAX_TAGS + 1, 4)).await, MAX_TAGS + 1, MAX_TAGS);
    too_large(
        cache.insert_with(&key(3), bytes(1), with(1, MAX_TAG_LEN + 1)).await,
        MAX_TAG_LEN + 1,
        MAX_TAG_LEN,
    );
    let last = [bytes(MAX_TAG_LEN - 1), vec![MAX_TAGS as u8 - 1].into()].concat();
    cache.purge(PurgeScope::Tag(last.into())).await.unwrap();
    assert!(get(&cache, &key(1)).await.is_none() && get(&cache, &key(2)).await.is_some());
    cache.purge(PurgeScope::Tag(Bytes::new())).await.unwrap();
    assert!(get(&cache, &key(2)).await.is_none());
}

async fn everything_at_its_limit_at_once_is_stored(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    let options = (0..MAX_TAGS).fold(InsertOptions::new(), |o, _| o.tag(bytes(MAX_TAG_LEN)));
    let options = options.meta(bytes(MAX_META_LEN)).label(bytes(MAX_LABEL_LEN));
    let border = 128 << 10;
    for len in [0, border, border + 1] {
        let key = key_of(MAX_KEY_LEN);
        cache.insert_with(&key, body(1, 1, len), options.clone()).await.unwrap();
        let hit = hit(&cache, &key).await;
        assert_eq!((hit.meta().len(), hit.bytes().await.unwrap()), (MAX_META_LEN, body(1, 1, len)));
    }
    cache.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = roomy(&ctx).open().await.unwrap();
    assert_eq!(get(&cache, &key_of(MAX_KEY_LEN)).await, Some(body(1, 1, border + 1)));
}

async fn a_record_too_long_for_its_segment_is_refused(ctx: Ctx) {
    let builder = ctx.builder().segment_size(ByteSize::kib(8)).capacity(ByteSize::kib(256));
    let cache = builder.open().await.unwrap();
    for (n, len) in [(1, 100), (2, LARGE)] {
        let refused =
            cache.insert_with(&key(n), body(n, 1, len), InsertOptions::new().meta(bytes(8000))).await;
        assert!(matches!(refused, Err(Error::TooLarge { len: 8001.., max: ..8192, .. })), "{refused:?}");
    }
    cache.insert_with(&key(1), body(1, 1, 100), InsertOptions::new().meta(bytes(7000))).await.unwrap();
    let refused = cache.update_meta(&key(1), bytes(8000), Expiry::Keep).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!(hit(&cache, &key(1)).await.meta().len(), 7000);
    common::until("nothing is left of the refused body", || ctx.object_files().is_empty()).await;
}

async fn purge_scopes_that_are_too_long_are_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    let (half, max) = (MAX_KEY_LEN / 2, MAX_KEY_LEN);
    for scope in [
        PurgeScope::Namespace(bytes(max + 1)),
        PurgeScope::Path { namespace: bytes(half), path: bytes(half + 1) },
        PurgeScope::Prefix { namespace: bytes(half), prefix: bytes(half + 1) },
    ] {
        too_large(cache.purge(scope).await, max + 1, max);
    }
    too_large(cache.purge(PurgeScope::Tag(bytes(MAX_TAG_LEN + 1))).await, MAX_TAG_LEN + 1, MAX_TAG_LEN);
    cache.purge(PurgeScope::Namespace(bytes(max))).await.unwrap();
    assert!(get(&cache, &key(1)).await.is_some());
}

async fn empty_scopes_mean_what_they_say(ctx: Ctx) {
    let cache = ctx.open().await;
    let plain = CacheKey::from("");
    cache.insert(&plain, body(1, 1, 10)).await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    cache.purge(PurgeScope::Tag(Bytes::new())).await.unwrap();
    assert!(get(&cache, &plain).await.is_some(), "it has no tag, not an empty one");
    cache.purge(PurgeScope::Namespace(Bytes::new())).await.unwrap();
    assert!(get(&cache, &plain).await.is_none() && get(&cache, &key(1)).await.is_some());
    cache.insert(&plain, body(1, 2, 10)).await.unwrap();
    cache.purge(PurgeScope::Path { namespace: Bytes::new(), path: Bytes::new() }).await.unwrap();
    assert!(get(&cache, &plain).await.is_none() && get(&cache, &key(1)).await.is_some());
}

async fn a_range_past_the_end_is_refused_with_its_numbers(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, size) in [(1, 0u64), (2, 700), (3, LARGE as u64)] {
        cache.insert(&key(n), body(n, 1, size as usize)).await.unwrap();
        let hit = hit(&cache, &key(n)).await;
        #[expect(clippy::reversed_empty_ranges, reason = "it must be refused")]
        for range in [0..size + 1, size..size + 1, size + 1..size + 1, 5..4, 0..u64::MAX, u64::MAX..u64::MAX]
        {
            match hit.read_range(range.clone()).await {
                Err(Error::InvalidRange { start, end, len }) => {
                    assert_eq!((start, end, len), (range.start, range.end, size));
                }
                other => panic!("{range:?} of {size}: {other:?}"),
            }
        }
        assert_eq!(hit.read_range(size..size).await.unwrap(), Bytes::new());
    }
}

async fn a_seek_past_the_end_is_refused_and_the_reader_stays(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700u64), (2, LARGE as u64)] {
        cache.insert(&key(n), body(n, 1, len as usize)).await.unwrap();
        let mut reader = hit(&cache, &key(n)).await.reader();
        reader.seek(7, Some(20)).unwrap();
        for (start, end) in [(len + 1, None), (0, Some(len + 1)), (9, Some(8)), (u64::MAX, None)] {
            assert!(matches!(reader.seek(start, end), Err(Error::InvalidRange { .. })), "{start} to {end:?}");
        }
        assert_eq!(reader.position(), 7);
        assert_eq!(reader.next().await.unwrap().unwrap(), body(n, 1, 20)[7..]);
        assert!(reader.next().await.unwrap().is_none());
    }
}

async fn a_zero_ttl_is_stale_at_once(ctx: Ctx) {
    let cache = ctx.builder().default_ttl(Duration::ZERO).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    let zero = InsertOptions::new().expiry(Expiry::After(Duration::ZERO));
    cache.insert_with(&key(2), body(2, 1, 10), zero).await.unwrap();
    for n in [1, 2] {
        assert!(get(&cache, &key(n)).await.is_none() && !cache.contains(&key(n)));
        assert!(find_stale(&cache, &key(n)).await.unwrap().is_stale());
    }
}

async fn an_expiry_in_the_past_is_stale_at_once(ctx: Ctx) {
    let cache = ctx.open().await;
    for at in
        [UNIX_EPOCH, UNIX_EPOCH - Duration::from_secs(86_400), common::epoch() - Duration::from_millis(1)]
    {
        cache
            .insert_with(&key(1), body(1, 1, 10), InsertOptions::new().expiry(Expiry::At(at)))
            .await
            .unwrap();
        assert!(get(&cache, &key(1)).await.is_none(), "{at:?}");
        assert!(find_stale(&cache, &key(1)).await.unwrap().is_stale(), "{at:?}");
    }
}

async fn an_expiry_beyond_all_time_is_never_reached(ctx: Ctx) {
    let cache = ctx.open().await;
    let far = common::epoch() + Duration::from_secs(1 << 40);
    for expiry in [Expiry::After(Duration::MAX), Expiry::At(far)] {
        cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().expiry(expiry)).await.unwrap();
        assert!(!hit(&cache, &key(1)).await.is_stale(), "{expiry:?}");
    }
}

async fn a_capacity_that_is_too_small_is_refused_before_anything_is_made(ctx: Ctx) {
    let small = ctx.builder().capacity(ByteSize::bytes_of(8 * common::SEGMENT - 1));
    match small.open().await {
        Err(Error::InvalidConfig { field, reason }) => {
            assert_eq!(field, "capacity");
            assert!(reason.contains("512KiB"), "it says what would do: {reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!ctx.dir.exists());
    ctx.builder().capacity(ByteSize::bytes_of(8 * common::SEGMENT)).open().await.unwrap();
}

async fn a_capacity_is_required(ctx: Ctx) {
    let refused = DiskCache::builder(&ctx.dir).backend(ctx.backend).open().await;
    assert!(matches!(refused, Err(Error::InvalidConfig { field: "capacity", .. })), "{refused:?}");
    assert!(!ctx.dir.exists());
}

async fn every_value_out_of_bounds_is_refused_by_name_before_anything_is_made(ctx: Ctx) {
    let b = || ctx.builder();
    for (name, builder) in [
        ("segment_size", b().segment_size(ByteSize::bytes_of(5000))),
        ("segment_size", b().segment_size(ByteSize::bytes_of(0))),
        ("segment_size", b().segment_size(ByteSize::gib(2))),
        ("max_entry_size", b().max_entry_size(ByteSize::bytes_of(0))),
        ("max_entry_size", b().max_entry_size(ByteSize::gib(1))),
        ("write_buffer", b().write_buffer(ByteSize::bytes_of(0))),
        ("flush_interval", b().flush_interval(Duration::ZERO)),
        ("flush_interval", b().flush_interval(Duration::from_secs(61))),
        ("max_write_amplification", b().max_write_amplification(0.9)),
        ("max_write_amplification", b().max_write_amplification(f64::NAN)),
        ("max_write_amplification", b().max_write_amplification(f64::INFINITY)),
    ] {
        for refused in [builder.clone().open().await, builder.open_blocking()] {
            match refused {
                Err(Error::InvalidConfig { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(!ctx.dir.exists());
}

async fn missing_directories_are_made(ctx: Ctx) {
    let ctx = Ctx { dir: ctx.base.join("one/two/three"), ..ctx };
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 10)));
}

fn io_on<T: std::fmt::Debug>(result: Result<T, Error>, path: &Path) {
    match result {
        Err(Error::Io { path: told, .. }) => assert!(told.starts_with(path), "{} is told", told.display()),
        other => panic!("{other:?}"),
    }
}

async fn a_file_in_the_directorys_place_is_refused_and_stays(ctx: Ctx) {
    fs::write(&ctx.dir, b"precious").unwrap();
    io_on(ctx.builder().open().await, &ctx.dir);
    io_on(ctx.builder_at(&ctx.dir.join("below")).open().await, &ctx.dir);
    assert_eq!(fs::read(&ctx.dir).unwrap(), b"precious");
}

async fn a_file_in_the_place_of_the_segments_is_refused_and_stays(ctx: Ctx) {
    fs::create_dir(&ctx.dir).unwrap();
    fs::write(ctx.dir.join("segments"), b"precious").unwrap();
    io_on(ctx.builder().open().await, &ctx.dir);
    assert_eq!(fs::read(ctx.dir.join("segments")).unwrap(), b"precious");
}

async fn a_directory_in_the_place_of_the_superblock_is_refused(ctx: Ctx) {
    fs::create_dir_all(ctx.superblock()).unwrap();
    let refused = ctx.builder().open().await;
    assert!(matches!(refused, Err(Error::Io { .. } | Error::Corrupt { .. })), "{refused:?}");
    assert!(ctx.superblock().is_dir());
}

/// Frees a file's bytes. Removed as it is, it would keep them while a child that another test has just forked holds it too.
fn give_up(filler: &Path) {
    fs::File::options().write(true).open(filler).unwrap().set_len(0).unwrap();
    fs::remove_file(filler).unwrap();
}

/// A small file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: PathBuf, options: &str) -> Result<Self, Skip> {
        fs::create_dir_all(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()])?;
        Ok(Self(at))
    }

    fn remount(&self, options: &str) -> Result<(), Skip> {
        run("mount", &["-o", &format!("remount,{options}"), self.0.to_str().unwrap()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Skip> {
    let skip = |why: String| Skip(format!("{program} {}: {why}", arguments.join(" ")));
    let out = Command::new(program).args(arguments).output().map_err(|e| skip(e.to_string()))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(skip(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
    }
}

async fn a_read_only_file_system_is_refused(ctx: Ctx) -> Verdict {
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=16m")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    cache.close().await.unwrap();
    drop(cache);
    mount.remount("ro")?;
    let before = contents(&ctx.dir);
    let refused = ctx.builder().open().await;
    assert!(matches!(refused, Err(Error::Io { .. } | Error::BackendUnavailable { .. })), "{refused:?}");
    assert!(contents(&ctx.dir) == before);
    mount.remount("rw")?;
    assert_eq!(get(&ctx.open().await, &key(1)).await, Some(body(1, 1, 100)));
    Ok(())
}

async fn a_directory_without_permission_is_refused(ctx: Ctx) -> Verdict {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(&ctx.dir).unwrap();
        fs::set_permissions(&ctx.dir, fs::Permissions::from_mode(0o500)).unwrap();
        if fs::write(ctx.dir.join("probe"), b"").is_ok() {
            return Err(Skip("this user may write anywhere".to_owned()));
        }
        let refused = ctx.builder().open().await;
        fs::set_permissions(&ctx.dir, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(refused, Err(Error::Io { .. } | Error::BackendUnavailable { .. })), "{refused:?}");
        assert!(contents(&ctx.dir).is_empty());
        Ok(())
    }
    #[cfg(not(unix))]
    {
        drop(ctx);
        Err(Skip("no permissions of this kind here".to_owned()))
    }
}

async fn a_full_disk_refuses_an_open_and_allows_one_when_there_is_room(ctx: Ctx) -> Verdict {
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=4m")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let filler = mount.0.join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    let refused = ctx.builder().open().await;
    let full = matches!(
        refused,
        Err(Error::StorageFull { .. } | Error::Io { .. } | Error::BackendUnavailable { .. })
    );
    assert!(full, "{refused:?}");
    give_up(&filler);
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
    Ok(())
}

async fn a_disk_that_fills_up_refuses_inserts_and_keeps_serving(ctx: Ctx) -> Verdict {
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=4m")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let cache = ctx.open().await;
    for n in 0..20 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    cache.flush().await.unwrap();
    let filler = mount.0.join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    let mut refused = 0;
    for n in 100..1100 {
        match cache.insert(&key(n), body(n, 1, if n % 3 == 0 { LARGE } else { 3000 })).await {
            Ok(_) => {}
            Err(Error::StorageFull { .. } | Error::Io { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        // Room is made by dropping the oldest; what is there is right.
        let len = if n % 3 == 0 { LARGE } else { 3000 };
        let found = peek(&cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, len)));
    }
    assert!(refused > 0, "a body of {LARGE} bytes had no room");
    give_up(&filler);
    for n in 2000..2100 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 3000)));
    }
    cache.insert(&key(1), body(1, 2, LARGE)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, LARGE)));
    Ok(())
}

async fn a_disk_without_a_name_to_give_refuses_large_bodies_and_keeps_serving(ctx: Ctx) -> Verdict {
    // Bytes are left, inodes are not: a large body and a segment need a new one each.
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=64m,nr_inodes=40")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let cache = ctx.open().await;
    for n in 0..20 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    cache.flush().await.unwrap();
    let fillers: Vec<_> = (0..64).map(|n| mount.0.join(format!("filler-{n}"))).collect();
    assert!(fillers.iter().any(|filler| fs::write(filler, b"").is_err()), "there are more inodes");
    let mut refused = 0;
    for n in 100..400 {
        let len = if n % 3 == 0 { LARGE } else { 3000 };
        match cache.insert(&key(n), body(n, 1, len)).await {
            Ok(_) => {}
            Err(Error::StorageFull { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        // The oldest segment goes for the next one.
        let found = peek(&cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, len)));
    }
    assert!(refused > 0, "large bodies found inodes");
    for filler in fillers {
        fs::remove_file(filler).ok();
    }
    for n in 2000..2100 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 3000)));
    }
    cache.insert(&key(1), body(1, 2, LARGE)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, LARGE)));
    Ok(())
}

async fn a_minimum_of_free_space_that_is_not_there_stops_the_growth(ctx: Ctx) {
    let cache = ctx.builder().min_free_space(ByteSize::gib(1 << 20)).open().await.unwrap();
    let refused = cache.insert(&key(1), body(1, 1, LARGE)).await;
    assert!(matches!(refused, Err(Error::StorageFull { .. })), "{refused:?}");
    for n in 0..200 {
        match cache.insert(&key(n), body(n, 1, 3000)).await {
            Ok(_) | Err(Error::StorageFull { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(cache.stats().disk_bytes <= 3 * common::SEGMENT, "it does not grow");
    }
}

async fn an_operation_after_close_is_refused_and_a_second_close_too(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.close().await.unwrap();
    for _ in 0..2 {
        assert!(matches!(cache.insert(&key(1), bytes(1)).await, Err(Error::Closed)));
        assert!(matches!(cache.close().await, Err(Error::Closed)));
    }
    assert_eq!(ctx.open().await.stats().entries, 0);
}

async fn errors_say_what_to_do(ctx: Ctx) {
    let cache = ctx.open().await;
    let locked = ctx.builder().open().await.unwrap_err().to_string();
    assert!(locked.contains("LOCK") && locked.contains("another directory"), "{locked}");
    let small = ctx.builder().capacity(ByteSize::kib(1)).open().await.unwrap_err().to_string();
    assert!(small.contains("capacity") && small.contains("at least"), "{small}");
    cache.insert(&key(1), bytes(5)).await.unwrap();
    let range = hit(&cache, &key(1)).await.read_range(3..9).await.unwrap_err().to_string();
    assert!(range.contains("3..9") && range.contains("5 bytes"), "{range}");
    let large = cache.insert_with(&key(1), bytes(1), InsertOptions::new().meta(bytes(70_000))).await;
    let large = large.unwrap_err().to_string();
    assert!(large.contains("meta") && large.contains("65536"), "{large}");
    cache.close().await.unwrap();
    let closed = cache.get(&key(1)).await.unwrap_err().to_string();
    assert!(closed.contains("open it again"), "{closed}");
}

async fn a_configuration_reads_from_json(ctx: Ctx) {
    let backend = serde_json::to_value(ctx.backend).unwrap();
    let config: Config = serde_json::from_value(json!({
        "dir": ctx.dir, "capacity": "2MiB", "segment_size": 65536, "backend": backend, "durability": "written",
        "default_ttl_ms": 60000, "stale_window_ms": 1, "max_entry_size": "1MiB", "write_buffer": "256 kib",
        "flush_interval_ms": 5, "min_free_space": "0B", "max_write_amplification": 2.5, "on_damage": "recreate",
    }))
    .unwrap();
    assert_eq!((config.capacity, config.default_ttl), (ByteSize::mib(2), Some(Duration::from_secs(60))));
    let cache = Builder::from_config(config).clock(ctx.clock.clone()).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(common::epoch() + Duration::from_secs(60)));
}

async fn a_configuration_with_an_unknown_field_is_refused(_: Ctx) {
    let read =
        serde_json::from_value::<Config>(json!({ "dir": "d", "capacity": "1GiB", "compression": "lz4" }));
    let refused = read.unwrap_err().to_string();
    assert!(refused.contains("compression"), "{refused}");
}

async fn a_configuration_without_directory_or_capacity_is_refused(_: Ctx) {
    for (text, field) in [(json!({ "capacity": "1GiB" }), "dir"), (json!({ "dir": "d" }), "capacity")] {
        let refused = serde_json::from_value::<Config>(text).unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
}

async fn a_configuration_with_a_value_of_the_wrong_kind_is_refused(_: Ctx) {
    for (field, value) in [
        ("capacity", json!("ten")),
        ("capacity", json!(-1)),
        ("capacity", json!(null)),
        ("backend", json!("uring")),
        ("durability", json!("maybe")),
        ("default_ttl_ms", json!("1h")),
        ("flush_interval_ms", json!(-5)),
        ("on_damage", json!("ignore")),
    ] {
        let mut text = json!({ "dir": "d", "capacity": "1GiB" });
        text[field] = value.clone();
        assert!(serde_json::from_value::<Config>(text).is_err(), "{field}: {value}");
    }
}

async fn a_configuration_survives_being_written_and_read(ctx: Ctx) {
    let mut config = Config::new(&ctx.dir, ByteSize::gib(10));
    config.backend = ctx.backend;
    config.default_ttl = Some(Duration::from_millis(1500));
    config.segment_size = Some(ByteSize::mib(64));
    let read: Config = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(read, config);
    assert!(read.validate().is_ok());
}

async fn sizes_that_are_none_are_refused(_: Ctx) {
    for text in [
        "",
        " ",
        "GiB",
        "-1",
        "1 2",
        "1e9",
        "0x10",
        "10 apples",
        "18446744073709551616",
        "99999999TiB",
        "1.2.3MB",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
    }
    assert_eq!("18446744073709551615".parse(), Ok(ByteSize::bytes_of(u64::MAX)));
}
