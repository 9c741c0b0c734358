//! Nobody waits for what nobody will do.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

mod common;

use cache_core::{Cache, Durability, InsertOptions, SystemClock};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, Rule, Verb};
use common::{body, disk, in_time, key, paused, tiny};
use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};
use tokio::runtime::Handle;

#[test]
fn a_flush_does_not_wait_for_a_segment_that_got_no_record() {
    // An insert made the next segment the active one, found every write buffer in flight, and was dropped while it waited.
    // The beginning of that segment was then taken for the end of the log: a flush, and every reclaim, waited for it to be
    // synced, and nothing that was empty ever was.
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let clock = Arc::new(SystemClock);
        let engine = Engine::open(tiny(32), clock, faults.clone(), Handle::current()).await.unwrap();
        in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
        let gate = Gate::new();
        let writes = Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Write]).path("/cache/segments");
        faults.plant(writes.from_then_on());
        let mut dropped = false;
        for n in 0..40 {
            let key = key(n);
            let mut insert = Box::pin(engine.insert(&key, body(n, 1, 480)));
            for _ in 0..3 {
                let ready = poll_fn(|context| Poll::Ready(insert.as_mut().poll(context).is_ready())).await;
                if ready {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                dropped = true;
            }
            if dropped {
                break;
            }
        }
        assert!(dropped, "an insert waited for a write buffer");
        faults.clear();
        gate.open();
        in_time("a flush", engine.flush()).await.unwrap();
        let options = InsertOptions::new().durability(Durability::Synced);
        in_time("an insert", engine.insert_with(&key(99), body(99, 1, 100), options)).await.unwrap();
        in_time("a close", engine.close()).await.unwrap();
    });
}
