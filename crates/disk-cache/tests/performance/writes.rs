//! Calls and bytes of changes.

use crate::{
    common::{body, key},
    rig::{Rig, SEGMENT, at, rest},
};
use bytes::Bytes;
use cache_testkit::{Fault, Gate, Rule, Verb};
use disk_cache::{Cache, Durability, Expiry, PurgeScope};
use futures_util::{FutureExt, future::join_all};

/// Bytes of a record's header.
const HEADER: u64 = 112;
/// The process has no descriptor left.
const EMFILE: i32 = 24;

pub(crate) async fn an_insert_makes_no_call_before_it_returns(rig: Rig) {
    let engine = rig.open().await;
    for n in 0..10 {
        let done = engine.insert(&key(n), body(n, 1, 4096)).now_or_never();
        done.expect("it waits for nothing").unwrap();
    }
    assert!(rig.backend.take().is_empty());
}

pub(crate) async fn small_inserts_go_out_together_in_one_write(rig: Rig) {
    let engine = rig.open().await;
    for n in 0..100 {
        engine.insert(&key(n), body(n, 1, 2000)).await.unwrap();
    }
    engine.flush().await.unwrap();
    let calls = rig.calls().await;
    assert_eq!(
        (calls.count(Verb::Write), calls.count(Verb::SyncData)),
        (1, 1),
        "100 records, one write, one sync"
    );
    assert!(calls.bytes(Verb::Write) > 200_000);
}

pub(crate) async fn inserts_that_wait_together_share_a_sync(rig: Rig) {
    let engine = rig.open().await;
    let gate = Gate::new();
    rig.faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::SyncData]));
    let insert = |n| {
        let engine = engine.clone();
        async move { engine.insert_with(&key(n), body(n, 1, 1000), at(Durability::Synced)).await.unwrap() }
    };
    let first = tokio::spawn(insert(0));
    gate.arrived().await;
    let rest_of_them = tokio::spawn(join_all((1..64).map(insert)));
    rest().await;
    gate.open();
    first.await.unwrap();
    assert_eq!(rest_of_them.await.unwrap().len(), 63);
    assert_eq!(
        rig.calls().await.count(Verb::SyncData),
        2,
        "one for the first, one for all that came meanwhile"
    );
}

pub(crate) async fn removals_that_wait_together_share_a_sync(rig: Rig) {
    let engine = rig.open().await;
    for n in 0..50 {
        engine.insert(&key(n), body(n, 1, 100)).await.unwrap();
    }
    engine.flush().await.unwrap();
    rig.calls().await;
    let removed = join_all((0..50).map(|n| {
        let engine = engine.clone();
        async move { engine.remove(&key(n)).await.unwrap() }
    }));
    assert!(removed.await.into_iter().all(|there| there));
    let calls = rig.calls().await;
    assert!(calls.count(Verb::SyncData) <= 2 && calls.count(Verb::Write) <= 2, "{calls:?}");
    assert_eq!(calls.bytes(Verb::Write), 50 * HEADER);
}

pub(crate) async fn inserts_do_not_wait_for_a_sync_under_way(rig: Rig) {
    let engine = rig.open().await;
    let gate = Gate::new();
    rig.faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::SyncData]));
    let synced = tokio::spawn({
        let engine = engine.clone();
        async move { engine.insert_with(&key(0), body(0, 1, 100), at(Durability::Synced)).await }
    });
    gate.arrived().await;
    for n in 1..20 {
        engine.insert(&key(n), body(n, 1, 1000)).await.unwrap();
        engine.insert_with(&key(n), body(n, 2, 1000), at(Durability::Written)).await.unwrap();
    }
    assert!(!synced.is_finished());
    gate.open();
    synced.await.unwrap().unwrap();
}

pub(crate) async fn each_record_is_written_once_and_its_header_is_all_it_adds(rig: Rig) {
    let engine = rig.open().await;
    let mut wanted = 0;
    for n in 0..300 {
        engine.insert(&key(n), body(n, 1, 4096)).await.unwrap();
        wanted += (HEADER + key(n).as_bytes().len() as u64 + 4096).next_multiple_of(8);
        if n % 50 == 0 {
            rest().await;
        }
    }
    engine.flush().await.unwrap();
    let calls = rig.calls().await.within("segments");
    let written = calls.bytes(Verb::Write);
    assert_eq!(engine.stats().bytes_written, written, "stats tell the truth");
    // The rest is the footer of the segment that was sealed.
    let footers = written - wanted;
    assert!(footers > 0 && footers < 300 * 64 + 1024, "{footers}");
    assert!(written < 300 * 4096 * 105 / 100, "less than 5% more than the bodies");
}

/// Where the bytes of a buffer lie.
fn range(bytes: &Bytes) -> std::ops::Range<*const u8> {
    bytes.as_ptr_range()
}

pub(crate) async fn a_body_from_64_kib_is_written_from_the_callers_memory(rig: Rig) {
    let engine = rig.open().await;
    let (small, long) = (body(1, 1, (64 << 10) - 1), body(2, 1, 64 << 10));
    engine.insert(&key(1), small.clone()).await.unwrap();
    engine.insert(&key(2), long.clone()).await.unwrap();
    engine.flush().await.unwrap();
    let calls = rig.calls().await;
    let given = |body: &Bytes| {
        let writes = calls.of(Verb::Write);
        writes.iter().flat_map(|call| &call.bufs).any(|buf| range(buf) == range(body))
    };
    assert!(given(&long), "no copy of it was made");
    assert!(!given(&small), "it was copied together with its neighbours");
}

pub(crate) async fn a_large_body_goes_past_the_page_cache_in_whole_blocks_and_only_its_rest_does_not(
    rig: Rig,
) {
    let engine = rig.open().await;
    let large = body(1, 1, (20 << 20) + 5000);
    engine.insert(&key(1), large.clone()).await.unwrap();
    let calls = rig.calls().await.within("objects");
    let opens = calls.of(Verb::Open);
    assert_eq!(opens.len(), 2, "a descriptor for each way");
    assert!(opens[0].len > 20 << 20, "its room is reserved at once");
    let mut writes = calls.of(Verb::Write);
    let rest = writes.pop().unwrap();
    assert!(
        (5000 % 4096..4096 + 5000).contains(&rest.len),
        "less than a block, and the checksums: {}",
        rest.len
    );
    for write in &writes {
        let range = range(&write.bufs[0]);
        assert!(
            write.bufs.len() == 1 && range.start.align_offset(4096) == 0 && write.len.is_multiple_of(4096)
        );
    }
    assert!(writes.len() <= 21, "in pieces of 1 MiB");
    assert_eq!(calls.count(Verb::SyncData), 0);
    assert!(engine.get(&key(1)).await.unwrap().unwrap().bytes().await.unwrap() == large);
}

pub(crate) async fn a_large_body_without_a_way_past_the_page_cache_is_written_from_the_callers_memory(
    rig: Rig,
) {
    rig.disk.refuse_direct(true);
    let engine = rig.open().await;
    engine.insert(&key(1), body(1, 1, 1 << 20)).await.unwrap();
    rig.calls().await;
    let large = body(1, 1, 20 << 20);
    engine.insert(&key(1), large.clone()).await.unwrap();
    let calls = rig.calls().await.within("objects");
    assert_eq!(calls.count(Verb::Open), 1, "what the file system lacks is asked for once");
    let mut next = large.as_ptr();
    for buf in calls.of(Verb::Write).iter().flat_map(|call| &call.bufs) {
        if buf.as_ptr() == next {
            next = range(buf).end;
        }
    }
    assert_eq!(next, range(&large).end, "one piece after another, and no copy of any");
    assert!(calls.count(Verb::Write) <= 4, "in pieces of 8 MiB");
}

pub(crate) async fn a_large_body_needs_no_second_descriptor(rig: Rig) {
    let engine = rig.open().await;
    rig.faults.plant(Rule::new(Fault::Errno(EMFILE)).verbs([Verb::Open]).path("/cache/objects").nth(2));
    let large = body(1, 1, 3 << 20);
    engine.insert(&key(1), large.clone()).await.unwrap();
    assert!(engine.get(&key(1)).await.unwrap().unwrap().bytes().await.unwrap() == large);
    rig.calls().await;
    engine.insert(&key(2), large).await.unwrap();
    assert_eq!(rig.calls().await.within("objects").count(Verb::Open), 2, "there are descriptors again");
}

pub(crate) async fn a_small_body_does_not_hold_on_to_the_callers_memory(rig: Rig) {
    let engine = rig.open().await;
    // A slice of a network buffer, which would be kept alive by it.
    let network = Bytes::from(vec![7; 1 << 20]);
    engine.insert(&key(1), network.slice(1000..5000)).await.unwrap();
    assert!(network.is_unique());
    let hit = engine.get(&key(1)).await.unwrap().unwrap();
    assert!(network.is_unique());
    assert_eq!(hit.bytes().await.unwrap(), network[1000..5000]);
}

pub(crate) async fn a_synced_large_body_is_two_syncs_of_data_and_one_of_names(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, 1 << 20), at(Durability::Synced)).await.unwrap();
    let calls = rig.calls().await;
    assert_eq!(calls.within("objects").count(Verb::SyncData), 1);
    assert_eq!(calls.within("segments").count(Verb::SyncData), 1);
    assert_eq!(calls.count(Verb::SyncDir), 1);
    let order: Vec<_> = calls.0.iter().filter(|c| matches!(c.verb, Verb::SyncData | Verb::SyncDir)).collect();
    assert!(order[0].path.starts_with("/cache/objects") && order[2].path.starts_with("/cache/segments"));
}

pub(crate) async fn a_new_meta_of_a_large_body_touches_no_file_of_bodies(rig: Rig) {
    let engine = rig.open().await;
    engine.insert_with(&key(1), body(1, 1, 4 << 20), at(Durability::Synced)).await.unwrap();
    rig.calls().await;
    assert!(engine.update_meta(&key(1), "a new meta".into(), Expiry::Keep).await.unwrap());
    engine.flush().await.unwrap();
    let calls = rig.calls().await;
    calls.within("objects").assert_none();
    assert_eq!((calls.count(Verb::Write), calls.count(Verb::SyncData)), (1, 1));
    assert!(calls.bytes(Verb::Write) < HEADER + 64);
}

pub(crate) async fn tombstones_and_expiries_take_a_header_each(rig: Rig) {
    let engine = rig.open().await;
    let long = disk_cache::CacheKey::new("ns", vec![b'k'; 10_000]);
    engine.insert(&long, body(1, 1, 1000)).await.unwrap();
    let before = engine.stats().bytes_written;
    engine.expire(&long).await.unwrap();
    engine.remove(&long).await.unwrap();
    assert_eq!(engine.stats().bytes_written - before, 2 * HEADER, "however long the key");
}

pub(crate) async fn a_purge_is_one_record_however_many_entries_it_hits(rig: Rig) {
    let engine = rig.open().await;
    let mut costs = Vec::new();
    for (round, count) in [(0, 1), (1, 2000)] {
        let of = |n| disk_cache::CacheKey::new(format!("ns-{round}"), format!("path-{n}"));
        for n in 0..count {
            engine.insert(&of(n), body(n, 1, 100)).await.unwrap();
        }
        engine.flush().await.unwrap();
        rig.calls().await;
        let before = engine.stats().bytes_written;
        engine.purge(PurgeScope::Namespace(format!("ns-{round}").into())).await.unwrap();
        let calls = rig.calls().await;
        costs.push((engine.stats().bytes_written - before, calls.0.len(), calls.bytes(Verb::Write)));
        assert!(engine.get(&of(0)).await.unwrap().is_none());
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0].0 < HEADER + 24);
}

pub(crate) async fn a_flush_of_nothing_makes_no_call(rig: Rig) {
    let engine = rig.open().await;
    engine.insert(&key(1), body(1, 1, 100)).await.unwrap();
    engine.flush().await.unwrap();
    rig.calls().await;
    for _ in 0..10 {
        engine.flush().await.unwrap();
    }
    rig.calls().await.assert_none();
}

pub(crate) async fn a_segment_costs_the_same_few_calls_however_many_records_it_takes(rig: Rig) {
    let mut costs = Vec::new();
    for (round, len) in [(0, 100_000), (1, 1000)] {
        let rig = rig.at(&format!("{round}"));
        let engine = rig.open().await;
        let mut n = 0;
        while engine.stats().bytes_written < 6 * SEGMENT {
            engine.insert(&key(n), body(n, 1, len)).await.unwrap();
            n += 1;
        }
        engine.flush().await.unwrap();
        let sealed = engine.stats().segments - 2;
        let calls = rig.calls().await;
        // One is the spare that was there already, and the last one is not full yet.
        for (verb, most) in [(Verb::Open, 1), (Verb::SetLen, 1), (Verb::SyncDir, 1), (Verb::SyncData, 3)] {
            assert!(
                calls.count(verb) as u64 <= most * (sealed + 2),
                "{verb:?} {} for {sealed}",
                calls.count(verb)
            );
        }
        assert_eq!((calls.count(Verb::Read), calls.count(Verb::Len), calls.count(Verb::List)), (0, 0, 0));
        costs.push((calls.count(Verb::Open), calls.count(Verb::SetLen), calls.count(Verb::SyncDir)));
    }
    assert_eq!(costs[0], costs[1]);
}
