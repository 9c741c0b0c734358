//! The caller's future is dropped at every poll, for every call of the API.
//!
//! Every operation of the disk stands at a gate, and one is let through after each poll, so that a call takes as many polls
//! as it has places to be dropped at. Dropped, it happened or it did not; the cache goes on, and a restart finds the same.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{
    Cache, CacheKey, DiskBackend, Durability, Expiry, GetOptions, InsertOptions, PurgeMode, PurgeScope,
    SystemClock,
};
use cache_store::Engine;
use cache_testkit::{Fault, FaultBackend, Gate, Loss, MemoryBackend, Model, Rule, Seen, Stored, tried};
use std::{future::poll_fn, path::Path, pin::Pin, sync::Arc, task::Poll, time::Duration};
use store_testkit::{DIR, body, disk, in_time, key, paused, peek_stale, tiny};
use tokio::runtime::Handle;

type Gated = FaultBackend<MemoryBackend>;
type Call = Pin<Box<dyn Future<Output = ()>>>;

const KEYS: u64 = 4;
/// Two of the keys have large bodies.
const LENGTHS: [usize; KEYS as usize] = [100, 900, 300, 1500];

fn keys() -> Vec<CacheKey> {
    (0..KEYS).map(key).collect()
}

async fn open(backend: &Gated) -> Engine<Gated> {
    let opened = Engine::open(tiny(32), Arc::new(SystemClock), backend.clone(), Handle::current());
    in_time("an open", opened).await.unwrap()
}

/// A disk with all keys on it, and the model of that.
fn prepared() -> (MemoryBackend, Model) {
    let (disk, mut model) = (disk(), Model::new());
    paused().block_on(async {
        let engine = open(&FaultBackend::new(disk.clone())).await;
        for (n, key) in keys().iter().enumerate() {
            let stored = Stored { body: body(n as u64, 1, LENGTHS[n]), ..Stored::default() };
            model.insert(0, key, stored.clone());
            engine.insert(key, stored.body).await.unwrap();
        }
        in_time("a close", engine.close()).await.unwrap();
    });
    model.flushed(0);
    (disk.kill(), model)
}

async fn look(engine: &Engine<Gated>) -> Vec<Option<Seen>> {
    let mut all = Vec::new();
    for key in keys() {
        all.push(in_time("a get", peek_stale(engine, &key)).await.unwrap());
    }
    all
}

/// Drops the call at every poll. `enter`: what it may do, for the model.
fn drop_at_every_poll(enter: impl Fn(&mut Model), call: impl Fn(Engine<Gated>) -> Call) -> u32 {
    let (prepared, before) = prepared();
    for polls in 0.. {
        let (disk, mut model) = (prepared.fork(), before.clone());
        enter(&mut model);
        let finished = paused().block_on(async {
            let faults = FaultBackend::new(disk.clone());
            let engine = open(&faults).await;
            in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
            let gate = Gate::new();
            faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).from_then_on());
            let mut future = call(engine.clone());
            let mut finished = false;
            for _ in 0..polls {
                finished = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
                if finished {
                    break;
                }
                gate.release_one();
                // Long enough for background work to come to its next gate, or to its timer.
                in_time("a rest", tokio::time::sleep(Duration::from_millis(20))).await;
            }
            drop(future);
            faults.clear();
            gate.open();
            in_time("a rest", tokio::time::sleep(Duration::from_secs(1))).await;
            let seen = look(&engine).await;
            for (key, seen) in keys().iter().zip(&seen) {
                let permitted = model.permitted(key, Loss::Nothing, u64::MAX);
                if let Err(wrong) = permitted.check(seen.as_ref(), 0, false) {
                    panic!("{key:?}, dropped after {polls} polls: {wrong}");
                }
            }
            engine.check_invariants().unwrap();
            let stats = engine.stats();
            assert!(stats.disk_bytes <= stats.capacity && stats.in_flight == 0, "{polls} polls: {stats:?}");
            let fresh = InsertOptions::new().durability(Durability::Synced);
            let last = key(99);
            let inserted = engine.insert_with(&last, body(99, 1, 1000), fresh);
            in_time("an insert after it", inserted).await.unwrap();
            in_time("a flush after it", engine.flush()).await.unwrap();
            in_time("a close after it", engine.close()).await.unwrap();
            let large = seen.iter().flatten().filter(|s| s.body.len() > 512).count();
            let files = disk.list(&Path::new(DIR).join("objects")).await.unwrap().len();
            assert_eq!(files, large + 1, "files of large bodies, dropped after {polls} polls");
            let again = open(&FaultBackend::new(disk.kill())).await;
            assert_eq!(look(&again).await, seen, "after a restart, dropped after {polls} polls");
            assert!(again.contains(&last));
            finished
        });
        if finished {
            tried(u64::from(polls) + 1, "polls at which a call was dropped");
            return polls;
        }
    }
    0
}

fn insert(len: usize, level: Durability) -> u32 {
    let stored = Stored { body: body(0, 2, len), ..Stored::default() };
    let own = stored.body.clone();
    drop_at_every_poll(
        |model| {
            model.insert(1, &key(0), stored.clone());
        },
        move |engine| {
            let (body, options) = (own.clone(), InsertOptions::new().durability(level));
            Box::pin(async move {
                let _inserted = engine.insert_with(&key(0), body, options).await.unwrap();
            })
        },
    )
}

#[test]
fn a_dropped_insert_happened_or_did_not() {
    insert(200, Durability::Buffered);
    insert(200, Durability::Written);
    assert!(insert(200, Durability::Synced) > 1, "it was dropped half way");
}

#[test]
fn a_dropped_insert_of_a_large_body_leaves_no_file_behind_and_happened_or_did_not() {
    insert(1000, Durability::Buffered);
    assert!(insert(1000, Durability::Synced) > 3, "it was dropped half way");
}

#[test]
fn a_dropped_stream_happened_or_did_not_and_leaves_no_file_behind() {
    for len in [300, 1000] {
        let stored = Stored { body: body(0, 2, len), ..Stored::default() };
        let own = stored.body.clone();
        let polls = drop_at_every_poll(
            |model| {
                model.insert(1, &key(0), stored.clone());
            },
            move |engine| {
                let (body, options) = (own.clone(), InsertOptions::new().durability(Durability::Synced));
                Box::pin(async move {
                    let mut writer = engine.writer(&key(0), options).await.unwrap();
                    writer.write(body.slice(..100)).await.unwrap();
                    writer.write(body.slice(100..)).await.unwrap();
                    writer.commit().await.unwrap();
                })
            },
        );
        assert!(polls > 1, "it was dropped half way");
    }
}

#[test]
fn a_dropped_get_leaves_everything_as_it_was() {
    for n in 0..2 {
        let polls = drop_at_every_poll(
            |_| {},
            move |engine| {
                Box::pin(async move {
                    let hit = engine.get_with(&key(n), GetOptions::new()).await.unwrap().unwrap();
                    drop(hit.read_range(10..90).await.unwrap());
                })
            },
        );
        assert!(polls > 1, "it was dropped half way");
    }
}

#[test]
fn a_dropped_remove_happened_or_did_not() {
    for n in 0..2 {
        let enter = move |model: &mut Model| {
            model.remove(1, &key(n));
        };
        drop_at_every_poll(enter, move |engine| {
            Box::pin(async move { assert!(engine.remove(&key(n)).await.unwrap()) })
        });
        drop_at_every_poll(enter, move |engine| {
            Box::pin(async move { assert!(engine.remove_entry(&key(n)).await.unwrap().is_some()) })
        });
    }
}

#[test]
fn a_dropped_new_meta_or_expiry_happened_or_did_not() {
    for n in 0..2 {
        drop_at_every_poll(
            move |model| {
                model.update_meta(1, &key(n), "new".into(), None).unwrap();
            },
            move |engine| {
                Box::pin(async move {
                    assert!(engine.update_meta(&key(n), "new".into(), Expiry::Never).await.unwrap());
                })
            },
        );
        drop_at_every_poll(
            move |model| {
                model.expire(1, &key(n));
            },
            move |engine| {
                Box::pin(async move {
                    let _id = engine.expire(&key(n)).await.unwrap();
                })
            },
        );
    }
}

#[test]
fn a_dropped_purge_or_clear_happened_or_did_not() {
    for scope in [PurgeScope::All, PurgeScope::Namespace("ns".into())] {
        let own = scope.clone();
        drop_at_every_poll(
            move |model| {
                model.purge(1, own.clone(), PurgeMode::Remove);
            },
            move |engine| {
                let scope = scope.clone();
                Box::pin(async move { engine.purge(scope).await.unwrap() })
            },
        );
    }
}

#[test]
fn a_dropped_flush_leaves_everything_as_it_was() {
    let stored = Stored { body: body(2, 2, 250), ..Stored::default() };
    let own = stored.body.clone();
    drop_at_every_poll(
        |model| {
            model.insert(1, &key(2), stored.clone());
        },
        move |engine| {
            let body = own.clone();
            Box::pin(async move {
                engine.insert(&key(2), body).await.unwrap();
                engine.flush().await.unwrap();
            })
        },
    );
}

#[test]
fn a_dropped_close_leaves_a_directory_as_after_a_crash() {
    let (prepared, model) = prepared();
    for polls in 0.. {
        let disk = prepared.fork();
        let finished = paused().block_on(async {
            let faults = FaultBackend::new(disk.clone());
            let engine = open(&faults).await;
            let gate = Gate::new();
            faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).from_then_on());
            let mut future = Box::pin(engine.close());
            let mut finished = false;
            for _ in 0..polls {
                finished = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
                if finished {
                    break;
                }
                gate.release_one();
                in_time("a rest", tokio::time::sleep(Duration::from_millis(20))).await;
            }
            drop(future);
            gate.open();
            finished
        });
        paused().block_on(async {
            let engine = open(&FaultBackend::new(disk.kill())).await;
            for (key, seen) in keys().iter().zip(look(&engine).await) {
                let permitted = model.permitted(key, Loss::Kill, u64::MAX);
                permitted.check(seen.as_ref(), 0, false).unwrap();
            }
        });
        if finished {
            assert!(polls > 3, "it was dropped half way");
            tried(polls + 1, "polls at which a call was dropped");
            return;
        }
    }
}
