//! What entries take in memory: the index alone, and a whole process.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    finding::{Bound, Figure},
    measure::Measure,
    part::{self, Said},
    rows::reopen::option,
};
use std::time::Duration;

const INDEXED: usize = 10_000_000;
const STORED: usize = 1_000_000;
const MIB: f64 = (1 << 20) as f64;

/// Measures `memory`.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let indexed = if bench.options.quick { INDEXED / 10 } else { INDEXED };
    let index = || {
        let said = part::start(&["index", &indexed.to_string()])?;
        let bytes = (said.rss - said.rss_before) as f64 / indexed as f64;
        Ok(measure(&said).with_value("bytes each", bytes))
    };
    let bytes = Figure::Value("bytes each");
    let name = format!("{indexed} entries");
    let mut group = vec![Candidate::new("index-memory", name, index).within(bytes, Bound::AtMost(48.0))];
    for (choice, name) in bench.choices() {
        let dir = bench.path(format!("memory-{}", name.replace(": ", "-")));
        let fill = move || {
            let args = ["fill", &dir.display().to_string(), &STORED.to_string(), option(*choice), "clean"];
            let said = part::start(&args)?;
            std::fs::remove_dir_all(&dir)?;
            let note = format!("right after {STORED} inserts of 100 bytes, write buffers included");
            Ok(measure(&said).with_value("RSS MB", said.rss as f64 / 1e6).with_note(note))
        };
        group.push(
            Candidate::new("process-memory", name, fill)
                .within(Figure::Value("RSS MB"), Bound::AtMost(100.0)),
        );
    }
    compare(group, bench.options.rounds.min(3))
}

fn measure(said: &Said) -> Measure {
    let seconds = Duration::from_secs_f64(said.seconds);
    Measure::reported(said.entries as f64 / said.seconds, 0.0, 0.0, seconds)
        .with_note(format!("at most {:.0} MiB resident", said.peak as f64 / MIB))
}
