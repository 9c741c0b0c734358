//! What a recovery must have on stable storage before it writes anything that speaks for it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, Durability, InsertOptions};
use cache_testkit::{CrashPlan, MemoryOp};
use store_testkit::{body, disk, in_time, key, open_with, paused, peek, tiny};

#[test]
fn a_footer_that_a_killed_process_did_not_sync_is_renewed_before_later_segments_get_theirs() {
    // A process was killed between the write of a footer and its sync. The next open found the footer in the page cache,
    // took the segment for a sealed one and sealed the segments behind it; a power cut then took the one footer and left
    // the others, which made it a damaged one: that segment and everything before it was dropped, synced values with it.
    // (Found by the crash states of random workloads, in a second crash.)
    let disk = disk();
    let steps = paused().block_on(async {
        let engine = open_with(&disk, tiny(32)).await;
        disk.record();
        for n in 0..20 {
            let options = InsertOptions::new().durability(Durability::Synced);
            in_time("an insert", engine.insert_with(&key(n), body(n, 1, 400), options)).await.unwrap();
        }
        disk.recorded()
    });
    let cuts: Vec<_> = steps.iter().filter(|s| matches!(s.op, MemoryOp::SetLen(..))).collect();
    assert!(cuts.len() > 1, "segments were sealed");
    for cut in cuts {
        let killed = cut.after.kill();
        let found = paused().block_on(async { open_with(&killed, tiny(32)).await.recovery_report().entries });
        let cut = killed.crash_with(CrashPlan::Nothing);
        paused().block_on(async {
            let engine = open_with(&cut, tiny(32)).await;
            assert_eq!(engine.recovery_report().entries, found);
            assert_eq!(peek(&engine, &key(0)).await, Some(body(0, 1, 400)));
        });
    }
}
