//! Gets past the page cache through both backends: every one is a read of the device. On a device that is faster than the
//! processor (`--dir`) it shows what the backends themselves allow.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    dataset::Dataset,
    filled::{Filled, Reads},
    finding::{Bound, Figure},
    rows::warm,
};
use std::sync::Arc;

const REST_OF_A_GET: &str = "what a get costs beside its read, and the task that asks, are the same over both backends: \
    `trait-direct` has the reads alone (`cargo xtask bench backends`)";

/// Measures `direct-get`.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench, data: &Arc<Dataset>) -> Result<Vec<Outcome>> {
    let filled = Filled::all(bench, data, Reads::PastPageCache)?;
    let pool = filled.iter().position(|other| other.name == "tokio, direct");
    let mut group = Vec::new();
    for filled in &filled {
        let gets = || {
            let works = warm::works(bench.options.tasks, data, &filled.cache, None);
            bench.client.drive(works, bench.pace(false), async { Ok(()) })
        };
        let mut candidate = Candidate::new("direct-get", &filled.name, gets);
        if let (Some(pool), "io-uring, direct") = (pool, filled.name.as_str()) {
            candidate = candidate
                .target(pool, Figure::Cpu, Bound::AtMost(0.34))
                .because(REST_OF_A_GET)
                .against(pool, Figure::Hits)
                .against(pool, Figure::P99);
        }
        group.push(candidate);
    }
    let outcomes = compare(group, bench.options.rounds)?;
    filled.into_iter().try_for_each(|filled| filled.remove(bench))?;
    Ok(outcomes)
}
