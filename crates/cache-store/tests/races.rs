//! Readers and writers of one key at once.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, SystemClock};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, Rule, Verb};
use std::{sync::Arc, time::Duration};
use store_testkit::{body, config, disk, in_time, key, paused};
use tokio::runtime::Handle;

#[test]
fn a_get_that_races_the_replacement_of_a_large_body_finds_the_newer_one() {
    // The get had read the record of the older body and was about to open its file, which went meanwhile: it said miss
    // although the key was there all the time.
    paused().block_on(async {
        let disk = disk();
        let open = async |faults: &FaultBackend<_>| {
            let (clock, handle) = (Arc::new(SystemClock), Handle::current());
            Engine::open(config(), clock, faults.clone(), handle).await.unwrap()
        };
        let faults = FaultBackend::new(disk);
        let engine = open(&faults).await;
        engine.insert(&key(1), body(1, 1, 5000)).await.unwrap();
        engine.close().await.unwrap();
        let engine = open(&faults).await;
        let gate = Gate::new();
        let opens = Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Open]).path("/cache/objects");
        faults.plant(opens);
        let get = tokio::spawn({
            let engine = engine.clone();
            async move { engine.get(&key(1)).await.unwrap().expect("it is there") }
        });
        in_time("the get", gate.arrived()).await;
        engine.insert(&key(1), body(1, 2, 6000)).await.unwrap();
        engine.flush().await.unwrap();
        in_time("the older body to go", tokio::time::sleep(Duration::from_secs(1))).await;
        gate.open();
        let hit = in_time("the get", get).await.unwrap();
        assert_eq!(hit.bytes().await.unwrap(), body(1, 2, 6000));
        let stats = engine.stats();
        assert_eq!((stats.hits, stats.misses, stats.corruptions), (1, 0, 0));
    });
}
