//! A workload on a recording disk, which is then crashed after each of its steps, opened again, and compared with the model as of
//! that step.

use crate::explored::Explored;
use cache_core::{Cache, CacheKey, Config, Durability, InsertOptions, SystemClock};
use cache_store::Engine;
use cache_testkit::{CrashPlan, Loss, MemoryBackend, Model, Rng, Seen, Step};
use std::sync::Arc;
use store_testkit::{
    body, disk,
    drive::{Action, Driver},
    in_time, key, paused, peek_stale,
};
use tokio::runtime::Handle;

/// A run of a workload: the disk after every backend operation, and what was promised when.
pub(crate) struct Run {
    pub(crate) workload: Vec<Action>,
    pub(crate) config: Config,
    pub(crate) keys: Vec<CacheKey>,
    pub(crate) model: Model,
    pub(crate) steps: Vec<Step>,
    /// Backend operations before the first step.
    pub(crate) before: u64,
    /// When each action began.
    pub(crate) starts: Vec<u64>,
}

/// What is known of a crash when the cache is opened after it.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) loss: Loss,
    /// When it was, counted as the model counts.
    pub(crate) moment: u64,
    /// A recovery before this one evicted for want of room: what it took may be gone for good.
    pub(crate) evicted: bool,
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
pub(crate) fn crash(step: &Step, plan: Option<CrashPlan>) -> (MemoryBackend, Loss) {
    match plan {
        None => (step.after.kill(), Loss::Kill),
        Some(plan) => (step.after.crash_with(plan), Loss::PowerCut),
    }
}

impl Run {
    /// Runs it on a recording disk.
    pub(crate) fn record(workload: &[Action], config: &Config, keys: usize, close: bool) -> Self {
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
            Self { workload, config, keys, model: driver.model, steps: disk.recorded(), before, starts }
        })
    }

    /// Crashes after one step in one way.
    pub(crate) fn crash_at(&self, at: usize, plan: Option<CrashPlan>, rng: &mut Rng, found: &mut Explored) {
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
    pub(crate) fn crash_recoveries(
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

pub(crate) const PLANS: u64 = 5;

pub(crate) fn plan(n: u64, rng: &mut Rng) -> Option<CrashPlan> {
    match n {
        0 => None,
        1 => Some(CrashPlan::Nothing),
        2 => Some(CrashPlan::Everything),
        _ => Some(CrashPlan::Seeded(rng.next_u64())),
    }
}
