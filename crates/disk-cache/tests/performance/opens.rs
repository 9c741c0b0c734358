//! Calls of opens and closes.

use crate::{
    common::{body, key},
    rig::{Rig, SEGMENT},
};
use cache_testkit::Verb;
use disk_cache::{Cache, RecoverySource};

/// Bytes of head and trailer of a footer, which an open reads of each segment.
const TAIL: u64 = 76 + 4 * 64 + 32;

async fn fill(rig: &Rig, count: u64) -> cache_store::Engine<crate::rig::Backend> {
    let engine = rig.open().await;
    for n in 0..count {
        engine.insert(&key(n), body(n, 1, 10_000)).await.unwrap();
    }
    engine.flush().await.unwrap();
    engine
}

pub(crate) async fn a_clean_open_reads_snapshot_and_tails_and_writes_nothing(rig: Rig) {
    let engine = fill(&rig, 1000).await;
    engine.close().await.unwrap();
    let close = rig.calls().await;
    let snapshot: u64 =
        close.of(Verb::Write).iter().filter(|c| c.path.ends_with("index.snapshot.tmp")).map(|c| c.len).sum();
    assert!(snapshot > 1000 * 48, "{snapshot}");
    let engine = rig.open_noting().await;
    let calls = rig.calls().await;
    assert_eq!((engine.recovery_report().source, engine.stats().entries), (RecoverySource::Snapshot, 1000));
    let segments = engine.recovery_report().segments;
    assert!(segments >= 9);
    assert_eq!(calls.within("segments").bytes(Verb::Read), segments * TAIL, "no record was read");
    // Once the head's length, once the rest; a part may be asked for again.
    assert!(calls.within("index.snapshot").bytes(Verb::Read) <= 2 * snapshot);
    assert_eq!(calls.count(Verb::Write), 0);
}

pub(crate) async fn a_clean_open_makes_no_more_than_a_few_calls_for_each_segment(rig: Rig) {
    let mut cost = Vec::new();
    for count in [200, 2000] {
        let rig = rig.at(&format!("{count}"));
        fill(&rig, count).await.close().await.unwrap();
        rig.calls().await;
        let engine = rig.open_noting().await;
        let calls = rig.calls().await.0.len() as u64;
        cost.push((engine.recovery_report().segments, calls));
        engine.close().await.unwrap();
    }
    let ((few, less), (many, more)) = (cost[0], cost[1]);
    assert!(many > few + 10);
    assert!(more - less <= 4 * (many - few), "{less} calls for {few} segments, {more} for {many}");
}

pub(crate) async fn an_open_after_a_crash_reads_no_data_of_sealed_segments(rig: Rig) {
    let engine = fill(&rig, 1000).await;
    let written = engine.stats().bytes_written;
    rig.calls().await;
    let rig = rig.killed();
    let engine = rig.open_noting().await;
    let report = engine.recovery_report();
    assert_eq!((report.source, report.entries), (RecoverySource::Log, 1000));
    let (sealed, scanned) = (report.segments - report.scanned_segments, report.scanned_segments);
    assert!(sealed >= 8 && scanned <= 2, "{report:?}");
    let read = rig.calls().await.within("segments").bytes(Verb::Read);
    // A row of 64 bytes for each record of 10 KB; an unsealed segment is read whole.
    assert!(read <= sealed * (100 * 64 + 2 * TAIL) + scanned * 2 * SEGMENT, "{read} bytes read");
    assert!(read < written / 3, "{read} of {written}");
}

pub(crate) async fn a_close_writes_one_footer_and_one_snapshot(rig: Rig) {
    let engine = fill(&rig, 300).await;
    rig.calls().await;
    engine.close().await.unwrap();
    let calls = rig.calls().await;
    assert_eq!(calls.within("segments").count(Verb::Write), 1);
    assert_eq!(calls.within("segments").count(Verb::Remove), 1, "the segment that was ready and not used");
    assert_eq!((calls.count(Verb::Rename), calls.count(Verb::Read)), (1, 0));
    assert!(calls.within("index.snapshot.tmp").count(Verb::Write) >= 1);
    assert!(calls.0.len() < 25, "{calls:?}");
}
