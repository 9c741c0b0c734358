//! Readers and writers of one key at once.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, DiskBackend, InsertOptions, PurgeScope, SystemClock};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, Rule, Verb};
use std::{path::Path, sync::Arc, time::Duration};
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

#[test]
fn a_get_that_reclaim_overtakes_finds_nothing_that_was_purged_before_it_began() {
    // A purge by tag is forgotten with the last entry it may hit, and this get had looked its entry up already: what it read was
    // held against no purge any more, and handed out.
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        faults.inner().answer_cached_reads(false);
        let (clock, handle) = (Arc::new(SystemClock), Handle::current());
        let engine = Engine::open(config(), clock, faults.clone(), handle).await.unwrap();
        engine.insert_with(&key(0), body(0, 1, 100), InsertOptions::new().tag("tag")).await.unwrap();
        engine.purge(PurgeScope::Tag("tag".into())).await.unwrap();
        for n in 1..12 {
            engine.insert(&key(n), body(n, 1, 1900)).await.unwrap();
        }
        engine.flush().await.unwrap();
        let gate = Gate::new();
        let first = Path::new("/cache/segments/00000001.seg");
        let read = Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Read]).path(first);
        faults.plant(read);
        let get = tokio::spawn({
            let engine = engine.clone();
            async move { engine.get(&key(0)).await.unwrap() }
        });
        in_time("the get", gate.arrived()).await;
        for n in 12.. {
            in_time("an insert", engine.insert(&key(n), body(n, 1, 1900))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            let left = faults.inner().list(Path::new("/cache/segments")).await.unwrap();
            if left.iter().all(|file| file.path != first) {
                break;
            }
        }
        gate.open();
        assert!(in_time("the get", get).await.unwrap().is_none());
    });
}
