//! A cache is closed while callers are at work, in many orders, as in `schedules.rs`.
//!
//! Every caller works on keys of its own, so that the model knows what each may hold. One more closes the cache after a while,
//! and at once opens the directory again and works on it, while the callers of the first cache are still being answered. A call
//! that began after the close began is refused; whatever was acknowledged, before the close or during it, is there in the second
//! cache and after a power cut; a hit from before stays readable.
//!
//! `DISK_CACHE_SCHEDULES` sets how many orders are tried, `DISK_CACHE_SEED` which.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    clippy::await_holding_refcell_ref,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, Durability, Error, GetOptions, Hit, InsertOptions, Inserted, SystemClock};
use cache_store::Engine;
use cache_testkit::{
    CrashPlan, FaultBackend, Loss, MemoryBackend, Model, Rng, Stored, Ticket, on_all_cores, tried,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use store_testkit::{
    body, disk, from_env, in_time, key, paused, peek_stale, tiny,
    turns::{Caller, Turns},
};
use tokio::runtime::Handle;

type Gated = Engine<FaultBackend<MemoryBackend>>;

const CALLERS: u64 = 4;
/// Calls of each caller, if it is let.
const CALLS: u64 = 16;
/// Keys of each caller.
const KEYS: u64 = 2;

/// What the callers and the closer share.
struct World {
    disk: MemoryBackend,
    backend: FaultBackend<MemoryBackend>,
    model: RefCell<Model>,
    serial: Cell<u64>,
    /// Calls that returned.
    calls: Cell<u64>,
    /// The close has begun.
    closing: Cell<bool>,
    /// Calls that were refused.
    refused: Cell<u64>,
}

impl World {
    fn now(&self) -> u64 {
        self.disk.ops()
    }

    fn store(&self, n: u64, len: usize) -> (Ticket, bytes::Bytes) {
        self.serial.set(self.serial.get() + 1);
        let body = body(n, self.serial.get(), len);
        let stored = Stored { body: body.clone(), out_of_line: len > 512, ..Stored::default() };
        (self.model.borrow_mut().insert(self.now(), &key(n), stored), body)
    }

    /// Enters what a call came to, which began before the close or after it; whether the cache goes on.
    fn done<T>(&self, ticket: Ticket, level: Durability, late: bool, done: Result<T, Error>) -> bool {
        let mut model = self.model.borrow_mut();
        match done {
            Ok(_) => {
                assert!(!late, "a call that began after the close was let in");
                model.acknowledge(ticket, self.now(), level);
                true
            }
            Err(Error::Closed) => {
                assert!(self.closing.get(), "nobody has closed the cache");
                // It did not happen.
                model.withdraw(ticket);
                self.refused.set(self.refused.get() + 1);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn open(&self) -> Result<Gated, Error> {
        open(&self.backend).await
    }
}

async fn open(backend: &FaultBackend<MemoryBackend>) -> Result<Gated, Error> {
    Engine::open(tiny(48), Arc::new(SystemClock), backend.clone(), Handle::current()).await
}

/// One caller's work, until the cache is closed.
async fn caller(engine: Gated, world: Rc<World>, own: u64, mut rng: Rng) {
    let mut held: Option<(u64, Hit, bytes::Bytes)> = None;
    for _ in 0..CALLS {
        let n = own * KEYS + rng.below(KEYS);
        let level = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        let len = if rng.chance(1, 4) { 600 + rng.below(1500) } else { rng.below(500) } as usize;
        let options = InsertOptions::new().durability(level);
        let late = world.closing.get();
        let goes_on = match rng.below(10) {
            0..=3 => {
                let (ticket, body) = world.store(n, len);
                let done = engine.insert_with(&key(n), body, options).await;
                assert!(
                    !matches!(&done, Ok(inserted) if !matches!(inserted, Inserted::Stored { .. })),
                    "{done:?}"
                );
                world.done(ticket, level, late, done)
            }
            4 => {
                let (ticket, body) = world.store(n, len);
                let done = async {
                    let mut writer = engine.writer(&key(n), options).await?;
                    for piece in body.chunks(200) {
                        writer.write(body.slice_ref(piece)).await?;
                    }
                    writer.commit().await
                };
                world.done(ticket, level, late, done.await)
            }
            5 => {
                let ticket = world.model.borrow_mut().remove(world.now(), &key(n));
                let done = engine.remove_with(&key(n), level).await;
                world.done(ticket, level, late, done)
            }
            6 => match engine.flush().await {
                Ok(()) => !late,
                Err(error) => {
                    assert!(matches!(error, Error::Closed) && world.closing.get(), "a flush: {error}");
                    false
                }
            },
            _ => match engine.get_with(&key(n), GetOptions::new().peek(true)).await {
                Ok(hit) => {
                    assert!(!late, "a get that began after the close was let in");
                    let permitted = world.model.borrow().permitted(&key(n), Loss::Nothing, u64::MAX);
                    let body = match &hit {
                        None => None,
                        Some(hit) => Some(hit.bytes().await.unwrap()),
                    };
                    let fits = match &body {
                        None => permitted.miss,
                        Some(body) => permitted.values.iter().any(|stored| stored.body == *body),
                    };
                    assert!(fits, "key {n} gave {body:?}, permitted is {permitted:?}");
                    held = hit.zip(body).map(|(hit, body)| (n, hit, body)).or(held);
                    true
                }
                Err(error) => {
                    assert!(matches!(error, Error::Closed) && world.closing.get(), "a get: {error}");
                    false
                }
            },
        };
        world.calls.set(world.calls.get() + 1);
        if !goes_on {
            break;
        }
    }
    // From before, whatever became of the cache, and of the entry, since.
    if let Some((n, hit, body)) = held {
        assert_eq!(hit.bytes().await.unwrap(), body, "a hit of key {n}");
    }
}

/// Closes the cache once so many calls have returned, and goes on with a second one in its directory.
async fn closer(engine: Gated, world: Rc<World>, after: u64, mut rng: Rng) {
    while world.calls.get() < after {
        tokio::task::yield_now().await;
    }
    world.closing.set(true);
    engine.close().await.unwrap();
    world.model.borrow_mut().flushed(world.now());
    assert!(matches!(engine.close().await, Err(Error::Closed)));
    let second = world.open().await.unwrap();
    let n = CALLERS * KEYS;
    for _ in 0..rng.below(8) {
        let (ticket, body) = world.store(n, 100 + rng.below(900) as usize);
        let options = InsertOptions::new().durability(Durability::Synced);
        second.insert_with(&key(n), body, options).await.unwrap();
        world.model.borrow_mut().acknowledge(ticket, world.now(), Durability::Synced);
    }
    second.check_invariants().unwrap();
    // As a process that ends without a word.
}

/// Runs callers and closer in the order that the seed gives; how many calls the close refused.
fn schedule(seed: u64) -> u64 {
    let (disk, mut rng) = (disk(), Rng::new(seed));
    let (model, refused) = paused().block_on(async {
        let backend = FaultBackend::new(disk.clone());
        let world = Rc::new(World {
            disk: disk.clone(),
            backend: backend.clone(),
            model: RefCell::default(),
            serial: Cell::default(),
            calls: Cell::default(),
            closing: Cell::default(),
            refused: Cell::default(),
        });
        let engine = world.open().await.unwrap();
        let turns = Turns::hold(&backend);
        let after = rng.below(CALLERS * CALLS / 2);
        let mut callers: Vec<Caller> =
            vec![Box::pin(closer(engine.clone(), world.clone(), after, Rng::new(rng.next_u64())))];
        for own in 0..CALLERS {
            let rng = Rng::new(rng.next_u64());
            callers.push(Box::pin(caller(engine.clone(), world.clone(), own, rng)));
        }
        drop(engine);
        turns.give(&mut rng, callers).await;
        turns.end();
        (world.model.borrow().clone(), world.refused.get())
    });
    for plan in [None, Some(CrashPlan::Nothing), Some(CrashPlan::Seeded(seed))] {
        let (disk, loss) = match plan {
            None => (disk.kill(), Loss::Kill),
            Some(plan) => (disk.crash_with(plan), Loss::PowerCut),
        };
        paused().block_on(async {
            let engine = in_time("an open", open(&FaultBackend::new(disk))).await.unwrap();
            for n in 0..=CALLERS * KEYS {
                let seen = in_time("a get", peek_stale(&engine, &key(n))).await.unwrap();
                let permitted = model.permitted(&key(n), loss, u64::MAX);
                if let Err(wrong) = permitted.check(seen.as_ref(), 0, false) {
                    panic!("key {n} after {plan:?}: {wrong}");
                }
            }
            assert_eq!(engine.stats().evictions, 0, "too small a cache to tell losses");
            engine.check_invariants().unwrap();
        });
    }
    refused
}

/// Names the seed in a failure's message.
struct Context(u64);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("schedule of seed {}", self.0);
        }
    }
}

#[test]
fn every_close_amid_calls_keeps_what_was_acknowledged_and_lets_nothing_in_after_it() {
    let (count, seed): (u64, u64) = (from_env("DISK_CACHE_SCHEDULES", 300), from_env("DISK_CACHE_SEED", 1));
    println!("seed {seed}");
    let refused = std::sync::atomic::AtomicU64::new(0);
    on_all_cores(count, |n| {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(n);
        let _context = Context(seed);
        refused.fetch_add(schedule(seed), std::sync::atomic::Ordering::Relaxed);
    });
    assert!(count < 100 || refused.into_inner() > 0, "no call ever met the close");
    tried(count, "schedules of a close amid calls");
}
