//! An open cache that nobody asks for anything.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    dataset::Dataset,
    filled::fill,
    finding::{Bound, Figure},
    measure::{Measure, cpu_time},
};
use disk_cache::ByteSize;
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

/// What reading the clocks and `/proc` takes, and no more: a hundredth of a percent of one processor.
const NOTHING: f64 = 100.0;

/// Measures `idle`.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let data = Arc::new(Dataset::new(1000, 4096));
    let mut outcomes = Vec::new();
    for (choice, name) in bench.choices() {
        let dir = bench.path(format!("idle-{}", name.replace(": ", "-")));
        let cache = bench.open(&dir, *choice, ByteSize::mib(256))?;
        fill(bench, &cache, &data)?;
        // What the fill left to do, and threads that end when nobody needs them.
        std::thread::sleep(Duration::from_millis(500));
        let round = || idle(bench.options.time().max(Duration::from_secs(3)));
        let candidate = Candidate::new("idle", name, round)
            .within(Figure::Value("CPU us per second"), Bound::AtMost(NOTHING))
            .shows(Figure::Value("wake-ups/s"));
        outcomes.extend(compare(vec![candidate], bench.options.rounds.min(3))?);
        bench.close(&cache)?;
        fs::remove_dir_all(dir)?;
    }
    Ok(outcomes)
}

fn idle(time: Duration) -> Result<Measure> {
    let (begun, woken, cpu) = (Instant::now(), wake_ups()?, cpu_time());
    std::thread::sleep(time);
    let cpu = cpu_time().saturating_sub(cpu).as_secs_f64() * 1e6;
    // This thread itself is woken once, by its clock.
    let woken = (wake_ups()? - woken).saturating_sub(1) as f64;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Measure::reported(0.0, 0.0, 0.0, time)
        .with_value("CPU us per second", cpu / seconds)
        .with_value("wake-ups/s", woken / seconds))
}

/// How often threads of this process have gone to sleep of their own will.
fn wake_ups() -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile.
        let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += count.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}
