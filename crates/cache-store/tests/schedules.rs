//! Many callers at once, in many orders: a seed decides who goes on, at every await of theirs and of the background work.
//!
//! Every backend operation stands at the gate of its verb until the schedule lets one through, and every caller's future
//! is polled when the schedule says so. The cache is so small that its log turns over meanwhile. What each call returned must
//! fit an order of the calls that agrees with real time: a get never gives what another call had replaced or removed before the
//! get began, and misses only what was removed or is being written. A restart at the end gives what the process gave last.
//!
//! Interleavings between awaits are `cache-index/tests/threads.rs`'s, on real threads.
//!
//! `DISK_CACHE_SCHEDULES` sets how many are tried, `DISK_CACHE_SEED` which.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{
    Cache, CacheKey, Durability, Error, Expiry, InsertOptions, Inserted, PurgeMode, PurgeScope, SystemClock,
};
use cache_store::Engine;
use cache_testkit::{FaultBackend, MemoryBackend, Rng, Seen, on_all_cores, tried};
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

const KEYS: u64 = 3;
const CALLERS: u64 = 4;
/// Calls of each caller.
const CALLS: u64 = 12;

/// What a call did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    /// Stored the value of this number.
    Store(u64),
    /// Gave an older value another meta, or did nothing.
    Meta,
    Remove,
}

/// A call on one key, in a count that grows with every event.
#[derive(Clone, Debug)]
struct Event {
    key: u64,
    did: Did,
    begun: u64,
    /// `u64::MAX` while it runs.
    ended: u64,
}

/// All calls so far.
#[derive(Default)]
struct History {
    now: Cell<u64>,
    events: RefCell<Vec<Event>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.now.set(self.now.get() + 1);
        self.now.get()
    }

    fn begin(&self, key: u64, did: Did) -> usize {
        let begun = self.tick();
        let mut events = self.events.borrow_mut();
        events.push(Event { key, did, begun, ended: u64::MAX });
        events.len() - 1
    }

    fn end(&self, event: usize) {
        self.events.borrow_mut()[event].ended = self.tick();
    }

    /// Whether a look that began then may give this.
    fn check(&self, key: u64, begun: u64, seen: Option<u64>) -> Result<(), String> {
        let events = self.events.borrow();
        let of_key = || events.iter().filter(|e| e.key == key && e.did != Did::Meta);
        // Calls that a later one had wholly overtaken before the look began.
        let over = |e: &Event| of_key().any(|later| later.begun > e.ended && later.ended < begun);
        let fits = match seen {
            Some(serial) => of_key().any(|e| e.did == Did::Store(serial) && !over(e)),
            None => !of_key().any(|e| e.ended < begun) || of_key().any(|e| e.did == Did::Remove && !over(e)),
        };
        if fits {
            Ok(())
        } else {
            Err(format!("key {key} gave {seen:?} to a look from {begun} on: {events:#?}"))
        }
    }
}

/// The number that a body tells in its second eight bytes.
fn serial(seen: &Seen) -> u64 {
    u64::from_le_bytes(seen.body[8..16].try_into().unwrap())
}

/// One caller's work.
async fn caller(engine: Gated, history: Rc<History>, mut rng: Rng, serials: Rc<Cell<u64>>) {
    for _ in 0..CALLS {
        let n = rng.below(KEYS);
        let level = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        match rng.below(12) {
            0..=4 => {
                serials.set(serials.get() + 1);
                let stored = serials.get();
                let len = if rng.chance(1, 5) { 700 } else { 100 + rng.below(400) as usize };
                let event = history.begin(n, Did::Store(stored));
                let options = InsertOptions::new().durability(level);
                let done = engine.insert_with(&key(n), body(n, stored, len), options).await;
                assert!(matches!(done, Ok(Inserted::Stored { .. })), "{done:?}");
                history.end(event);
            }
            5 => {
                let event = history.begin(n, Did::Remove);
                engine.remove_with(&key(n), level).await.unwrap();
                history.end(event);
            }
            6 => {
                let events: Vec<_> = (0..KEYS).map(|n| history.begin(n, Did::Remove)).collect();
                engine.purge_with(PurgeScope::Namespace("ns".into()), PurgeMode::Remove).await.unwrap();
                for event in events {
                    history.end(event);
                }
            }
            7..=8 => {
                let event = history.begin(n, Did::Meta);
                engine.update_meta(&key(n), "later".into(), Expiry::Never).await.unwrap();
                history.end(event);
            }
            _ => look(&engine, &history, n).await,
        }
    }
}

async fn look(engine: &Gated, history: &History, n: u64) {
    let begun = history.tick();
    let seen = peek_stale(engine, &key(n)).await;
    let seen = match seen {
        Ok(seen) => seen.as_ref().map(serial),
        Err(error) => panic!("a get: {error}"),
    };
    if let Err(wrong) = history.check(n, begun, seen) {
        panic!("{wrong}");
    }
}

async fn open(backend: &FaultBackend<MemoryBackend>) -> Result<Gated, Error> {
    Engine::open(tiny(24), Arc::new(SystemClock), backend.clone(), Handle::current()).await
}

/// Runs the callers in the order that the seed gives.
fn schedule(seed: u64) {
    let disk = disk();
    let mut rng = Rng::new(seed);
    let keys: Vec<CacheKey> = (0..KEYS).map(key).collect();
    let last = paused().block_on(async {
        let faults = FaultBackend::new(disk.clone());
        let engine = open(&faults).await.unwrap();
        let turns = Turns::hold(&faults);
        let (history, serials) = (Rc::new(History::default()), Rc::new(Cell::new(0)));
        let mut callers: Vec<Caller> = Vec::new();
        for _ in 0..CALLERS {
            let own = Rng::new(rng.next_u64());
            callers.push(Box::pin(caller(engine.clone(), history.clone(), own, serials.clone())));
        }
        turns.give(&mut rng, callers).await;
        turns.end();
        in_time("a flush", engine.flush()).await.unwrap();
        let mut last = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            in_time("a look", look(&engine, &history, n as u64)).await;
            last.push(peek_stale(&engine, key).await.unwrap());
        }
        engine.check_invariants().unwrap();
        let stats = engine.stats();
        assert!(stats.disk_bytes <= stats.capacity, "{stats:?}");
        assert_eq!(stats.evictions + stats.early_evictions, 0, "too small a cache to tell losses");
        last
    });
    paused().block_on(async {
        let engine = open(&FaultBackend::new(disk.kill())).await.unwrap();
        for (key, last) in keys.iter().zip(&last) {
            assert_eq!(&peek_stale(&engine, key).await.unwrap(), last, "{key:?} after a restart");
        }
    });
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
fn every_schedule_of_many_callers_fits_an_order_that_agrees_with_real_time() {
    let (count, seed): (u64, u64) = (from_env("DISK_CACHE_SCHEDULES", 300), from_env("DISK_CACHE_SEED", 1));
    println!("seed {seed}");
    on_all_cores(count, |n| {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(n);
        let _context = Context(seed);
        schedule(seed);
    });
    tried(count, "schedules of four callers");
}
