//! The task that makes segments ahead: it rests where it fails, and a close waits for it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

mod common;

use cache_core::{Cache, Error, RecoverySource, SystemClock};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, MemoryBackend, Rule, Verb};
use common::{DIR, body, config, disk, key};
use std::{path::Path, sync::Arc};
use tokio::{runtime::Handle, task::yield_now};

async fn open(backend: &FaultBackend<MemoryBackend>) -> Engine<FaultBackend<MemoryBackend>> {
    Engine::open(config(), Arc::new(SystemClock), backend.clone(), Handle::current()).await.unwrap()
}

async fn segments(backend: &FaultBackend<MemoryBackend>) -> usize {
    use cache_core::DiskBackend;
    backend.inner().list(&Path::new(DIR).join("segments")).await.unwrap().len()
}

/// The file was made after the close: in a directory that somebody else may have open by then, whose segment of the same
/// name was unlinked for it.
#[tokio::test]
async fn a_close_waits_for_a_segment_that_is_being_made_and_takes_it_away() {
    let backend = FaultBackend::new(disk());
    let gate = Gate::new();
    let next = Path::new(DIR).join("segments/00000002.seg");
    backend.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Open]).path(next));
    let engine = open(&backend).await;
    engine.insert(&key(1), body(1, 1, 100)).await.unwrap();
    gate.arrived().await;
    let closing = tokio::spawn(async move { engine.close().await });
    for _ in 0..1000 {
        yield_now().await;
    }
    gate.open();
    closing.await.unwrap().unwrap();
    for _ in 0..1000 {
        yield_now().await;
    }
    assert_eq!(segments(&backend).await, 1, "the one that was used");
    let engine = open(&backend).await;
    assert_eq!(engine.recovery_report().source, RecoverySource::Snapshot);
}

/// Every failed attempt gave its lease back and woke itself by that.
#[tokio::test]
async fn an_opener_that_fails_rests_until_somebody_asks() {
    let backend = FaultBackend::new(disk());
    let engine = open(&backend).await;
    engine.insert(&key(1), body(1, 1, 100)).await.unwrap();
    let made = Rule::new(Fault::Kind(std::io::ErrorKind::PermissionDenied)).verbs([Verb::Open]);
    backend.plant(made.path(Path::new(DIR).join("segments")).from_then_on());
    let mut n = 2;
    let refused = loop {
        match engine.insert(&key(n), body(n, 1, 1000)).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    let before = backend.operations_of(Verb::Open);
    for _ in 0..1000 {
        yield_now().await;
    }
    let tried = backend.operations_of(Verb::Open) - before;
    assert!(tried <= 2, "{tried} attempts that nobody asked for");
    backend.clear();
    engine.insert(&key(n), body(n, 1, 1000)).await.unwrap();
    engine.close().await.unwrap();
}
