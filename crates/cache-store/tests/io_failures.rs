//! Every operation of the backend fails once, and from then on, in turn.
//!
//! For every N until a run is clean: the Nth operation after the first session fails. Nothing may wait for ever, errors reach
//! the caller as typed errors, this process never gives an older value, and a restart gives what is permitted.
//!
//! `DISK_CACHE_FAULT_WORKLOADS` sets how many workloads are run, `DISK_CACHE_SEED` which.
//!
//! Source: Rebello and others, "Can applications recover from fsync failures?" (ATC 2020).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{ByteSize, Cache, CacheKey, Config, Durability, Error, InsertOptions, SystemClock};
use cache_store::Engine;
use cache_testkit::{
    CrashPlan, Fault, FaultBackend, Loss, MemoryBackend, Model, Rng, Rule, Verb, on_all_cores, tried,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use store_testkit::{
    body, disk,
    drive::{Action, Driver},
    from_env, in_time, key, paused, peek_stale, tiny, workload,
};
use tokio::runtime::Handle;

type Faulty = FaultBackend<MemoryBackend>;

const KEYS: u64 = 6;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// What an interrupted call, a table of files that is full, and a file system that turned read-only give. The engine treats
/// them as it does EIO, so they are for longer runs.
const OTHERS: [(&str, i32); 3] = [("EINTR", 4), ("EMFILE", 24), ("EROFS", 30)];
/// Verbs that no read needs: while only these fail, reads go on.
const WRITING: [Verb; 7] =
    [Verb::SetLen, Verb::Write, Verb::SyncData, Verb::Rename, Verb::Remove, Verb::CreateDir, Verb::SyncDir];

/// What a first session left, all of it synced, and what is done after it.
struct Setting {
    config: Config,
    keys: Vec<CacheKey>,
    model: Model,
    disk: MemoryBackend,
    moment: u64,
    workload: Vec<Action>,
}

/// A small cache whose log turns over.
fn random_setting(seed: u64) -> (u64, Setting) {
    let mut rng = Rng::new(seed);
    let (first, workload) = (workload::random(&mut rng, 30, KEYS), workload::random(&mut rng, 60, KEYS));
    (seed, setting(tiny(20), &first, workload))
}

/// Room for some large bodies, in few segments: a sticky fault uses one up after the other.
fn roomy() -> Config {
    let mut config = tiny(4_000);
    config.segment_size = Some(ByteSize::kib(256));
    config
}

fn setting(config: Config, first: &[Action], workload: Vec<Action>) -> Setting {
    let keys = (0..KEYS).map(key).collect::<Vec<_>>();
    let (disk, inline) = (disk(), inline_of(&config));
    let model = paused().block_on(async {
        let engine = open(&FaultBackend::new(disk.clone()), &config).await.unwrap();
        let counted = disk.clone();
        let mut driver = Driver::new(engine, keys.clone(), inline, move || counted.ops());
        for action in first {
            driver.act(action).await.unwrap();
        }
        driver.act(&Action::Flush).await.unwrap();
        driver.model
    });
    let moment = disk.ops();
    Setting { config, keys, model, disk: disk.kill(), moment, workload }
}

/// Longer bodies go out of line.
fn inline_of(config: &Config) -> usize {
    config.segment_bytes() as usize / 8
}

async fn open(backend: &Faulty, config: &Config) -> Result<Engine<Faulty>, Error> {
    let opened = Engine::open(config.clone(), Arc::new(SystemClock), backend.clone(), Handle::current());
    in_time("an open", opened).await
}

/// What the process did under a fault.
struct Outcome {
    fired: bool,
    model: Model,
    disk: MemoryBackend,
    /// A durable insert after the fault was lifted.
    last: Option<CacheKey>,
}

impl Setting {
    /// Runs the workload with one rule planted.
    fn run(&self, rule: &Rule, reads_go_on: bool) -> Outcome {
        let disk = self.disk.fork();
        let faults = FaultBackend::new(disk.clone());
        faults.plant(rule.clone());
        let (model, last) = paused().block_on(async {
            let engine = match open(&faults, &self.config).await {
                Ok(engine) => engine,
                Err(error) => {
                    assert!(faults.fired() > 0, "an open fails without a fault: {error}");
                    faults.clear();
                    open(&faults, &self.config).await.unwrap()
                }
            };
            let (counted, before) = (disk.clone(), self.moment);
            let mut driver = Driver::new(engine, self.keys.clone(), inline_of(&self.config), move || {
                before + counted.ops()
            });
            driver.model = self.model.clone();
            for action in &self.workload {
                let done = in_time(&format!("{action:?}"), driver.act(action)).await;
                let fired = faults.fired() > 0;
                if verbose() {
                    println!("{} ops, fired {}: {action:?}: {done:?}", faults.operations(), faults.fired());
                }
                if let Err(error) = done {
                    assert!(fired, "{action:?} fails without a fault: {error}");
                    assert!(!matches!(error, Error::Closed | Error::Corrupt { .. }), "{action:?}: {error}");
                }
                match in_time("a look", driver.look(|| faults.fired() > 0)).await {
                    Ok(()) => {}
                    Err(error) => {
                        assert!(faults.fired() > 0 && !reads_go_on, "a read after {action:?}: {error}");
                    }
                }
            }
            faults.clear();
            let last = self.works_again(&mut driver).await;
            let closed = in_time("a close", driver.engine.close()).await;
            if verbose() {
                println!("closed: {closed:?}");
            }
            if let Err(error) = closed {
                assert!(faults.fired() > 0, "a close fails without a fault: {error}");
            } else {
                driver.model.flushed(driver.now());
            }
            (driver.model, last)
        });
        Outcome { fired: faults.fired() > 0, model, disk, last }
    }

    /// The fault is lifted: inserts and flushes work again, at the latest after the failure was told once. A failed sync of
    /// a directory, or a file that cannot be removed, stops reclaim for good, and so inserts where there is no room.
    async fn works_again(&self, driver: &mut Driver<Faulty>) -> Option<CacheKey> {
        let fresh = key(999);
        let mut stored = None;
        for _ in 0..3 {
            let options = InsertOptions::new().durability(Durability::Synced);
            let insert = driver.engine.insert_with(&fresh, body(999, 1, 300), options);
            match in_time("an insert after the fault", insert).await {
                Ok(_) => stored = Some(fresh.clone()),
                Err(error) if driver.engine.stats().cleanup_errors > 0 => drop(error),
                Err(Error::Io { .. } | Error::StorageFull { .. }) => continue,
                Err(error) => panic!("an insert after the fault: {error}"),
            }
            break;
        }
        let stopped = driver.engine.stats().cleanup_errors > 0;
        assert!(stored.is_some() || stopped, "inserts do not work again: {:?}", driver.engine.stats());
        for _ in 0..2 {
            // The first one may hand the failure back.
            let flushed = in_time("a flush after the fault", driver.act(&Action::Flush)).await;
            if verbose() {
                println!("stored {stored:?}, then a flush: {flushed:?}");
            }
            if flushed.is_ok() {
                in_time("a look", driver.look(|| true)).await.unwrap();
                return stored;
            }
        }
        assert!(stopped, "flushes do not work again");
        stored
    }

    /// Restarts after a run, in one of four ways.
    fn restart(&self, outcome: &Outcome, way: u64, seed: u64) {
        let plan = match way % 4 {
            0 => None,
            1 => Some(CrashPlan::Nothing),
            2 => Some(CrashPlan::Everything),
            _ => Some(CrashPlan::Seeded(seed)),
        };
        let (disk, loss) = match plan {
            None => (outcome.disk.kill(), Loss::Kill),
            Some(plan) => (outcome.disk.crash_with(plan), Loss::PowerCut),
        };
        paused().block_on(async {
            let engine = open(&FaultBackend::new(disk), &self.config).await.unwrap();
            let stats = engine.stats();
            let excused = outcome.fired || stats.evictions + stats.early_evictions > 0;
            for key in &self.keys {
                let seen = peek_stale(&engine, key).await.unwrap();
                let permitted = outcome.model.permitted(key, loss, u64::MAX);
                if let Err(wrong) = permitted.check(seen.as_ref(), 0, excused) {
                    panic!("{key:?} after a restart by {plan:?}: {wrong}");
                }
            }
            if let Some(last) = &outcome.last {
                assert!(
                    peek_stale(&engine, last).await.unwrap().is_some(),
                    "lost after the fault, by {plan:?}"
                );
            }
            engine.check_invariants().unwrap();
        });
    }
}

/// Whether every run and its actions are to be printed, to find out what one of them did.
fn verbose() -> bool {
    std::env::var_os("DISK_CACHE_VERBOSE").is_some()
}

/// Names the run in a failure's message.
struct Context<'a>(u64, u64, &'a str);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("workload of seed {}, operation {}, {}", self.0, self.1, self.2);
        }
    }
}

/// What a file system says that knows no way past the page cache.
const REFUSED: (&str, Fault) = ("EINVAL", Fault::Errno(22));

/// Every way to fail.
fn faults(every_errno: bool) -> Vec<(&'static str, Fault)> {
    let mut all = vec![
        ("EIO", Fault::Errno(EIO)),
        ("ENOSPC", Fault::Errno(ENOSPC)),
        ("torn", Fault::Torn(EIO)),
        ("short", Fault::Short),
    ];
    if every_errno {
        all.extend(OTHERS.map(|(name, errno)| (name, Fault::Errno(errno))));
    }
    all
}

fn every_failure_point_of_random_workloads(what: &str, verbs: Option<&[Verb]>) {
    let every_errno = from_env("DISK_CACHE_EVERY_ERRNO", 0) == 1;
    let (count, seed): (u64, u64) =
        (from_env("DISK_CACHE_FAULT_WORKLOADS", 1), from_env("DISK_CACHE_SEED", 1));
    let settings: Vec<_> = (seed..seed + count).map(random_setting).collect();
    every_failure_point(what, verbs, &settings, &faults(every_errno));
}

fn every_failure_point(
    what: &str,
    verbs: Option<&[Verb]>,
    settings: &[(u64, Setting)],
    faults: &[(&'static str, Fault)],
) {
    let (begun, count) = (Instant::now(), settings.len() as u64);
    let seed = settings.first().map_or(0, |(seed, _)| *seed);
    let mut ways = Vec::new();
    for (seed, setting) in settings {
        for (name, fault) in faults {
            for sticky in [false, true] {
                ways.push((*seed, setting, *name, fault.clone(), sticky));
            }
        }
    }
    let runs = AtomicU64::new(0);
    on_all_cores(ways.len() as u64, |n| {
        let (seed, setting, name, fault, sticky) = &ways[n as usize];
        let name = &format!("{name}{}", if *sticky { " from then on" } else { "" });
        for nth in 1.. {
            let _context = Context(*seed, nth, name);
            if verbose() {
                println!("seed {seed}, operation {nth}, {name}");
            }
            let mut rule = Rule::new(fault.clone()).nth(nth);
            if let Some(verbs) = verbs {
                rule = rule.verbs(verbs);
            }
            let rule = if *sticky { rule.from_then_on() } else { rule };
            let outcome = setting.run(&rule, verbs.is_some());
            // The kinds of failure of one operation meet all ways in turn: all of them each time took four times as long.
            setting.restart(&outcome, n + nth, seed ^ nth);
            runs.fetch_add(1, Ordering::Relaxed);
            if !outcome.fired {
                break;
            }
        }
    });
    let runs = runs.into_inner();
    let seconds = begun.elapsed().as_secs_f64();
    println!("failure points, {what}: {count} workloads, {runs} runs, seed {seed}, {seconds:.1} s");
    tried(count, &format!("workloads, {what}"));
    tried(runs, &format!("failure points, {what}"));
}

#[test]
fn every_failed_write_is_told_and_brings_no_older_value_back_while_reads_go_on() {
    every_failure_point_of_random_workloads("writes", Some(&WRITING));
}

#[test]
fn every_failed_operation_is_told_and_brings_no_older_value_back() {
    every_failure_point_of_random_workloads("all verbs", None);
}

/// A refusal is no failure where the page cache will do: the body is stored all the same.
#[test]
fn every_failed_operation_on_bodies_past_the_page_cache_is_told_and_brings_no_older_value_back() {
    let seed = from_env("DISK_CACHE_SEED", 1);
    let first = [Action::Insert { key: 0, len: 1 << 20, level: Durability::Synced }];
    let setting = setting(roomy(), &first, workload::past_the_page_cache());
    let mut faults = faults(false);
    faults.push(REFUSED);
    every_failure_point("past the page cache", None, &[(seed, setting)], &faults);
}
