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

#[path = "crash_states/explored.rs"]
mod explored;
#[path = "crash_states/run.rs"]
mod run;
#[path = "crash_states/workloads.rs"]
mod workloads;

use cache_core::{Durability, SystemClock};
use cache_store::Engine;
use cache_testkit::{MemoryOp, Model, Rng, on_all_cores};
use explored::Explored;
use run::{Known, PLANS, Run, crash, plan};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use store_testkit::{disk, drive::Action, from_env, in_time, key, paused, tiny, workload};
use tokio::runtime::Handle;
use workloads::{SURVIVORS, numbered, operations, overtaken, with_survivors};

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
        let run = Run::record(&numbered(number, &operations), &tiny(32), 2, false);
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
    found.into_inner().unwrap().report("short", seed, chosen.len() as u64, begun);
}

/// How many states a long run is good for, at most and nearly always.
const STATES_OF_A_RUN: u64 = 2_000;
/// How many crashes of recoveries a run is good for, on average.
const RECOVERIES_OF_A_RUN: u64 = 400;

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
        let run = Run::record(&workload, &tiny(20), 6 + SURVIVORS, true);
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
    found.into_inner().unwrap().report("long", seed, runs, begun);
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
        let run = Run::record(&workload, &tiny(100), 6 + SURVIVORS, false);
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
    found.into_inner().unwrap().report("rounds", seed, runs, begun);
}

#[test]
fn every_crash_around_a_purge_of_a_body_on_its_way_leaves_nothing_of_that_body() {
    let seed = from_env("DISK_CACHE_SEED", 1);
    let (begun, mut rng, mut found) = (Instant::now(), Rng::new(seed ^ 0xf111), Explored::default());
    let workloads = overtaken();
    for workload in &workloads {
        let run = Run::record(workload, &tiny(400), 3, false);
        for at in 0..run.steps.len() {
            for n in 0..PLANS {
                let plan = plan(n, &mut rng);
                run.crash_at(at, plan, &mut rng, &mut found);
            }
        }
    }
    found.report("bodies on their way", seed, workloads.len() as u64, begun);
}

/// Bodies of whole blocks, written past the page cache, and of some bytes more, written through it.
#[test]
fn every_crash_around_bodies_past_the_page_cache_leaves_a_permitted_state() {
    let seed = from_env("DISK_CACHE_SEED", 1);
    let (begun, mut rng, mut found) = (Instant::now(), Rng::new(seed ^ 0xd12), Explored::default());
    let workload = workload::past_the_page_cache();
    let run = Run::record(&workload, &tiny(4_000), 2, true);
    for at in 0..run.steps.len() {
        for n in 0..PLANS {
            let plan = plan(n, &mut rng);
            run.crash_at(at, plan, &mut rng, &mut found);
        }
    }
    found.report("past the page cache", seed, 1, begun);
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
    found.report("first open", seed, 1, begun);
}

#[test]
fn every_crash_of_a_recovery_leaves_a_permitted_state_however_often() {
    let (budget, seed): (u64, u64) =
        (from_env("DISK_CACHE_RECOVERIES", 1_500), from_env("DISK_CACHE_SEED", 1));
    let (begun, found) = (Instant::now(), Mutex::new(Explored::default()));
    let runs = budget.div_ceil(RECOVERIES_OF_A_RUN);
    on_all_cores(runs, |n| {
        let (mut rng, mut own) = (Rng::new(seed ^ 0x7ec).fork(n), Explored::default());
        let run = Run::record(&workload::random(&mut rng, 80, 6), &tiny(20), 6, false);
        for _ in 0..4 {
            let at = rng.below(run.steps.len() as u64) as usize;
            let first = plan(rng.below(PLANS), &mut rng);
            let (disk, loss) = crash(&run.steps[at], first);
            let known = Known { loss, moment: run.before + at as u64 + 1, evicted: false };
            run.crash_recoveries(&disk, known, 3, &mut rng, &mut own);
        }
        found.lock().unwrap().add(&own);
    });
    found.into_inner().unwrap().report("recoveries", seed, runs, begun);
}
