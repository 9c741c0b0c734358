//! Opening a cache of many entries after a clean close, and after a kill -9, in processes of their own.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    finding::{Bound, Figure},
    measure::Measure,
    part,
};
use disk_cache::BackendChoice;
use std::{path::Path, time::Duration};

const RATE: Figure = Figure::Value("entries/s");

const MISSES: &str = "every entry goes into a hash table and a slot of its own, places in memory that no processor's cache holds: `perf \
     record` of `benches part open DIR ENTRIES BACKEND clean` has most of the time there. Shards are filled by as many threads as there \
     are processors, so that the rate grows with them (`cargo xtask bench reopen`)";

/// Measures `reopen`. The files are in the page cache.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (choice, name) in bench.choices() {
        let dir = bench.path(format!("reopen-{}", name.replace(": ", "-")));
        let (entries, backend) = (bench.options.many.to_string(), option(*choice));
        part::start(&["fill", &dir.display().to_string(), &entries, backend, "clean"])?;
        // Each leaves behind what the other needs.
        let clean = || open(bench, &dir, backend, "killed");
        let killed = || open(bench, &dir, backend, "clean");
        let group = vec![
            Candidate::new("reopen-clean", name, clean)
                .within(RATE, Bound::AtLeast(5e6))
                .because(MISSES)
                .shows(PEAK),
            Candidate::new("reopen-killed", name, killed).within(RATE, Bound::AtLeast(2e6)).shows(PEAK),
        ];
        outcomes.extend(compare(group, bench.options.rounds)?);
        std::fs::remove_dir_all(dir)?;
    }
    Ok(outcomes)
}

const PEAK: Figure = Figure::Value("peak MiB");

fn open(bench: &Bench, dir: &Path, backend: &str, end: &str) -> Result<Measure> {
    let entries = bench.options.many;
    bench.settle()?;
    let said = part::start(&["open", &dir.display().to_string(), &entries.to_string(), backend, end])?;
    if said.entries != entries as u64 {
        return Err(format!("{} of {entries} entries came back", said.entries).into());
    }
    let seconds = Duration::from_secs_f64(said.seconds);
    Ok(Measure::reported(1.0 / said.seconds, 0.0, 0.0, seconds)
        .with_value("entries/s", entries as f64 / said.seconds)
        .with_value("peak MiB", said.peak as f64 / f64::from(1 << 20))
        .with_note(format!("{entries} entries in {:.3} s", said.seconds)))
}

/// As the command line of a part has it.
pub fn option(choice: BackendChoice) -> &'static str {
    match choice {
        BackendChoice::IoUring => "io-uring",
        BackendChoice::Tokio => "tokio",
        _ => "auto",
    }
}
