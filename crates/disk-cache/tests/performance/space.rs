//! What eviction, reclaim and rest cost, and what stays bounded.

use crate::{
    common::{body, key},
    lines::Lines,
    rig::{Rig, SEGMENT, at, rest},
};
use cache_testkit::{Fault, Rule, Verb};
use disk_cache::{ByteSize, Cache, Durability};
use futures_util::FutureExt;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt;

const EIO: i32 = 5;

pub(crate) async fn eviction_of_small_bodies_makes_no_call_of_its_own(mut rig: Rig) {
    rig.config.capacity = ByteSize::bytes_of(8 * SEGMENT);
    let engine = rig.open().await;
    let mut n = 0;
    while engine.stats().evictions < 50 {
        engine.insert(&key(n), body(n, 1, 20_000)).await.unwrap();
        n += 1;
    }
    rig.calls().await;
    let before = engine.stats().evictions;
    // In one poll: whatever is called is called by the insert, and the eviction that it brings about.
    for n in n..n + 5 {
        engine.insert(&key(n), body(n, 1, 20_000)).now_or_never().expect("there is room").unwrap();
    }
    assert!(engine.stats().evictions >= before + 4);
    assert!(rig.backend.take().is_empty());
}

pub(crate) async fn a_segment_of_dead_records_is_reclaimed_without_a_read(mut rig: Rig) {
    rig.config.capacity = ByteSize::bytes_of(8 * SEGMENT);
    let engine = rig.open().await;
    for version in 0..200 {
        // The same few again and again: what lies in an old segment is dead.
        for n in 0..3 {
            engine.insert(&key(n), body(n, version, 40_000)).await.unwrap();
        }
        rest().await;
    }
    let calls = rig.calls().await;
    let removed = calls.within("segments").count(Verb::Remove);
    assert!(removed > 10, "{removed}");
    assert_eq!((calls.count(Verb::Read), calls.count(Verb::ReadCached)), (0, 0));
    assert_eq!(engine.stats().bytes_relocated, 0);
}

pub(crate) async fn reclaim_reads_little_more_than_what_it_keeps(mut rig: Rig) {
    rig.config.capacity = ByteSize::bytes_of(8 * SEGMENT);
    let engine = rig.open().await;
    // One in five is used and kept, the others are overwritten soon.
    for version in 0..3000u64 {
        let n = if version % 5 == 0 { 1000 + version / 5 % 40 } else { version % 4 };
        if n < 1000 || !engine.contains(&key(n)) {
            engine.insert(&key(n), body(n, version, 20_000)).await.unwrap();
        }
        if version % 20 == 0 {
            rest().await;
        }
    }
    let calls = rig.calls().await.within("segments");
    let (relocated, removed) = (engine.stats().bytes_relocated, calls.count(Verb::Remove) as u64);
    assert!(relocated > SEGMENT && removed > 20, "{relocated} bytes of {removed} segments");
    // A footer of each segment, and records in runs that a hole of less than 32 KiB does not end.
    let read = calls.bytes(Verb::Read);
    assert!(read <= relocated * 3 + removed * 8192, "{read} bytes read to move {relocated}");
    assert!(read < removed * SEGMENT / 2, "far less than the segments hold");
}

pub(crate) async fn reclaim_looks_at_the_entries_of_its_segments_and_at_all_only_where_their_rows_do_not_read(
    mut rig: Rig,
) {
    let looks = Lines::with("all entries are looked at");
    let _listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(looks.clone()));
    rig.config.capacity = ByteSize::bytes_of(8 * SEGMENT);
    let engine = rig.open().await;
    let mut n = 0;
    let mut turn_over = async |early: u64| {
        let (before, stop) = (engine.stats().early_evictions, n + 5_000);
        while engine.stats().early_evictions < before + early && n < stop {
            engine.insert(&key(n), body(n, 1, 20_000)).await.unwrap();
            // Every other one is used again, so that reclaim keeps some and gives others up.
            engine.get(&key(n / 2)).await.unwrap();
            n += 1;
            if n % 20 == 0 {
                rest().await;
            }
        }
        assert!(engine.stats().early_evictions >= before + early, "reclaim had nothing to give up");
    };
    turn_over(100).await;
    assert!(engine.stats().bytes_relocated > SEGMENT);
    assert_eq!(looks.seen(), 0, "with the rows of a footer");
    // Neither the footer nor a record.
    rig.faults.plant(Rule::new(Fault::Errno(EIO)).verbs([Verb::Read]).path("/cache/segments").from_then_on());
    turn_over(20).await;
    assert!(looks.seen() > 0);
}

pub(crate) async fn a_long_log_gives_several_segments_back_for_one_sync(mut rig: Rig) {
    rig.config.segment_size = Some(ByteSize::kib(64));
    rig.config.capacity = ByteSize::kib(64 * 512);
    let engine = rig.open().await;
    let mut n = 0;
    while engine.stats().evictions + engine.stats().early_evictions < 5_000 {
        engine.insert(&key(n), body(n, 1, 4_000)).await.unwrap();
        // Every other one is used again, so that there are survivors to move.
        engine.get(&key(n / 2)).await.unwrap();
        n += 1;
    }
    let calls = rig.calls().await.within("segments");
    let (made, removed) = (calls.count(Verb::Open), calls.count(Verb::Remove));
    // Each segment that is made has its name synced; the others are reclaim's.
    let synced = calls.count(Verb::SyncDir) - made;
    assert!(removed > 200 && engine.stats().bytes_relocated > 100 * 65_536, "{removed} removed");
    assert!(synced * 2 < removed, "{synced} syncs of the directory for {removed} segments");
}

pub(crate) async fn what_reaches_the_disk_stays_within_the_bound_on_write_amplification(mut rig: Rig) {
    rig.config.capacity = ByteSize::bytes_of(8 * SEGMENT);
    rig.config.max_write_amplification = 1.5;
    let engine = rig.open().await;
    let mut inserted = 0;
    for n in 0..3000 {
        // Most are used again, so that reclaim would like to keep them.
        engine.insert(&key(n), body(n, 1, 10_000)).await.unwrap();
        inserted += 10_000 + 200;
        engine.get(&key(n / 2)).await.unwrap();
        if n % 50 == 0 {
            rest().await;
        }
    }
    let written = rig.calls().await.within("segments").bytes(Verb::Write);
    let bound = 8 * SEGMENT + inserted * 3 / 2 + inserted / 50;
    assert!(written <= bound, "{written} bytes written, {bound} allowed");
    assert!(engine.stats().bytes_relocated > 0);
}

pub(crate) async fn an_idle_cache_makes_no_call(rig: Rig) {
    let engine = rig.open().await;
    engine.insert(&key(1), body(1, 1, 100)).await.unwrap();
    engine.insert(&key(2), body(2, 1, 1 << 20)).await.unwrap();
    rig.calls().await;
    tokio::time::sleep(Duration::from_secs(7 * 86_400)).await;
    assert!(rig.backend.take().is_empty(), "in a week");
}

pub(crate) async fn files_of_large_bodies_that_are_kept_open_are_bounded(mut rig: Rig) {
    rig.config.capacity = ByteSize::bytes_of(200 * SEGMENT);
    let engine = rig.open().await;
    for n in 0..300 {
        engine.insert_with(&key(n), body(n, 1, 200_000), at(Durability::Synced)).await.unwrap();
    }
    for n in 0..300 {
        engine.get(&key(n)).await.unwrap().unwrap();
        let stats = engine.stats();
        assert!(stats.open_files <= 128 + stats.segments + 1, "{} open", stats.open_files);
    }
    // Nobody waits for these to be synced.
    for n in 300..600 {
        engine.insert_with(&key(n), body(n, 1, 200_000), at(Durability::Buffered)).await.unwrap();
        let stats = engine.stats();
        assert!(stats.open_files <= 128 + 2 * 256 + stats.segments + 1, "{} open", stats.open_files);
    }
    rest().await;
    assert_eq!(rig.disk.open_handles() as u64, engine.stats().open_files, "and stats tell the truth");
    assert!(engine.stats().open_files < 300, "{} open", engine.stats().open_files);
}

pub(crate) async fn a_closed_cache_holds_no_file_and_no_task(rig: Rig) {
    let tasks = Handle::current().metrics().num_alive_tasks();
    for round in 0..5 {
        let engine = rig.open().await;
        assert!(Handle::current().metrics().num_alive_tasks() > tasks && rig.disk.open_handles() > 0);
        for n in 0..20 {
            engine.insert(&key(n), body(n, round, if n % 5 == 0 { 1 << 20 } else { 4096 })).await.unwrap();
            engine.get(&key(n)).await.unwrap().unwrap();
        }
        engine.close().await.unwrap();
        drop(engine);
        rest().await;
        assert_eq!((Handle::current().metrics().num_alive_tasks(), rig.disk.open_handles()), (tasks, 0));
    }
}

pub(crate) async fn tasks_do_not_grow_with_work(rig: Rig) {
    let engine = rig.open().await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    for n in 0..2000 {
        engine.insert(&key(n), body(n, 1, if n % 40 == 0 { 1 << 20 } else { 4096 })).await.unwrap();
        engine.get(&key(n / 2)).await.unwrap();
        // Dropped before their end.
        drop(engine.remove(&key(n / 3)).now_or_never());
        assert!(Handle::current().metrics().num_alive_tasks() <= tasks + 1);
    }
    rest().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
}

pub(crate) async fn an_index_entry_takes_less_than_64_bytes(rig: Rig) {
    let engine = rig.open().await;
    for n in 0..100_000 {
        engine.insert(&key(n), bytes::Bytes::new()).await.unwrap();
    }
    let stats = engine.stats();
    assert_eq!((stats.entries, stats.evictions), (100_000, 0));
    let each = stats.index_bytes / stats.entries;
    assert!((36..64).contains(&each), "{each} bytes");
}
