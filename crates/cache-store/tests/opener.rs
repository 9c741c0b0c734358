//! The task that makes segments ahead: it rests where it fails, and a close waits for it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, Error, RecoverySource, SystemClock};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, MemoryBackend, Rule, Verb};
use std::{path::Path, sync::Arc};
use store_testkit::{DIR, body, config, disk, key};
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

/// An insert that came while an attempt was about to fail was refused for what that attempt had found.
#[tokio::test]
async fn an_attempt_that_began_before_an_insert_asked_does_not_refuse_it() {
    let backend = FaultBackend::new(disk());
    let engine = Arc::new(open(&backend).await);
    let (first, second) = (Gate::new(), Gate::new());
    for (nth, gate) in [(1, &first), (2, &second)] {
        backend.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::FreeSpace]).nth(nth).times(1));
    }
    let next = Path::new(DIR).join("segments/00000002.seg");
    let denied = Rule::new(Fault::Kind(std::io::ErrorKind::PermissionDenied)).verbs([Verb::Open]);
    backend.plant(denied.path(next).times(1));
    engine.insert(&key(1), body(1, 1, 100)).await.unwrap();
    first.arrived().await;
    // The segment fills up; the insert that finds it full waits for the next one.
    let filler = engine.clone();
    let filling = tokio::spawn(async move {
        for n in 2..100 {
            filler.insert(&key(n), body(n, 1, 1000)).await?;
        }
        Ok::<_, Error>(())
    });
    for _ in 0..1000 {
        yield_now().await;
    }
    let before = backend.fired();
    first.open();
    second.arrived().await;
    assert!(backend.fired() > before, "the first attempt failed");
    for _ in 0..1000 {
        yield_now().await;
    }
    assert!(!filling.is_finished(), "it waits for an attempt of its own");
    second.open();
    filling.await.unwrap().unwrap();
}
