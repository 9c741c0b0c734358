//! Every state that a kill or a power cut may leave: of all short workloads, and of long random ones whose log turns over.
//!
//! A workload runs on a recording disk. After each of its backend operations the disk is crashed in several ways, opened
//! again, and compared with the model as of that operation; some of the recoveries are crashed themselves.
//!
//! `DISK_CACHE_STATES` sets how many states each test looks at, `DISK_CACHE_SEED` which.
//!
//! Sources: `CrashMonkey` (OSDI 2018): most crash bugs need at most three operations.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, CacheKey, Config, Durability, InsertOptions, PurgeMode, PurgeScope, SystemClock};
use cache_store::Engine;
use cache_testkit::{CrashPlan, Loss, MemoryBackend, MemoryOp, Model, Rng, Seen, Step, on_all_cores, tried};
use std::{
    sync::{
        Arc, Mutex,
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

/// A run of a workload: the disk after every backend operation, and what was promised when.
struct Run {
    workload: Vec<Action>,
    config: Config,
    keys: Vec<CacheKey>,
    model: Model,
    steps: Vec<Step>,
    /// Backend operations before the first step.
    before: u64,
    /// When each action began.
    starts: Vec<u64>,
}

fn record(workload: &[Action], config: &Config, keys: usize, close: bool) -> Run {
    let disk = disk();
    let keys: Vec<CacheKey> = (0..keys as u64).map(key).collect();
    paused().block_on(async {
        let (clock, backend) = (Arc::new(SystemClock), disk.clone());
        let engine = Engine::open(config.clone(), clock, backend, Handle::current()).await.unwrap();
        let counted = disk.clone();
        let mut driver = Driver::new(engine, keys.clone(), 512, move || counted.ops());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let before = disk.ops();
        disk.record();
        let mut starts = Vec::new();
        for action in workload {
            starts.push(disk.ops());
            in_time("an action", driver.act(action)).await.unwrap();
        }
        in_time("a rest", driver.act(&Action::Rest)).await.unwrap();
        in_time("a look", driver.act(&Action::Look)).await.unwrap();
        let stats = driver.engine.stats();
        assert_eq!((stats.evictions, stats.early_evictions), (0, 0), "too small a cache to tell losses");
        if close {
            in_time("a close", driver.engine.close()).await.unwrap();
            driver.model.flushed(disk.ops());
        }
        let (workload, config) = (workload.to_vec(), config.clone());
        Run { workload, config, keys, model: driver.model, steps: disk.recorded(), before, starts }
    })
}

#[derive(Default)]
struct Explored {
    states: u64,
    recoveries: u64,
    excused: u64,
}

impl Explored {
    fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.excused += other.excused;
    }
}

/// What is known of a crash when the cache is opened after it.
#[derive(Clone, Copy)]
struct Known {
    loss: Loss,
    /// When it was, counted as the model counts.
    moment: u64,
    /// A recovery before this one evicted for want of room: what it took may be gone for good.
    evicted: bool,
}

/// What an open found.
struct Found {
    seen: Vec<Option<Seen>>,
    /// The steps of the recovery, where they were recorded.
    recovery: Vec<Step>,
    /// Whether it evicted, or one before it did.
    evicted: bool,
}

/// What a crash leaves, and what it may have lost.
fn crash(step: &Step, plan: Option<CrashPlan>) -> (MemoryBackend, Loss) {
    match plan {
        None => (step.after.kill(), Loss::Kill),
        Some(plan) => (step.after.crash_with(plan), Loss::PowerCut),
    }
}

impl Run {
    /// Crashes after one step in one way.
    fn crash_at(&self, at: usize, plan: Option<CrashPlan>, rng: &mut Rng, found: &mut Explored) {
        let step = &self.steps[at];
        let moment = self.before + at as u64 + 1;
        let deep = rng.chance(1, 8);
        let context =
            || format!("after step {at} ({:?}) of {:?}, by {plan:?}", step.op, self.begun_by(moment));
        let (disk, loss) = crash(step, plan);
        found.states += 1;
        let known = Known { loss, moment, evicted: false };
        let checked = self.open_and_check(&disk, known, None, deep, found);
        let Found { seen, recovery, evicted } =
            checked.unwrap_or_else(|wrong| panic!("{wrong}\n{}", context()));
        if !deep || recovery.is_empty() {
            return;
        }
        // A crash during that recovery; then one right after it, which must not undo what it said.
        let again = rng.below(recovery.len() as u64) as usize;
        let last = recovery.len() - 1;
        let (then, choice) = (CrashPlan::Seeded(rng.next_u64()), rng.below(4));
        for (at, plan, exact) in [
            (again, if choice == 0 { None } else { Some(then) }, None),
            (last, Some(if choice == 1 { then } else { CrashPlan::Nothing }), Some(&seen)),
        ] {
            let (disk, second) = crash(&recovery[at], plan);
            let loss = if second == Loss::PowerCut { Loss::PowerCut } else { loss };
            found.recoveries += 1;
            let known = Known { loss, moment, evicted };
            if let Err(wrong) = self.open_and_check(&disk, known, exact, false, found) {
                let op = &recovery[at].op;
                panic!(
                    "{wrong}\nsecond crash after step {at} ({op:?}) of the recovery, by {plan:?}\n{}",
                    context()
                );
            }
        }
    }

    /// Crashes the recovery from a disk after each of its steps, in every way, and the recovery from one of these, and so on.
    fn crash_recoveries(
        &self,
        disk: &MemoryBackend,
        known: Known,
        depth: u32,
        rng: &mut Rng,
        found: &mut Explored,
    ) {
        let moment = known.moment;
        let checked = self.open_and_check(disk, known, None, true, found);
        let Found { recovery, evicted, .. } =
            checked.unwrap_or_else(|wrong| panic!("{wrong}\nat moment {moment}, depth {depth}"));
        let mut next = None;
        let chosen = rng.below(recovery.len().max(1) as u64 * PLANS);
        for (at, step) in recovery.iter().enumerate() {
            for n in 0..PLANS {
                let plan = plan(n, rng);
                let (disk, second) = crash(step, plan);
                let loss = if second == Loss::PowerCut { second } else { known.loss };
                let known = Known { loss, moment, evicted };
                found.recoveries += 1;
                if let Err(wrong) = self.open_and_check(&disk, known, None, false, found) {
                    let op = &step.op;
                    panic!(
                        "{wrong}\nafter step {at} ({op:?}) of recovery {depth} by {plan:?}, at moment {moment}"
                    );
                }
                if at as u64 * PLANS + n == chosen {
                    next = Some((disk, known));
                }
            }
        }
        if let (Some((disk, known)), true) = (next, depth > 1) {
            self.crash_recoveries(&disk, known, depth - 1, rng, found);
        }
    }

    /// The end of what had been called at that moment, for a message that can be read.
    fn begun_by(&self, moment: u64) -> &[Action] {
        let count = self.starts.partition_point(|start| *start <= moment);
        &self.workload[count.saturating_sub(12)..count]
    }

    /// Opens the cache on a crashed disk and compares.
    fn open_and_check(
        &self,
        disk: &MemoryBackend,
        Known { loss, moment, evicted }: Known,
        exact: Option<&Vec<Option<Seen>>>,
        record: bool,
        found: &mut Explored,
    ) -> Result<Found, String> {
        paused().block_on(async {
            if record {
                disk.record();
            }
            let (clock, backend) = (Arc::new(SystemClock), disk.clone());
            let opened = Engine::open(self.config.clone(), clock, backend, Handle::current());
            let engine = in_time("an open", opened).await.map_err(|e| format!("open: {e}"))?;
            let recovery = disk.recorded();
            let stats = engine.stats();
            let excused = evicted || stats.evictions + stats.early_evictions > 0;
            found.excused += u64::from(excused);
            let mut all = Vec::new();
            for (n, key) in self.keys.iter().enumerate() {
                let seen = peek_stale(&engine, key).await.map_err(|e| format!("get {n}: {e}"))?;
                let permitted = self.model.permitted(key, loss, moment);
                permitted
                    .check(seen.as_ref(), 0, excused)
                    .map_err(|wrong| format!("key {n}, {loss:?}: {wrong}"))?;
                if let Some(exact) = exact
                    && exact[n] != seen
                    && !(excused && seen.is_none())
                {
                    return Err(format!(
                        "key {n}: a recovery gave {:?}, after a power cut {seen:?}",
                        exact[n]
                    ));
                }
                all.push(seen);
            }
            engine.check_invariants()?;
            let (fresh, stored) = (key(999), body(999, 1, 300));
            let options = InsertOptions::new().durability(Durability::Synced);
            let inserted = in_time("an insert", engine.insert_with(&fresh, stored.clone(), options)).await;
            inserted.map_err(|e| format!("insert after the crash: {e}"))?;
            let seen = peek_stale(&engine, &fresh).await.map_err(|e| format!("get after the crash: {e}"))?;
            if seen.map(|s| s.body) != Some(stored) {
                return Err("an insert after the crash is not found".to_owned());
            }
            let stats = engine.stats();
            if stats.disk_bytes > stats.capacity {
                return Err(format!("over the quota: {stats:?}"));
            }
            Ok(Found { seen: all, recovery, evicted: excused })
        })
    }
}

const PLANS: u64 = 5;

fn plan(n: u64, rng: &mut Rng) -> Option<CrashPlan> {
    match n {
        0 => None,
        1 => Some(CrashPlan::Nothing),
        2 => Some(CrashPlan::Everything),
        _ => Some(CrashPlan::Seeded(rng.next_u64())),
    }
}

/// Six kinds of operations on two keys.
fn operations() -> Vec<Action> {
    let mut all = vec![
        Action::Purge { scope: PurgeScope::Namespace("ns".into()), mode: PurgeMode::Remove },
        Action::Flush,
    ];
    for key in 0..2 {
        all.push(Action::Insert { key, len: 100, level: Durability::Buffered });
        all.push(Action::Insert { key, len: 900, level: Durability::Buffered });
        all.push(Action::Remove { key, level: Durability::Written });
        all.push(Action::UpdateMeta { key });
    }
    all
}

/// The workload of that number: all of one operation, then all of two, then of three.
fn numbered(number: usize, operations: &[Action]) -> Vec<Action> {
    let base = operations.len();
    let (mut rest, mut len, mut count) = (number, 1, base);
    while rest >= count {
        rest -= count;
        count *= base;
        len += 1;
    }
    (0..len)
        .map(|_| {
            let action = operations[rest % base].clone();
            rest /= base;
            action
        })
        .collect()
}

#[test]
fn every_crash_of_every_short_workload_leaves_a_permitted_state() {
    let (budget, seed): (u64, u64) = (from_env("DISK_CACHE_STATES", 20_000), from_env("DISK_CACHE_SEED", 1));
    let begun = Instant::now();
    let operations = operations();
    let base = operations.len();
    let total = base + base.pow(2) + base.pow(3);
    // Workloads of one and two operations always; of those of three as many as the budget gives, spread over all.
    let short = base + base.pow(2);
    let (mut rng, mut chosen, mut next) = (Rng::new(seed), Vec::new(), 0usize);
    let stride = (total / (budget as usize / 75).max(1)).max(1);
    while next < total {
        chosen.push(next);
        next += if next < short || stride == 1 { 1 } else { 1 + rng.below(2 * stride as u64 - 1) as usize };
    }
    let found = Mutex::new(Explored::default());
    on_all_cores(chosen.len() as u64, |n| {
        let number = chosen[n as usize];
        let (mut rng, mut own) = (Rng::new(seed).fork(number as u64), Explored::default());
        let run = record(&numbered(number, &operations), &tiny(32), 2, false);
        // What came before the last action is the last action of a shorter workload.
        let last = run.starts.last().map_or(0, |start| start - run.before) as usize;
        for at in last..run.steps.len() {
            for n in 0..PLANS {
                let plan = plan(n, &mut rng);
                run.crash_at(at, plan, &mut rng, &mut own);
            }
        }
        found.lock().unwrap().add(&own);
    });
    report("short", seed, chosen.len() as u64, &found.into_inner().unwrap(), begun);
}

/// How many states a long run is good for, at most and nearly always.
const STATES_OF_A_RUN: u64 = 2_000;
/// How many crashes of recoveries a run is good for, on average.
const RECOVERIES_OF_A_RUN: u64 = 400;

/// Keys that are written and then left alone, so that reclaim has something to move.
const SURVIVORS: usize = 3;

/// A workload whose survivors outlive their segments: most purges of more than one key are left out of it.
fn with_survivors(workload: Vec<Action>, rng: &mut Rng) -> Vec<Action> {
    // Without them every record was dead before its segment was the oldest, and a reclaim that unlinked it before its copies were
    // synced went unnoticed.
    let store = |all: &mut Vec<Action>| {
        for key in 6..6 + SURVIVORS {
            all.push(Action::Insert { key, len: 100 + 50 * key, level: Durability::Synced });
        }
    };
    let mut all = Vec::new();
    store(&mut all);
    for action in workload {
        let wide =
            matches!(&action, Action::Purge { scope, .. } if !matches!(scope, PurgeScope::Path { .. }));
        if wide && rng.chance(19, 20) {
            continue;
        }
        all.push(action);
        if wide {
            store(&mut all);
        }
    }
    all
}

#[test]
fn every_crash_of_a_workload_that_turns_the_log_over_leaves_a_permitted_state() {
    let (budget, seed): (u64, u64) = (from_env("DISK_CACHE_STATES", 20_000), from_env("DISK_CACHE_SEED", 1));
    let begun = Instant::now();
    let found = Mutex::new(Explored::default());
    let runs = budget.div_ceil(STATES_OF_A_RUN);
    on_all_cores(runs, |n| {
        let (mut rng, mut own) = (Rng::new(seed ^ 0x10c).fork(n), Explored::default());
        // Some five times as many bytes as the log holds.
        let workload = with_survivors(workload::random(&mut rng, 800, 6), &mut rng);
        let run = record(&workload, &tiny(20), 6 + SURVIVORS, true);
        // Spread over the run, so that one run does not take the whole budget.
        let of = (run.steps.len() as u64 * PLANS).max(STATES_OF_A_RUN);
        for at in 0..run.steps.len() {
            for n in 0..PLANS {
                let plan = plan(n, &mut rng);
                if rng.chance(STATES_OF_A_RUN, of) {
                    run.crash_at(at, plan, &mut rng, &mut own);
                }
            }
        }
        found.lock().unwrap().add(&own);
    });
    report("long", seed, runs, &found.into_inner().unwrap(), begun);
}

/// Steps before and after a round that are looked at, and states of a run: opening a long log takes as long as it has segments.
const AROUND: usize = 12;
const STATES_OF_ROUNDS: u64 = 500;

#[test]
fn every_crash_of_a_round_that_gives_several_segments_back_leaves_a_permitted_state() {
    let (budget, seed): (u64, u64) = (from_env("DISK_CACHE_STATES", 20_000), from_env("DISK_CACHE_SEED", 1));
    let begun = Instant::now();
    let found = Mutex::new(Explored::default());
    let all_rounds = AtomicU64::new(0);
    let runs = (budget / 10).div_ceil(STATES_OF_ROUNDS);
    on_all_cores(runs, |n| {
        let (mut rng, mut own) = (Rng::new(seed ^ 0x20d).fork(n), Explored::default());
        // So many segments that reclaim keeps room for more than one of them; in the end the log turns over in any case.
        let mut workload = with_survivors(workload::random(&mut rng, 3_000, 6), &mut rng);
        let level = Durability::Buffered;
        workload.extend((0..1_500).map(|n| Action::Insert { key: n % 6, len: 300 + n % 200, level }));
        let run = record(&workload, &tiny(100), 6 + SURVIVORS, false);
        let removes = |at: usize| {
            let op = run.steps.get(at).map(|step| &step.op);
            matches!(op, Some(MemoryOp::Remove(path)) if path.starts_with("/cache/segments"))
        };
        let rounds: Vec<_> = (0..run.steps.len()).filter(|&at| removes(at) && removes(at + 1)).collect();
        all_rounds.fetch_add(rounds.len() as u64, Ordering::Relaxed);
        let near = |at: &usize| rounds.iter().any(|round| round.abs_diff(*at) <= AROUND);
        let steps: Vec<_> = (0..run.steps.len()).filter(near).collect();
        let of = (steps.len() as u64 * PLANS).max(STATES_OF_ROUNDS);
        for at in steps {
            for n in 0..PLANS {
                let plan = plan(n, &mut rng);
                if rng.chance(STATES_OF_ROUNDS, of) {
                    run.crash_at(at, plan, &mut rng, &mut own);
                }
            }
        }
        found.lock().unwrap().add(&own);
    });
    let rounds = all_rounds.into_inner();
    println!("{rounds} rounds gave two segments or more back");
    assert!(rounds > 0, "a log that turns over gives several back at once");
    report("rounds", seed, runs, &found.into_inner().unwrap(), begun);
}

/// Everything that keeps a body out which is on its way, in every way in which it can be on its way.
fn overtaken() -> Vec<Vec<Action>> {
    let mut all = Vec::new();
    for (key, fetch, older, len) in [0, 1].into_iter().flat_map(|key| {
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        // In its record; a part in a file when it is overtaken; all of it, some of it written in portions.
        let lengths = [100, 900, 600_000];
        ways.into_iter().flat_map(move |(fetch, older)| lengths.map(|len| (key, fetch, older, len)))
    }) {
        for by in workload::overtakers(key) {
            let stored = Action::Insert { key, len: 300, level: Durability::Synced };
            // What comes between the purge and the commit puts other records behind the purge's.
            let between = Action::Insert { key: 2, len: 200, level: Durability::Synced };
            let overtaken = Action::Overtaken { key, len, fetch, by: vec![by, between] };
            all.push(older.then_some(stored).into_iter().chain([overtaken, Action::Flush]).collect());
        }
    }
    all
}

#[test]
fn every_crash_around_a_purge_of_a_body_on_its_way_leaves_nothing_of_that_body() {
    let seed = from_env("DISK_CACHE_SEED", 1);
    let (begun, mut rng, mut found) = (Instant::now(), Rng::new(seed ^ 0xf111), Explored::default());
    let workloads = overtaken();
    for workload in &workloads {
        let run = record(workload, &tiny(400), 3, false);
        for at in 0..run.steps.len() {
            for n in 0..PLANS {
                let plan = plan(n, &mut rng);
                run.crash_at(at, plan, &mut rng, &mut found);
            }
        }
    }
    report("bodies on their way", seed, workloads.len() as u64, &found, begun);
}

/// Bodies of whole blocks, written past the page cache, and of some bytes more, written through it.
#[test]
fn every_crash_around_bodies_past_the_page_cache_leaves_a_permitted_state() {
    let seed = from_env("DISK_CACHE_SEED", 1);
    let (begun, mut rng, mut found) = (Instant::now(), Rng::new(seed ^ 0xd12), Explored::default());
    let workload = workload::past_the_page_cache();
    let run = record(&workload, &tiny(4_000), 2, true);
    for at in 0..run.steps.len() {
        for n in 0..PLANS {
            let plan = plan(n, &mut rng);
            run.crash_at(at, plan, &mut rng, &mut found);
        }
    }
    report("past the page cache", seed, 1, &found, begun);
}

#[test]
fn every_crash_of_a_first_open_leaves_a_directory_that_opens() {
    // Nothing looked at this before: a superblock that got its name before its bytes were synced went unnoticed.
    let (seed, config, disk) = (from_env("DISK_CACHE_SEED", 1), tiny(20), disk());
    let (begun, mut rng, mut found) = (Instant::now(), Rng::new(seed), Explored::default());
    disk.record();
    paused().block_on(async {
        let opened = Engine::open(config.clone(), Arc::new(SystemClock), disk.clone(), Handle::current());
        in_time("a close", opened.await.unwrap().close()).await.unwrap();
    });
    let (keys, steps) = (vec![key(0)], disk.recorded());
    let (model, workload, starts) = (Model::new(), Vec::new(), Vec::new());
    let run = Run { workload, config, keys, model, steps, before: 0, starts };
    for at in 0..run.steps.len() {
        for n in 0..4 * PLANS {
            let plan = plan(n, &mut rng);
            run.crash_at(at, plan, &mut rng, &mut found);
        }
    }
    report("first open", seed, 1, &found, begun);
}

#[test]
fn every_crash_of_a_recovery_leaves_a_permitted_state_however_often() {
    let (budget, seed): (u64, u64) =
        (from_env("DISK_CACHE_RECOVERIES", 1_500), from_env("DISK_CACHE_SEED", 1));
    let (begun, found) = (Instant::now(), Mutex::new(Explored::default()));
    let runs = budget.div_ceil(RECOVERIES_OF_A_RUN);
    on_all_cores(runs, |n| {
        let (mut rng, mut own) = (Rng::new(seed ^ 0x7ec).fork(n), Explored::default());
        let run = record(&workload::random(&mut rng, 80, 6), &tiny(20), 6, false);
        for _ in 0..4 {
            let at = rng.below(run.steps.len() as u64) as usize;
            let first = plan(rng.below(PLANS), &mut rng);
            let (disk, loss) = crash(&run.steps[at], first);
            let known = Known { loss, moment: run.before + at as u64 + 1, evicted: false };
            run.crash_recoveries(&disk, known, 3, &mut rng, &mut own);
        }
        found.lock().unwrap().add(&own);
    });
    report("recoveries", seed, runs, &found.into_inner().unwrap(), begun);
}

fn report(what: &str, seed: u64, runs: u64, found: &Explored, begun: Instant) {
    let Explored { states, recoveries, excused } = found;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "crash states, {what}: {runs} workloads, {states} states, {recoveries} crashes of recoveries, {excused} excused by \
         eviction, seed {seed}, {seconds:.1} s, {:.0} states/s",
        (states + recoveries) as f64 / seconds
    );
    if *states > 0 {
        tried(*states, "crash states");
    }
    tried(*recoveries, "crashes of recoveries");
}
