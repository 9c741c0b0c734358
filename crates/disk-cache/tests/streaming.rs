//! Bodies that are written in pieces and read along, over every backend.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    clippy::items_after_statements,
    clippy::needless_pass_by_value,
    reason = "a test may panic, print, box nothing and read from top to bottom"
)]

mod common;

use bytes::Bytes;
use common::{Ctx, body, get, hit, id, key, peek, synced, until};
use disk_cache::{
    ByteSize, CacheKey, DiskCache, Durability, EntryId, Error, InsertOptions, Inserted, PurgeMode,
    PurgeScope, SecondHit,
};
use std::{process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    common::main(cases! {
        a_body_in_pieces_is_the_body_as_it_was_written
        a_reader_sees_each_piece_as_soon_as_it_is_written
        many_readers_of_one_write_get_equal_bytes
        a_dropped_writer_leaves_no_file_and_its_followers_an_error
        of_two_writers_of_one_key_the_first_to_commit_wins
        whatever_is_said_about_a_key_dooms_what_is_being_written_of_it
        what_is_said_about_another_key_dooms_nothing
        one_exact_write_can_be_removed_or_expired
        a_doomed_write_is_found_by_its_id_alone_and_read_to_its_end
        a_purge_that_was_acknowledged_holds_after_a_crash_with_a_write_under_way
        writes_under_way_do_not_survive_a_crash
        what_is_refused_at_the_start_removes_the_older_value
        a_body_past_the_largest_entry_removes_the_older_value
        an_empty_body_can_be_streamed
        a_writer_keeps_the_cache_open
        a_closed_cache_takes_no_writes_and_leaves_no_files
        a_stream_over_a_cache_of_small_entries_evicts_the_oldest
        a_hundred_writers_at_once_stay_within_the_quota
        a_new_key_is_stored_the_second_time_where_admission_says_so
        a_stream_that_is_not_admitted_feeds_its_readers_and_writes_nothing
    })
}

async fn write(cache: &DiskCache, key: &CacheKey, body: &Bytes, piece: usize) -> Result<Inserted, Error> {
    let mut writer = cache.writer(key, InsertOptions::new()).await?;
    for piece in body.chunks(piece) {
        writer.write(body.slice_ref(piece)).await?;
    }
    writer.commit().await
}

/// 32 MiB in segments of 256 KiB: bodies over 32 KiB are out of line.
async fn large(ctx: &Ctx) -> DiskCache {
    let size = ByteSize::kib(256);
    ctx.builder().capacity(ByteSize::mib(32)).segment_size(size).open().await.unwrap()
}

async fn a_body_in_pieces_is_the_body_as_it_was_written(ctx: Ctx) {
    let cache = large(&ctx).await;
    let cases = [(1, 1), (32_768, 1000), (32_769, 1000), (5_000_000, 70_001), (5_000_000, 5_000_000)];
    for (n, (len, piece)) in (0..).zip(cases) {
        let body = body(n, 1, len);
        write(&cache, &key(n), &body, piece).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await.unwrap(), body);
        let part = hit(&cache, &key(n)).await.read_range(len as u64 / 2..len as u64).await.unwrap();
        assert_eq!(part, body.slice(len / 2..));
    }
    assert_eq!(ctx.object_files().len(), 3);
    cache.close().await.unwrap();
    let cache = large(&ctx).await;
    for (n, (len, _)) in (0..).zip(cases) {
        assert_eq!(get(&cache, &key(n)).await.unwrap(), body(n, 1, len));
    }
}

async fn a_reader_sees_each_piece_as_soon_as_it_is_written(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), InsertOptions::new().meta("head")).await.unwrap();
    let follower = cache.follow(&key(1)).unwrap();
    assert_eq!((follower.meta().as_ref(), follower.id()), (&b"head"[..], writer.id()));
    let mut reader = follower.reader();
    for n in 0..60 {
        let piece = body(n, 1, 10_000);
        writer.write(piece.clone()).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < piece.len() {
            seen.extend_from_slice(&reader.next().await.unwrap().unwrap());
        }
        assert_eq!(seen, piece);
        assert!(get(&cache, &key(1)).await.is_none(), "nothing is stored before the commit");
    }
    let next = tokio::spawn(async move { reader.next().await });
    writer.commit().await.unwrap();
    assert!(next.await.unwrap().unwrap().is_none());
    assert!(cache.follow(&key(1)).is_none());
    assert_eq!(follower.len(), Some(600_000));
}

async fn many_readers_of_one_write_get_equal_bytes(ctx: Ctx) {
    let cache = large(&ctx).await;
    let whole = body(1, 1, 4_000_000);
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for n in 0..50 {
        let follower = writer.follow();
        readers.spawn(async move {
            // Some begin late, and in the middle.
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
            let (mut reader, from) = (follower.reader(), n * 1000);
            reader.seek(from, None).unwrap();
            let mut seen = Vec::new();
            while let Some(piece) = reader.next().await.unwrap() {
                seen.extend_from_slice(&piece);
            }
            (from as usize, seen)
        });
    }
    for piece in whole.chunks(33_333) {
        writer.write(whole.slice_ref(piece)).await.unwrap();
    }
    writer.commit().await.unwrap();
    while let Some(read) = readers.join_next().await {
        let (from, seen) = read.unwrap();
        assert!(whole[from..] == seen, "from {from}");
    }
}

async fn a_dropped_writer_leaves_no_file_and_its_followers_an_error(ctx: Ctx) {
    let cache = large(&ctx).await;
    cache.insert(&key(1), "old".into()).await.unwrap();
    until("the next segment is open", || cache.stats().segments == 2).await;
    let used = cache.stats().disk_bytes;
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    let mut reader = writer.follow().reader();
    writer.write(body(1, 2, 1_000_000)).await.unwrap();
    writer.write(body(1, 2, 1)).await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    assert_eq!(ctx.object_files().len(), 1);
    drop(writer);
    assert!(matches!(reader.next().await, Err(Error::WriterAborted)));
    drop(reader);
    until("the file is gone", || ctx.object_files().is_empty()).await;
    until("its bytes are back", || cache.stats().disk_bytes == used).await;
    assert_eq!(get(&cache, &key(1)).await.unwrap(), "old");
}

async fn of_two_writers_of_one_key_the_first_to_commit_wins(ctx: Ctx) {
    let cache = large(&ctx).await;
    for len in [100, 500_000] {
        let mut first = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
        let mut second = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
        first.write(body(1, 1, len)).await.unwrap();
        second.write(body(1, 2, len)).await.unwrap();
        let won = id(&second.commit().await.unwrap());
        assert!(matches!(first.commit().await.unwrap(), Inserted::Superseded));
        assert_eq!(get(&cache, &key(1)).await.unwrap(), body(1, 2, len));
        assert_eq!(hit(&cache, &key(1)).await.id(), won);
    }
}

fn tagged() -> InsertOptions {
    InsertOptions::new().tag("tag").label("label/1")
}

async fn whatever_is_said_about_a_key_dooms_what_is_being_written_of_it(ctx: Ctx) {
    let cache = large(&ctx).await;
    let prefix = PurgeScope::Prefix { namespace: "ns".into(), prefix: "label/".into() };
    let path = PurgeScope::Path { namespace: "ns".into(), path: "path-1".into() };
    let scopes =
        [PurgeScope::All, PurgeScope::Namespace("ns".into()), path, prefix, PurgeScope::Tag("tag".into())];
    for len in [100, 200_000] {
        for what in 0..scopes.len() * 2 + 5 {
            let mut writer = cache.writer(&key(1), tagged()).await.unwrap();
            writer.write(body(1, 1, len)).await.unwrap();
            match what {
                0 => drop(cache.insert(&key(1), "new".into()).await.unwrap()),
                1 => assert!(cache.remove(&key(1)).await.is_ok()),
                2 => assert!(cache.expire(&key(1)).await.is_ok()),
                3 => assert!(cache.remove_entry(&key(1)).await.is_ok()),
                4 => cache.clear().await.unwrap(),
                n => {
                    let mode = if n % 2 == 0 { PurgeMode::Remove } else { PurgeMode::Expire };
                    cache.purge_with(scopes[(n - 5) / 2].clone(), mode).await.unwrap();
                }
            }
            let done = writer.commit().await.unwrap();
            assert!(matches!(done, Inserted::Superseded), "{what}: {done:?}");
            let expected = (what == 0).then_some(Bytes::from_static(b"new"));
            assert_eq!(peek(&cache, &key(1)).await, expected, "{what}");
            cache.remove(&key(1)).await.unwrap();
        }
    }
    until("no file is left", || ctx.object_files().is_empty()).await;
}

async fn what_is_said_about_another_key_dooms_nothing(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), tagged()).await.unwrap();
    writer.write("body".into()).await.unwrap();
    cache.insert(&key(2), "x".into()).await.unwrap();
    cache.remove(&key(2)).await.unwrap();
    let namespace = || Bytes::from("ns");
    for scope in [
        PurgeScope::Namespace("other".into()),
        PurgeScope::Path { namespace: namespace(), path: "path-2".into() },
        // What has a label is met by its label only.
        PurgeScope::Prefix { namespace: namespace(), prefix: "path".into() },
        PurgeScope::Prefix { namespace: "other".into(), prefix: Bytes::new() },
        PurgeScope::Tag("label/1".into()),
    ] {
        cache.purge(scope).await.unwrap();
    }
    assert!(matches!(writer.commit().await.unwrap(), Inserted::Stored { .. }));
    assert_eq!(get(&cache, &key(1)).await.unwrap(), "body");
}

async fn one_exact_write_can_be_removed_or_expired(ctx: Ctx) {
    let cache = large(&ctx).await;
    let stored = id(&cache.insert(&key(1), "old".into()).await.unwrap());
    let mut writers = Vec::new();
    for _ in 0..3 {
        let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
        writer.write("new".into()).await.unwrap();
        writers.push(writer);
    }
    assert_eq!(cache.remove_entry((&key(1), writers[0].id())).await.unwrap(), Some(writers[0].id()));
    assert_eq!(cache.expire((&key(1), writers[1].id())).await.unwrap(), Some(writers[1].id()));
    assert_eq!(cache.remove_entry((&key(1), EntryId(1))).await.unwrap(), None);
    // The stored one alone goes, and the last write goes on.
    assert_eq!(cache.remove_entry((&key(1), stored)).await.unwrap(), Some(stored));
    let mut ends = Vec::new();
    for writer in writers {
        ends.push(matches!(writer.commit().await.unwrap(), Inserted::Superseded));
    }
    assert_eq!(ends, [true, true, false]);
    assert_eq!(get(&cache, &key(1)).await.unwrap(), "new");
}

async fn a_doomed_write_is_found_by_its_id_alone_and_read_to_its_end(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    writer.write(body(1, 1, 300_000)).await.unwrap();
    cache.remove(&key(1)).await.unwrap();
    assert!(cache.follow(&key(1)).is_none());
    let follower = cache.follow((&key(1), writer.id())).unwrap();
    assert!(cache.follow((&key(2), writer.id())).is_none());
    writer.write("end".into()).await.unwrap();
    assert_eq!(writer.commit().await.unwrap(), Inserted::Superseded);
    assert_eq!(follower.bytes().await.unwrap().len(), 300_003);
    assert!(get(&cache, &key(1)).await.is_none());
}

async fn a_purge_that_was_acknowledged_holds_after_a_crash_with_a_write_under_way(ctx: Ctx) {
    let cache = large(&ctx).await;
    cache.insert_with(&key(1), "old".into(), synced().tag("tag")).await.unwrap();
    let mut writer = cache.writer(&key(1), synced().tag("tag")).await.unwrap();
    writer.write(body(1, 2, 400_000)).await.unwrap();
    cache.purge(PurgeScope::Tag("tag".into())).await.unwrap();
    assert_eq!(writer.commit().await.unwrap(), Inserted::Superseded);
    let crashed = large(&ctx.crash("crashed")).await;
    assert!(peek(&crashed, &key(1)).await.is_none());
}

async fn writes_under_way_do_not_survive_a_crash(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    writer.write(body(1, 1, 400_000)).await.unwrap();
    writer.write("more".into()).await.unwrap();
    let after = ctx.crash("crashed");
    assert_eq!(after.object_files().len(), 1);
    let crashed = large(&after).await;
    assert!(peek(&crashed, &key(1)).await.is_none());
    assert!(after.object_files().is_empty());
    assert_eq!(crashed.recovery_report().dropped.orphan_files, 1);
}

async fn what_is_refused_at_the_start_removes_the_older_value(ctx: Ctx) {
    let cache = large(&ctx).await;
    cache.insert(&key(1), "old".into()).await.unwrap();
    let options = InsertOptions::new().meta(vec![0; disk_cache::MAX_META_LEN + 1]);
    assert!(matches!(cache.writer(&key(1), options).await, Err(Error::TooLarge { .. })));
    assert!(get(&cache, &key(1)).await.is_none());
}

async fn a_body_past_the_largest_entry_removes_the_older_value(ctx: Ctx) {
    let cache = ctx.builder().max_entry_size(ByteSize::kib(100)).open().await.unwrap();
    cache.insert(&key(1), "old".into()).await.unwrap();
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    writer.write(body(1, 1, 100 << 10)).await.unwrap();
    assert!(matches!(writer.write("1".into()).await, Err(Error::TooLarge { len: 102_401, .. })));
    drop(writer);
    assert!(get(&cache, &key(1)).await.is_none(), "whoever replaces a value is never given the old one");
    until("no file is left", || ctx.object_files().is_empty()).await;
}

async fn an_empty_body_can_be_streamed(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), InsertOptions::new().meta("head")).await.unwrap();
    let follower = writer.follow();
    writer.write(Bytes::new()).await.unwrap();
    writer.commit().await.unwrap();
    assert!(follower.is_empty() && follower.bytes().await.unwrap().is_empty());
    assert!(hit(&cache, &key(1)).await.is_empty());
}

async fn a_writer_keeps_the_cache_open(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), synced()).await.unwrap();
    drop(cache);
    writer.write(body(1, 1, 200_000)).await.unwrap();
    assert!(matches!(writer.commit().await.unwrap(), Inserted::Stored { .. }));
    common::unlocked(&ctx.dir).await;
    assert_eq!(get(&large(&ctx).await, &key(1)).await.unwrap(), body(1, 1, 200_000));
}

async fn a_closed_cache_takes_no_writes_and_leaves_no_files(ctx: Ctx) {
    let cache = large(&ctx).await;
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    writer.write(body(1, 1, 200_000)).await.unwrap();
    writer.write("more".into()).await.unwrap();
    cache.close().await.unwrap();
    assert!(ctx.object_files().is_empty());
    assert!(matches!(writer.commit().await, Err(Error::Closed)));
    assert!(matches!(cache.writer(&key(1), InsertOptions::new()).await, Err(Error::Closed)));
    let again = large(&ctx).await;
    assert_eq!(again.stats().entries, 0);
}

async fn a_stream_over_a_cache_of_small_entries_evicts_the_oldest(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..400 {
        cache.insert(&key(n), body(n, 1, 4000)).await.unwrap();
    }
    let before = cache.stats().entries;
    write(&cache, &key(1000), &body(1000, 1, 800_000), 10_000).await.unwrap();
    let stats = cache.stats();
    assert!(stats.entries < before && stats.disk_bytes <= stats.capacity, "{stats:?}");
    assert_eq!(peek(&cache, &key(1000)).await.unwrap(), body(1000, 1, 800_000));
    assert!(peek(&cache, &key(0)).await.is_none() && peek(&cache, &key(399)).await.is_some());
}

async fn a_hundred_writers_at_once_stay_within_the_quota(ctx: Ctx) {
    let cache = ctx.open().await;
    let mut writing = tokio::task::JoinSet::new();
    for n in 0..100 {
        let cache = cache.clone();
        writing.spawn(async move {
            let done = write(&cache, &key(n % 40), &body(n % 40, n, 150_000), 9_999).await;
            let stats = cache.stats();
            assert!(stats.disk_bytes <= stats.capacity, "{stats:?}");
            match done {
                Ok(Inserted::Stored { .. } | Inserted::Superseded) | Err(Error::StorageFull { .. }) => {}
                other => panic!("{other:?}"),
            }
        });
    }
    while let Some(done) = writing.join_next().await {
        done.unwrap();
    }
    cache.flush().await.unwrap();
    // All room comes back.
    write(&cache, &key(200), &body(200, 1, 900_000), 50_000).await.unwrap();
    assert_eq!(get(&cache, &key(200)).await.unwrap(), body(200, 1, 900_000));
}

async fn a_new_key_is_stored_the_second_time_where_admission_says_so(ctx: Ctx) {
    let cache = ctx.builder().admission(Arc::new(SecondHit::new(1000))).open().await.unwrap();
    for len in [100, common::LARGE] {
        let own = key(len as u64);
        assert_eq!(cache.insert(&own, body(1, 1, len)).await.unwrap(), Inserted::NotAdmitted);
        assert!(get(&cache, &own).await.is_none());
        assert!(matches!(cache.insert(&own, body(1, 2, len)).await.unwrap(), Inserted::Stored { .. }));
        // What is stored is replaced without asking.
        assert!(matches!(cache.insert(&own, body(1, 3, len)).await.unwrap(), Inserted::Stored { .. }));
        assert_eq!(get(&cache, &own).await.unwrap(), body(1, 3, len));
    }
    assert_eq!(cache.stats().not_admitted, 2);
}

async fn a_stream_that_is_not_admitted_feeds_its_readers_and_writes_nothing(ctx: Ctx) {
    let cache = ctx.builder().admission(Arc::new(SecondHit::new(1000))).open().await.unwrap();
    for len in [100, 700_000] {
        let own = key(len as u64);
        for admitted in [false, true] {
            let mut writer =
                cache.writer(&own, InsertOptions::new().durability(Durability::Written)).await.unwrap();
            writer.keep_feeding(true);
            let follower = writer.follow();
            let reading = tokio::spawn(async move { follower.bytes().await });
            for piece in body(1, 1, len).chunks(10_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            let done = writer.commit().await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), body(1, 1, len));
            assert_eq!(matches!(done, Inserted::Stored { .. }), admitted, "{done:?}");
            assert_eq!(get(&cache, &own).await.is_some(), admitted);
        }
    }
    assert_eq!(ctx.object_files().len(), 1);
}
