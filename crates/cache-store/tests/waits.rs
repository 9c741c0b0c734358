//! Nobody waits for what nobody will do.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use backend_tokio::TokioBackend;
use cache_core::{ByteSize, Cache, Config, Durability, Error, InsertOptions, SystemClock};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, MemoryBackend, Rng, Rule, Verb};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    task::Poll,
    thread,
    time::Duration,
};
use store_testkit::{body, config, disk, in_time, key, open, paused, tiny};
use tokio::{runtime::Handle, task::JoinSet};

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

/// Segments end where the next record does not fit, and give back what they did not fill. The room that a short one left was
/// too small for the next, and until reclaim had freed more, the opener, which woke all who waited, and they, who asked it
/// again, kept one another awake.
#[test]
fn callers_wait_at_rest_for_the_room_that_reclaim_is_about_to_free() {
    let (done, wait) = mpsc::channel();
    let work = thread::spawn(move || {
        paused().block_on(turn_over());
        done.send(()).unwrap();
    });
    // Where nobody rests, no timer of the runtime comes to its turn either.
    assert_ne!(wait.recv_timeout(Duration::from_secs(600)), Err(RecvTimeoutError::Timeout), "nobody rests");
    work.join().unwrap();
}

/// Sixteen callers over a device that does one thing at a time, and then lets them do as much as they can.
async fn turn_over() {
    let faults = FaultBackend::new(disk());
    let engine =
        Engine::open(config(), Arc::new(SystemClock), faults.clone(), Handle::current()).await.unwrap();
    let engine = Arc::new(engine);
    let gate = Gate::new();
    let slow = [Verb::Open, Verb::Write, Verb::SyncData, Verb::Remove, Verb::SyncDir];
    faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs(slow).from_then_on());
    let mut callers: JoinSet<_> = (0..16).map(|seed| get_or_insert(engine.clone(), Rng::new(seed))).collect();
    while !callers.is_empty() {
        gate.release_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
        while let Some(caller) = callers.try_join_next() {
            caller.unwrap().unwrap();
        }
    }
    gate.open();
    in_time("a close", engine.close()).await.unwrap();
}

async fn get_or_insert(engine: Arc<Engine<FaultBackend<MemoryBackend>>>, mut rng: Rng) -> Result<(), Error> {
    for _ in 0..400 {
        let n = rng.below(300);
        if engine.get(&key(n)).await?.is_some() {
            continue;
        }
        engine.insert(&key(n), body(n, 1, rng.below(2000) as usize)).await?;
        for _ in 0..8 {
            engine.remove_with(&key(300 + rng.below(300)), Durability::Buffered).await?;
        }
    }
    Ok(())
}

/// Whoever had just been served was back, and took the room that reclaim had freed, before those were awake who had waited
/// longer. They went without again and again: for half a second in runs where most waited for a few milliseconds.
#[test]
fn no_caller_is_served_again_and_again_while_others_wait_for_room() {
    paused().block_on(async {
        let engine = Arc::new(open(&disk()).await);
        let served: Arc<[AtomicU64; 40]> = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        let mut callers = JoinSet::new();
        for caller in 0..served.len() {
            let (engine, served) = (engine.clone(), served.clone());
            callers.spawn(async move {
                for n in 0..100_000 {
                    let key = key(caller as u64 * 1_000_000 + n);
                    engine.insert(&key, body(n, 1, 1500)).await.unwrap();
                    let mine = served[caller].fetch_add(1, Ordering::Relaxed) + 1;
                    let least = served.iter().map(|s| s.load(Ordering::Relaxed)).min().unwrap();
                    assert!(mine <= 100 + 2 * least, "one was served {mine} times, another {least}");
                    if mine >= 400 {
                        return;
                    }
                }
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.unwrap();
        }
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// It stayed on disk until room was wanted, which may be never.
#[test]
fn a_clear_gives_back_the_segment_that_is_just_getting_its_footer() {
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let clock = Arc::new(SystemClock);
        let engine = Engine::open(tiny(32), clock, faults.clone(), Handle::current()).await.unwrap();
        let gate = Gate::new();
        faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::SetLen]).from_then_on());
        for n in 0..20 {
            in_time("an insert", engine.insert(&key(n), body(n, 1, 480))).await.unwrap();
        }
        let clearing = tokio::spawn({
            let engine = engine.clone();
            async move { engine.clear().await }
        });
        in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
        assert!(engine.stats().segments > 2, "no segment waits for its footer");
        gate.open();
        in_time("a clear", clearing).await.unwrap().unwrap();
        assert!(engine.stats().segments <= 2, "{} are left", engine.stats().segments);
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// A cache that is full of entries, and the gate at which large bodies wait to be written.
async fn full_and_holding_large_bodies() -> (Engine<FaultBackend<MemoryBackend>>, Gate) {
    let faults = FaultBackend::new(disk());
    let clock = Arc::new(SystemClock);
    let engine = Engine::open(tiny(64), clock, faults.clone(), Handle::current()).await.unwrap();
    for n in 0..30 {
        in_time("an insert", engine.insert(&key(n), body(n, 1, 8000))).await.unwrap();
    }
    let gate = Gate::new();
    let writes = Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Write]).path("/cache/objects");
    faults.plant(writes.from_then_on());
    (engine, gate)
}

/// Beside others that were being written it was refused after a tenth of a second, although there was room as soon as those were
/// entries, which can be evicted.
#[test]
fn a_large_body_waits_for_others_that_are_being_written() {
    paused().block_on(async {
        let (engine, gate) = full_and_holding_large_bodies().await;
        let insert = |n| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.insert(&key(n), body(n, 1, 80_000)).await })
        };
        let first = insert(100);
        in_time("the first write", gate.arrived()).await;
        let second = insert(101);
        in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
        assert!(!second.is_finished(), "there is no room beside the first: {:?}", second.await);
        gate.open();
        for done in [first, second] {
            in_time("an insert", done).await.unwrap().unwrap();
        }
        assert!(engine.get(&key(101)).await.unwrap().is_some());
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// For as long as one caller did not poll its insert, whoever waited for room beside it waited too.
#[test]
fn a_large_body_does_not_wait_for_ever_for_one_that_nobody_polls() {
    paused().block_on(async {
        let (engine, gate) = full_and_holding_large_bodies().await;
        let first = key(100);
        let mut parked = Box::pin(engine.insert(&first, body(100, 1, 80_000)));
        tokio::select! {
            done = &mut parked => panic!("it was not to be written yet: {done:?}"),
            () = gate.arrived() => {}
        }
        let second = in_time("a refusal", engine.insert(&key(101), body(101, 1, 80_000))).await;
        assert!(matches!(second, Err(Error::StorageFull { .. })), "{second:?}");
        gate.open();
        in_time("the first", parked).await.unwrap();
        in_time("an insert", engine.insert(&key(101), body(101, 1, 80_000))).await.unwrap();
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// Their lease comes back when the reader lets go, and no earlier: reclaim moved the whole log about for it, and then gave up the
/// small entries, to end in the same refusal.
#[test]
fn nothing_is_evicted_for_bytes_that_only_a_reader_holds() {
    paused().block_on(async {
        let mut config = Config::new(store_testkit::DIR, ByteSize::mib(1));
        config.segment_size = Some(ByteSize::kib(16));
        config.write_buffer = ByteSize::kib(64);
        config.min_free_space = ByteSize::bytes_of(0);
        let engine = store_testkit::open_with(&disk(), config).await;
        for n in 0..300 {
            in_time("an insert", engine.insert(&key(n), body(n, 1, 1800))).await.unwrap();
        }
        in_time("an insert", engine.insert(&key(1000), body(1000, 1, 300_000))).await.unwrap();
        let held = engine.get(&key(1000)).await.unwrap().unwrap();
        in_time("a remove", engine.remove(&key(1000))).await.unwrap();
        let before = engine.stats();
        let refused = in_time("a refusal", engine.insert(&key(1001), body(1001, 1, 300_000))).await;
        assert!(matches!(refused, Err(Error::StorageFull { .. })), "{refused:?}");
        let after = engine.stats();
        assert_eq!((after.evictions, after.early_evictions), (before.evictions, 0));
        assert!(after.bytes_relocated - before.bytes_relocated < 100_000, "{after:?}");
        assert_eq!(held.bytes().await.unwrap(), body(1000, 1, 300_000));
        drop(held);
        in_time("an insert", engine.insert(&key(1001), body(1001, 1, 300_000))).await.unwrap();
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// While what it had evicted was being unlinked, reclaim emptied the log for it: of many small entries beside large bodies hardly
/// one stayed.
#[test]
fn a_large_body_waits_for_those_that_it_evicted_and_costs_no_small_entry() {
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let mut config = Config::new(store_testkit::DIR, ByteSize::mib(1));
        config.segment_size = Some(ByteSize::kib(16));
        config.write_buffer = ByteSize::kib(64);
        config.min_free_space = ByteSize::bytes_of(0);
        let clock = Arc::new(SystemClock);
        let engine = Engine::open(config, clock, faults.clone(), Handle::current()).await.unwrap();
        for n in 0..4 {
            in_time("an insert", engine.insert(&key(n), body(n, 1, 100_000))).await.unwrap();
        }
        let mut n = 100;
        while engine.stats().evictions == 0 {
            in_time("an insert", engine.insert(&key(n), body(n, 1, 1800))).await.unwrap();
            n += 1;
        }
        in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
        let before = engine.stats();
        let gate = Gate::new();
        faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Remove]).path("/cache/objects"));
        let mut n = 1000;
        loop {
            let large = key(n);
            let mut inserted = Box::pin(engine.insert(&large, body(n, 1, 100_000)));
            tokio::select! {
                // What was free was enough.
                done = &mut inserted => done.unwrap(),
                // Long enough for all that goes on by itself.
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    gate.open();
                    in_time("an insert", inserted).await.unwrap();
                    break;
                }
            };
            n += 1;
        }
        let after = engine.stats();
        assert_eq!(after.early_evictions, before.early_evictions, "{after:?}");
        assert!(after.evictions <= before.evictions + 3, "{after:?}");
        assert_eq!(after.bytes_relocated, before.bytes_relocated, "{after:?}");
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// A caller made room on a full disk itself, and stopped half way: reclaim, all who waited for it, and the close stood still.
#[test]
fn a_caller_that_is_not_polled_while_it_makes_room_holds_nobody_up() {
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let mut config = tiny(64);
        config.min_free_space = ByteSize::mib(1);
        let clock = Arc::new(SystemClock);
        let engine = Engine::open(config, clock, faults.clone(), Handle::current()).await.unwrap();
        for n in 0..100 {
            engine.insert(&key(n), body(n, 1, 400)).await.unwrap();
        }
        in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
        let gate = Gate::new();
        faults
            .plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Remove]).path("/cache/segments"));
        faults.inner().set_free_space(Some(0));
        let large = key(1000);
        let mut parked = Box::pin(engine.insert(&large, body(1000, 1, 3000)));
        tokio::select! {
            done = &mut parked => panic!("it was to make room first: {done:?}"),
            () = gate.arrived() => {}
        }
        faults.inner().set_free_space(None);
        gate.open();
        for n in 0..1000 {
            in_time("an insert", engine.insert(&key(n), body(n, 2, 400))).await.unwrap();
        }
        in_time("a close", engine.close()).await.unwrap();
        drop(parked);
    });
}

/// Who waited for room kept its turn also while nobody polled it: as many as have a turn at once held up all others for good.
#[test]
fn callers_that_are_not_polled_while_they_wait_for_room_hold_nobody_up() {
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let clock = Arc::new(SystemClock);
        let engine = Engine::open(tiny(64), clock, faults.clone(), Handle::current()).await.unwrap();
        in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
        let gate = Gate::new();
        let writes = Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Write]).path("/cache/segments");
        faults.plant(writes.from_then_on());
        let keys: Vec<_> = (0..60).map(key).collect();
        let mut parked = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            let mut insert = Box::pin(engine.insert(key, body(n as u64, 1, 480)));
            for _ in 0..3 {
                if poll_fn(|context| Poll::Ready(insert.as_mut().poll(context).is_ready())).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            parked.push(insert);
        }
        faults.clear();
        gate.open();
        for n in 100..200 {
            in_time("an insert", engine.insert(&key(n), body(n, 1, 480))).await.unwrap();
        }
        in_time("a close", engine.close()).await.unwrap();
        drop(parked);
    });
}

/// Each is a descriptor until it is synced, and nobody asked for that: a thousand of them, and the process had none left.
#[test]
fn who_stores_large_bodies_faster_than_they_are_synced_waits_for_that() {
    paused().block_on(async {
        let faults = FaultBackend::new(disk());
        let mut config = Config::new(store_testkit::DIR, ByteSize::mib(64));
        config.segment_size = Some(ByteSize::mib(1));
        config.min_free_space = ByteSize::bytes_of(0);
        config.durability = Durability::Buffered;
        let (clock, handle) = (Arc::new(SystemClock), Handle::current());
        let engine = Engine::open(config, clock, faults.clone(), handle).await.unwrap();
        let gate = Gate::new();
        let syncs = Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::SyncData]).path("/cache/objects");
        faults.plant(syncs.from_then_on());
        let filler = engine.clone();
        let filling = tokio::spawn(async move {
            for n in 0..400 {
                filler.insert(&key(n), body(n, 1, 140_000)).await.unwrap();
            }
        });
        in_time("a rest", tokio::time::sleep(Duration::from_secs(60))).await;
        assert!(
            !filling.is_finished(),
            "nothing is synced, and {} files are open",
            engine.stats().open_files
        );
        assert!(engine.stats().open_files < 400);
        gate.open();
        in_time("the rest of them", filling).await.unwrap();
        in_time("a flush", engine.flush()).await.unwrap();
        let stats = engine.stats();
        assert!(stats.open_files <= 128 + stats.segments + 1, "{stats:?}");
        in_time("a close", engine.close()).await.unwrap();
    });
}

/// On threads and a real file system: a remove that wanted a segment while reclaim had used up the room kept for it was refused.
/// What was owed for that stopped reclaim, and then everybody was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_a_small_cache_are_refused_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut config = Config::new(dir.path().join("cache"), ByteSize::mib(32));
    config.segment_size = Some(ByteSize::mib(1));
    config.min_free_space = ByteSize::bytes_of(0);
    let engine =
        Engine::open(config, Arc::new(SystemClock), TokioBackend::new(Handle::current()), Handle::current())
            .await
            .unwrap();
    let engine = Arc::new(engine);
    let mut callers = JoinSet::new();
    for seed in 0..64 {
        let engine = engine.clone();
        callers.spawn(async move {
            let mut rng = Rng::new(seed);
            for _ in 0..300 {
                let n = rng.below(20_000);
                let len = if rng.chance(1, 20) { rng.below(200_000) } else { 1000 + rng.below(4000) };
                if rng.chance(1, 2) {
                    engine.insert(&key(n), body(n, 1, len as usize)).await?;
                } else if engine.get(&key(n)).await?.is_none() {
                    engine.remove_with(&key(n), Durability::Buffered).await?;
                }
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap().unwrap();
    }
    engine.close().await.unwrap();
}
