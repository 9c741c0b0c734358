//! Streaming inserts over a disk in memory: crashes and failures in the middle, quota, and what dooms a write.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use bytes::Bytes;
use cache_core::{
    Admission, ByteSize, Cache, CacheKey, Config, DiskBackend, Durability, Error, Follower, InsertOptions,
    Inserted, SystemClock,
};
use cache_store::{Engine, EntryWriter};
use cache_testkit::{CrashPlan, Fault, FaultBackend, Gate, MemoryBackend, Rule, Verb};
use std::{path::Path, sync::Arc};
use store_testkit::{DIR, body, disk, in_time, key, open_with, paused, peek};
use tokio::runtime::Handle;

/// Segments of 64 KiB, bodies over 8 KiB out of line, at most 1 MiB of a body.
fn wide() -> Config {
    let mut config = Config::new(DIR, ByteSize::mib(2));
    config.segment_size = Some(ByteSize::kib(64));
    config.write_buffer = ByteSize::kib(256);
    config.min_free_space = ByteSize::bytes_of(0);
    config
}

async fn objects(backend: &impl DiskBackend) -> usize {
    backend.list(&Path::new(DIR).join("objects")).await.unwrap().len()
}

/// Lets background work come to rest.
async fn rest() {
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

async fn stream<B: DiskBackend>(
    engine: &Engine<B>,
    key: &CacheKey,
    body: &Bytes,
    piece: usize,
) -> Result<Inserted, Error> {
    let mut writer = engine.writer(key, InsertOptions::new()).await?;
    for piece in body.chunks(piece) {
        writer.write(body.slice_ref(piece)).await?;
    }
    writer.commit().await
}

fn stored(inserted: &Inserted) -> u64 {
    match inserted {
        Inserted::Stored { disk_size, .. } => *disk_size,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_streamed_body_lies_on_the_disk_as_if_inserted_whole_and_survives_a_restart() {
    paused().block_on(async {
        let disk = disk();
        let engine = open_with(&disk, wide()).await;
        let cases =
            [(0, 1), (1, 1), (8192, 7), (8193, 1000), (65_536, 65_536), (300_001, 1013), (700_000, 300_000)];
        for (n, (len, piece)) in cases.into_iter().enumerate() {
            let (key, body) = (key(n as u64), body(n as u64, 1, len));
            let streamed = stored(&stream(&engine, &key, &body, piece).await.unwrap());
            assert_eq!(peek(&engine, &key).await.as_ref(), Some(&body), "{len}");
            engine.flush().await.unwrap();
            rest().await;
            let files = objects(&disk).await;
            let inserted = stored(&engine.insert(&key, body.clone()).await.unwrap());
            engine.flush().await.unwrap();
            rest().await;
            assert_eq!((streamed, files), (inserted, objects(&disk).await), "{len}");
            stream(&engine, &key, &body, piece).await.unwrap();
        }
        let expected: Vec<_> = (0..cases.len() as u64).map(|n| engine.contains(&key(n))).collect();
        engine.close().await.unwrap();
        let engine = open_with(&disk.kill(), wide()).await;
        for (n, (len, _)) in cases.into_iter().enumerate() {
            assert!(expected[n], "nothing had to go");
            assert_eq!(peek(&engine, &key(n as u64)).await.unwrap(), body(n as u64, 1, len), "{len}");
        }
        engine.check_invariants().unwrap();
    });
}

#[test]
fn a_follower_that_falls_behind_reads_the_file_and_gets_every_byte() {
    paused().block_on(async {
        let disk = disk();
        let engine = open_with(&disk, wide()).await;
        let body = body(1, 1, 900_000);
        let mut writer = engine.writer(&key(1), InsertOptions::new().meta("meta")).await.unwrap();
        let (late, slow) = (writer.follow(), engine.follow(&key(1)).unwrap());
        let mut slow = slow.reader();
        for piece in body.chunks(10_000) {
            writer.write(body.slice_ref(piece)).await.unwrap();
        }
        assert_eq!((late.meta().as_ref(), late.id(), late.len()), (&b"meta"[..], writer.id(), None));
        let mut seen = slow.next().await.unwrap().unwrap().to_vec();
        writer.commit().await.unwrap();
        while let Some(piece) = slow.next().await.unwrap() {
            seen.extend_from_slice(&piece);
        }
        assert_eq!(seen, body);
        assert_eq!(late.len(), Some(900_000));
        assert_eq!(late.bytes().await.unwrap(), body);
        let mut part = late.reader();
        part.seek(500_000, Some(500_010)).unwrap();
        assert_eq!(part.next().await.unwrap().unwrap(), body.slice(500_000..500_010));
        assert!(part.seek(0, Some(900_001)).is_err());
        // Also once the entry is gone.
        engine.remove(&key(1)).await.unwrap();
        rest().await;
        assert_eq!((late.bytes().await.unwrap(), objects(&disk).await), (body, 0));
    });
}

#[test]
fn a_range_past_the_end_of_a_growing_body_is_an_error_and_not_a_short_answer() {
    paused().block_on(async {
        let engine = open_with(&disk(), wide()).await;
        let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
        let (mut over, mut past) = (writer.follow().reader(), writer.follow().reader());
        over.seek(0, Some(20)).unwrap();
        past.seek(11, None).unwrap();
        writer.write("0123456789".into()).await.unwrap();
        assert_eq!(over.next().await.unwrap().unwrap(), "0123456789");
        writer.commit().await.unwrap();
        assert!(matches!(over.next().await, Err(Error::InvalidRange { start: 10, end: 20, len: 10 })));
        assert!(matches!(past.next().await, Err(Error::InvalidRange { start: 11, len: 10, .. })));
    });
}

#[test]
fn a_dropped_writer_leaves_nothing_and_fails_its_followers() {
    paused().block_on(async {
        let disk = disk();
        let engine = open_with(&disk, wide()).await;
        engine.insert(&key(1), "old".into()).await.unwrap();
        rest().await;
        let before = engine.stats().disk_bytes;
        for len in [100, 400_000] {
            let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
            let follower = writer.follow();
            let (mut ahead, mut behind) = (follower.reader(), follower.reader());
            ahead.seek(len as u64, None).unwrap();
            let waiting = tokio::spawn(async move { ahead.next().await });
            writer.write(body(1, 2, len)).await.unwrap();
            writer.write(body(1, 2, 1)).await.unwrap();
            assert_eq!(waiting.await.unwrap().unwrap().unwrap().len(), 1);
            assert!(behind.next().await.unwrap().is_some());
            let id = writer.id();
            drop(writer);
            assert!(matches!(behind.next().await, Err(Error::WriterAborted)));
            assert!(matches!(follower.bytes().await, Err(Error::WriterAborted)));
            assert!(engine.follow((&key(1), id)).is_none());
            drop((follower, behind));
            rest().await;
            assert_eq!((objects(&disk).await, engine.stats().disk_bytes), (0, before), "{len}");
            assert_eq!(peek(&engine, &key(1)).await.unwrap(), "old", "it never replaced anything");
        }
        engine.check_invariants().unwrap();
    });
}

#[test]
fn a_crash_at_any_point_of_a_stream_leaves_the_older_value_and_no_file() {
    let disk = disk();
    let steps = paused().block_on(async {
        let engine = open_with(&disk, wide()).await;
        engine
            .insert_with(&key(1), "old".into(), InsertOptions::new().durability(Durability::Synced))
            .await
            .unwrap();
        rest().await;
        disk.record();
        let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
        for _ in 0..9 {
            writer.write(body(1, 2, 100_000)).await.unwrap();
        }
        let steps = disk.recorded();
        writer.commit().await.unwrap();
        steps
    });
    assert!(steps.len() > 2, "the file was written while it grew: {} steps", steps.len());
    for (at, step) in steps.iter().enumerate() {
        for plan in
            [None, Some(CrashPlan::Nothing), Some(CrashPlan::Everything), Some(CrashPlan::Seeded(at as u64))]
        {
            let left = plan.map_or_else(|| step.after.kill(), |plan| step.after.crash_with(plan));
            paused().block_on(async {
                let engine = open_with(&left, wide()).await;
                assert_eq!(peek(&engine, &key(1)).await.unwrap(), "old", "after step {at}, by {plan:?}");
                assert_eq!(objects(&left).await, 0, "after step {at}, by {plan:?}");
                engine.check_invariants().unwrap();
            });
        }
    }
}

#[test]
fn a_committed_stream_survives_a_power_cut_whole() {
    let disk = disk();
    paused().block_on(async {
        let engine = open_with(&disk, wide()).await;
        let options = InsertOptions::new().durability(Durability::Synced);
        let mut writer = engine.writer(&key(1), options).await.unwrap();
        for piece in body(1, 1, 500_000).chunks(70_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.commit().await.unwrap();
    });
    for plan in [CrashPlan::Nothing, CrashPlan::Everything, CrashPlan::Seeded(1), CrashPlan::Seeded(2)] {
        paused().block_on(async {
            let engine = open_with(&disk.crash_with(plan), wide()).await;
            assert_eq!(peek(&engine, &key(1)).await.unwrap(), body(1, 1, 500_000), "{plan:?}");
        });
    }
}

#[test]
fn a_stream_that_is_not_admitted_leaves_no_older_value_to_come_back() {
    // Its flight was given up before its tombstone was asked for, which was therefore not written.
    #[derive(Debug)]
    struct Nobody;
    impl Admission for Nobody {
        fn admit(&self, _: &CacheKey) -> bool {
            false
        }
    }
    let disk = disk();
    paused().block_on(async {
        let engine = open_with(&disk, wide()).await;
        let synced = || InsertOptions::new().durability(Durability::Synced);
        engine.insert_with(&key(1), "old".into(), synced()).await.unwrap();
        // Evicted, its record still lies in the log.
        let mut others = 2..;
        while engine.contains(&key(1)) {
            let n = others.next().unwrap();
            engine.insert(&key(n), body(n, 1, 7000)).await.unwrap();
        }
        engine.admit_by(Arc::new(Nobody));
        let done = stream(&engine, &key(1), &body(1, 2, 900_000), 90_000).await;
        assert!(matches!(done, Ok(Inserted::NotAdmitted)), "{done:?}");
        assert_eq!(engine.stats().not_admitted, 1);
        // Room for it to come back.
        for n in 2..others.start {
            engine.remove(&key(n)).await.unwrap();
        }
        engine.flush().await.unwrap();
    });
    paused().block_on(async {
        let engine = open_with(&disk.crash_with(CrashPlan::Everything), wide()).await;
        assert_eq!(peek(&engine, &key(1)).await, None);
    });
}

type Faulty = FaultBackend<MemoryBackend>;

async fn open_faulty(backend: &Faulty) -> Engine<Faulty> {
    Engine::open(wide(), Arc::new(SystemClock), backend.clone(), Handle::current()).await.unwrap()
}

/// Reads along to the end, and tells what there was before an error.
async fn read_along(follower: Follower) -> (Vec<u8>, Result<(), Error>) {
    let (mut seen, mut reader) = (Vec::new(), follower.reader());
    drop(follower);
    loop {
        match reader.next().await {
            Ok(Some(piece)) => seen.extend_from_slice(&piece),
            Ok(None) => return (seen, Ok(())),
            Err(error) => return (seen, Err(error)),
        }
    }
}

#[test]
fn every_failure_point_of_a_stream_is_told_and_leaves_neither_a_file_nor_the_older_value() {
    for (errno, feed) in [(5, false), (28, false), (5, true)] {
        let mut failures = 0;
        for nth in 1.. {
            let fired = paused().block_on(async {
                let faults = FaultBackend::new(disk());
                let engine = open_faulty(&faults).await;
                let synced = || InsertOptions::new().durability(Durability::Synced);
                engine.insert_with(&key(1), "old".into(), synced()).await.unwrap();
                rest().await;
                let verbs = [Verb::Open, Verb::Write, Verb::FreeSpace];
                let rule = Rule::new(Fault::Errno(errno)).verbs(verbs).path(Path::new(DIR).join("objects"));
                faults.plant(rule.nth(nth).from_then_on());
                let whole = body(1, 2, 900_000);
                let mut writer = engine.writer(&key(1), synced()).await.unwrap();
                writer.keep_feeding(feed);
                let reading = tokio::spawn(read_along(writer.follow()));
                let mut told = None;
                for piece in whole.chunks(90_000) {
                    if let Err(error) = writer.write(whole.slice_ref(piece)).await {
                        told = Some(error);
                        break;
                    }
                }
                let done = in_time("a commit", writer.commit()).await;
                let (seen, end) = in_time("a follower", reading).await.unwrap();
                let fired = faults.fired() > 0;
                if done.is_ok() || feed {
                    assert!(end.is_ok() && seen == whole, "operation {nth}: a follower got less than all");
                    assert!(told.is_none());
                } else {
                    assert!(matches!(end, Err(Error::WriterAborted)), "operation {nth}: {end:?}");
                    assert!(whole.starts_with(&seen));
                }
                assert_eq!(done.is_err(), fired, "operation {nth}: {done:?}");
                faults.clear();
                rest().await;
                let value = peek(&engine, &key(1)).await;
                assert_eq!(value, (!fired).then_some(whole), "operation {nth}");
                assert_eq!(objects(&faults).await, usize::from(!fired), "operation {nth}");
                engine.insert(&key(2), body(2, 1, 50_000)).await.unwrap();
                engine.flush().await.unwrap();
                engine.check_invariants().unwrap();
                fired
            });
            failures += u32::from(fired);
            if !fired {
                break;
            }
        }
        assert!(failures > 2, "the file was written in several steps");
    }
}

#[test]
fn a_reader_that_takes_nothing_holds_the_others_up_for_half_a_minute() {
    // It held them, and whoever wrote, for as long as it liked.
    paused().block_on(async {
        let engine = open_with(&disk(), wide()).await;
        // Longer than the cache takes.
        let whole = body(1, 1, 5_000_000);
        let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
        writer.keep_feeding(true);
        let mut stuck = writer.follow().reader();
        let reading = tokio::spawn(read_along(writer.follow()));
        let begun = tokio::time::Instant::now();
        for piece in whole.chunks(90_000) {
            writer.write(whole.slice_ref(piece)).await.unwrap();
        }
        assert!(writer.commit().await.is_err(), "it is not stored");
        let (seen, end) = reading.await.unwrap();
        assert!(end.is_ok() && seen == whole, "{end:?} after {} bytes", seen.len());
        assert_eq!(begun.elapsed().as_secs(), 30);
        let cut_off = loop {
            match stuck.next().await {
                // What is in the file.
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(cut_off, Err(Error::WriterAborted)), "{cut_off:?}");
    });
}

#[test]
fn bodies_on_their_way_take_at_most_half_of_the_capacity_and_never_wait_for_each_other() {
    paused().block_on(async {
        let disk = disk();
        let engine = open_with(&disk, wide()).await;
        let mut writers: Vec<EntryWriter<MemoryBackend>> = Vec::new();
        for n in 0..4 {
            writers.push(engine.writer(&key(n), InsertOptions::new()).await.unwrap());
        }
        let mut full = 0;
        for round in 0..10 {
            for (n, writer) in writers.iter_mut().enumerate() {
                let piece = body(n as u64, round, 100_000);
                match in_time("a write", writer.write(piece)).await {
                    Ok(()) => {}
                    Err(Error::StorageFull { .. }) => full += 1,
                    Err(error) => panic!("{error}"),
                }
                let stats = engine.stats();
                assert!(stats.disk_bytes <= stats.capacity, "{stats:?}");
            }
        }
        assert!(full > 0, "4 MB of bodies in a cache of 2 MiB");
        let mut stored = 0;
        for writer in writers {
            match in_time("a commit", writer.commit()).await {
                Ok(Inserted::Stored { .. }) => stored += 1,
                Err(Error::StorageFull { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(stored < 4);
        rest().await;
        assert_eq!(objects(&disk).await, stored);
        engine.insert(&key(9), body(9, 1, 1_000_000)).await.unwrap();
        assert_eq!(peek(&engine, &key(9)).await.unwrap(), body(9, 1, 1_000_000), "all room came back");
        engine.check_invariants().unwrap();
    });
}

#[test]
fn a_body_of_more_than_half_of_the_capacity_is_refused_while_it_is_written() {
    paused().block_on(async {
        let disk = disk();
        let engine = open_with(&disk, wide()).await;
        engine.insert(&key(1), "old".into()).await.unwrap();
        let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
        let mut written = 0;
        let error = loop {
            match writer.write(body(1, 2, 100_000)).await {
                Ok(()) => written += 100_000,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, Error::TooLarge { max: 0x10_0000, .. } | Error::StorageFull { .. }),
            "{error}"
        );
        assert!(written <= 1 << 20);
        assert!(peek(&engine, &key(1)).await.is_none(), "the older value is gone as soon as that is clear");
        assert!(writer.write("more".into()).await.is_err());
        assert!(writer.commit().await.is_err());
        rest().await;
        assert_eq!(objects(&disk).await, 0);
    });
}

#[test]
fn a_failed_stream_does_not_remove_what_overtook_it() {
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let engine = open_faulty(&faults).await;
        let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
        writer.write(body(1, 1, 100_000)).await.unwrap();
        engine.insert(&key(1), "new".into()).await.unwrap();
        faults.plant(Rule::new(Fault::Errno(5)).path(Path::new(DIR).join("objects")).from_then_on());
        assert!(writer.write(body(1, 1, 100_000)).await.is_err());
        assert!(writer.commit().await.is_err());
        assert_eq!(peek(&engine, &key(1)).await.unwrap(), "new");
    });
}

#[test]
fn a_stream_dropped_in_the_middle_of_any_disk_operation_leaves_no_file() {
    for held in 1.. {
        let reached = paused().block_on(async {
            let faults = FaultBackend::new(disk());
            let engine = open_faulty(&faults).await;
            rest().await;
            let gate = Gate::new();
            let rule = Rule::new(Fault::HoldAfter(gate.clone())).path(Path::new(DIR).join("objects"));
            faults.plant(rule.verbs([Verb::Open, Verb::Write]).nth(held));
            let own = engine.clone();
            let writing =
                tokio::spawn(async move { stream(&own, &key(1), &body(1, 1, 900_000), 90_000).await });
            let reached = tokio::select! {
                () = gate.arrived() => true,
                () = tokio::time::sleep(std::time::Duration::from_secs(60)) => false,
            };
            if reached {
                writing.abort();
                assert!(writing.await.is_err());
            }
            gate.open();
            rest().await;
            assert_eq!(objects(&faults).await, usize::from(!reached), "held at operation {held}");
            assert_eq!(peek(&engine, &key(1)).await.is_some(), !reached);
            reached
        });
        if !reached {
            assert!(held > 3, "the file was written in several steps");
            return;
        }
    }
}

#[test]
fn a_close_ends_writes_under_way_and_leaves_no_file() {
    paused().block_on(async {
        let disk = disk();
        let engine = open_with(&disk, wide()).await;
        let mut writer = engine.writer(&key(1), InsertOptions::new()).await.unwrap();
        writer.write(body(1, 1, 400_000)).await.unwrap();
        writer.write(body(1, 1, 1)).await.unwrap();
        assert_eq!(objects(&disk).await, 1);
        engine.close().await.unwrap();
        assert_eq!(objects(&disk).await, 0);
        assert!(matches!(writer.commit().await, Err(Error::Closed)));
        assert!(matches!(engine.writer(&key(2), InsertOptions::new()).await, Err(Error::Closed)));
        let engine = open_with(&disk, wide()).await;
        assert!(peek(&engine, &key(1)).await.is_none());
    });
}
