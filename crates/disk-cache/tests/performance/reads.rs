//! Calls of gets.

use crate::{
    common::{body, key},
    rig::{Rig, at},
};
use cache_testkit::{Fault, Gate, Rule, Verb};
use disk_cache::{Cache, Durability, Expiry, GetOptions, InsertOptions, PurgeScope};
use futures_util::{FutureExt, TryStreamExt};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const LARGE: usize = 3 << 20;

pub(crate) async fn a_cold_get_is_one_read_of_exactly_its_record(rig: Rig) {
    let engine = rig.open().await;
    for n in 0..20 {
        engine.insert_with(&key(n), body(n, 1, 4096), at(Durability::Written)).await.unwrap();
    }
    rig.calls().await;
    for options in [GetOptions::new(), GetOptions::new().peek(true), GetOptions::new().allow_stale(true)] {
        let hit = engine.get_with(&key(7), options).await.unwrap().unwrap();
        assert_eq!(hit.bytes().await.unwrap(), body(7, 1, 4096));
        let calls = rig.calls().await;
        assert_eq!((calls.count(Verb::Read), calls.count(Verb::ReadCached), calls.0.len()), (1, 1, 2));
        assert_eq!(
            calls.bytes(Verb::Read),
            hit.disk_size().next_multiple_of(8) - 64,
            "the record without its row"
        );
    }
}

pub(crate) async fn a_warm_get_asks_the_page_cache_once_and_the_backend_never(rig: Rig) {
    rig.disk.answer_cached_reads(true);
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, 4096), at(Durability::Written)).await.unwrap();
    rig.calls().await;
    for n in 1..=5 {
        engine.get(&key(1)).await.unwrap().unwrap();
        let calls = rig.calls().await;
        assert_eq!((calls.count(Verb::ReadCached), calls.0.len()), (1, 1));
        assert_eq!(engine.stats().fast_reads, n);
    }
}

pub(crate) async fn a_get_past_the_page_cache_never_asks_it_and_reads_the_blocks_of_its_record_once(
    mut rig: Rig,
) {
    rig.disk.answer_cached_reads(true);
    rig.config.direct_io = true;
    let engine = rig.open().await;
    for n in 0..20 {
        engine.insert_with(&key(n), body(n, 1, 4096), at(Durability::Written)).await.unwrap();
    }
    rig.calls().await;
    for n in 0..20 {
        let hit = engine.get(&key(n)).await.unwrap().unwrap();
        assert_eq!(hit.bytes().await.unwrap(), body(n, 1, 4096));
        let calls = rig.calls().await;
        assert_eq!(
            (calls.count(Verb::Read), calls.0.len()),
            (1, 1),
            "one read, and the page cache not asked"
        );
        let read = calls.of(Verb::Read)[0].clone();
        assert!(read.offset.is_multiple_of(4096) && read.len.is_multiple_of(4096));
        let record = hit.disk_size().next_multiple_of(8) - 64;
        assert!(read.len < record + 2 * 4096, "the blocks that the record lies in: {}", read.len);
    }
    assert_eq!(engine.stats().fast_reads, 0);
}

pub(crate) async fn a_large_body_past_the_page_cache_is_read_in_whole_blocks_and_no_more_often(mut rig: Rig) {
    rig.disk.answer_cached_reads(true);
    rig.config.direct_io = true;
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, LARGE + 1), at(Durability::Synced)).await.unwrap();
    let hit = engine.get(&key(1)).await.unwrap().unwrap();
    rig.calls().await;
    assert_eq!(hit.bytes().await.unwrap(), body(1, 1, LARGE + 1));
    let calls = rig.calls().await;
    assert_eq!((calls.count(Verb::Read), calls.count(Verb::ReadCached)), (4, 0));
    assert_eq!(calls.bytes(Verb::Read), LARGE as u64 + 4096);
}

pub(crate) async fn a_get_of_what_is_still_in_memory_makes_no_call(rig: Rig) {
    let engine = rig.open().await;
    engine.insert(&key(1), body(1, 1, 4096)).await.unwrap();
    let hit = engine.get(&key(1)).now_or_never().expect("it waits for nothing").unwrap().unwrap();
    assert_eq!(hit.bytes().await.unwrap(), body(1, 1, 4096));
    assert!(rig.backend.take().is_empty());
    assert_eq!(engine.stats().fast_reads, 0);
}

pub(crate) async fn a_miss_makes_no_call(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, 100), at(Durability::Synced)).await.unwrap();
    engine.remove(&key(1)).await.unwrap();
    rig.calls().await;
    for n in 1..50 {
        assert!(engine.get(&key(n)).await.unwrap().is_none());
    }
    rig.calls().await.assert_none();
}

pub(crate) async fn an_expired_or_purged_entry_is_a_miss_without_a_call(rig: Rig) {
    let engine = rig.open().await;
    let options = at(Durability::Written).expiry(Expiry::After(Duration::from_secs(1)));
    for (n, len) in [(1, 100), (2, LARGE)] {
        engine.insert_with(&key(n), body(n, 1, len), options.clone()).await.unwrap();
    }
    engine.insert(&key(3), body(3, 1, 100)).await.unwrap();
    engine.purge(PurgeScope::Path { namespace: "ns".into(), path: "path-3".into() }).await.unwrap();
    rig.clock.advance(Duration::from_secs(1));
    rig.calls().await;
    for n in 1..=3 {
        assert!(engine.get(&key(n)).await.unwrap().is_none(), "entry {n}");
    }
    rig.calls().await.assert_none();
}

pub(crate) async fn questions_that_need_no_body_make_no_call(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, LARGE), at(Durability::Synced)).await.unwrap();
    rig.calls().await;
    assert!(engine.contains(&key(1)) && !engine.contains(&key(2)));
    assert_eq!((engine.stats().entries, engine.stats_of("ns").inserts), (1, 1));
    assert_eq!(engine.recovery_report().entries, 0);
    rig.calls().await.assert_none();
}

pub(crate) async fn the_first_hit_of_a_large_body_reads_head_and_checksums_and_the_next_nothing(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, LARGE), at(Durability::Synced)).await.unwrap();
    engine.close().await.unwrap();
    let engine = rig.open().await;
    engine.get(&key(1)).await.unwrap().unwrap();
    let calls = rig.calls().await.within("objects");
    assert_eq!((calls.count(Verb::Open), calls.count(Verb::Read)), (1, 2));
    assert_eq!(calls.bytes(Verb::Read), 64 + 4 * (LARGE as u64 >> 16));
    engine.get(&key(1)).await.unwrap().unwrap();
    rig.calls().await.within("objects").assert_none();
}

pub(crate) async fn a_range_of_a_large_body_reads_the_chunks_it_lies_in_and_no_others(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, LARGE), at(Durability::Synced)).await.unwrap();
    let hit = engine.get(&key(1)).await.unwrap().unwrap();
    rig.calls().await;
    const CHUNK: u64 = 64 << 10;
    for (range, first, chunks) in [
        (0..1, 0, 1),
        (CHUNK - 1..CHUNK, 0, 1),
        (CHUNK - 1..CHUNK + 1, 0, 2),
        (20 * CHUNK + 5..20 * CHUNK + 6, 20, 1),
        (3 * CHUNK..6 * CHUNK, 3, 3),
    ] {
        let len = (range.end - range.start) as usize;
        assert_eq!(hit.read_range(range.clone()).await.unwrap().len(), len);
        let calls = rig.calls().await;
        let reads = calls.of(Verb::Read);
        assert_eq!(reads.len(), 1, "{range:?}");
        assert_eq!((reads[0].offset, reads[0].len), (4096 + first * CHUNK, chunks * CHUNK), "{range:?}");
    }
    assert!(hit.read_range(5..5).await.unwrap().is_empty());
    rig.calls().await.assert_none();
}

pub(crate) async fn a_large_body_is_read_once_from_end_to_end(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, LARGE + 1), at(Durability::Synced)).await.unwrap();
    let hit = engine.get(&key(1)).await.unwrap().unwrap();
    rig.calls().await;
    for streamed in [false, true] {
        if streamed {
            let pieces: Vec<_> = hit.stream().try_collect().await.unwrap();
            assert_eq!(pieces.len(), 25, "128 KiB at once, so that many readers take little memory");
        } else {
            hit.bytes().await.unwrap();
        }
        let calls = rig.calls().await;
        let mut next = 4096;
        for read in calls.of(Verb::Read) {
            assert_eq!(read.offset, next, "no byte twice, none left out");
            assert!(read.len <= 1 << 20);
            next += read.len;
        }
        assert_eq!((next, calls.count(Verb::Read)), (4096 + LARGE as u64 + 1, if streamed { 25 } else { 4 }));
    }
}

/// What needs no wait does not end a task's turn by itself.
pub(crate) async fn who_reads_or_writes_without_a_wait_lets_others_run_every_few_mebibytes(rig: Rig) {
    let engine = rig.open().await;
    let len = 24 << 20;
    engine.insert_with(&key(1), body(1, 1, len), at(Durability::Synced)).await.unwrap();
    let hit = engine.get(&key(1)).await.unwrap().unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let mut before = 0;
    let mut turns_for = |what| {
        let now = turns.load(Ordering::Relaxed);
        let turns = now - std::mem::replace(&mut before, now);
        assert!(turns >= 2, "{turns} turns for others beside {what}");
    };
    tokio::task::yield_now().await;
    assert_eq!(hit.bytes().await.unwrap().len(), len);
    turns_for("a body");
    let pieces: Vec<_> = hit.stream().try_collect().await.unwrap();
    assert_eq!(pieces.len(), len >> 17);
    turns_for("pieces");
    for n in 2..400 {
        engine.insert(&key(n), body(n, 1, 100)).await.unwrap();
    }
    turns_for("short inserts");
    for n in 2..400 {
        engine.get(&key(n)).await.unwrap().unwrap();
    }
    turns_for("gets");
    for n in 2..100 {
        engine.insert(&key(n), body(n, 2, 120_000)).await.unwrap();
    }
    turns_for("long inserts");
    other.abort();
}

pub(crate) async fn gets_do_not_wait_for_writes_and_syncs_under_way(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, 4096), at(Durability::Synced)).await.unwrap();
    let gate = Gate::new();
    rig.faults.plant(
        Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Write, Verb::SyncData]).from_then_on(),
    );
    engine.insert(&key(2), body(2, 1, 4096)).await.unwrap();
    gate.arrived().await;
    // One from the disk, one whose write is held.
    for n in [1, 2] {
        let found = engine.get(&key(n)).await.unwrap().unwrap();
        assert_eq!(found.bytes().await.unwrap(), body(n, 1, 4096));
    }
    assert!(engine.get(&key(3)).await.unwrap().is_none());
    gate.open();
    let options = InsertOptions::new().durability(Durability::Synced);
    engine.insert_with(&key(3), body(3, 1, 10), options).await.unwrap();
}
