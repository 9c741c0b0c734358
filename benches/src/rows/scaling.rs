//! From one task to many, on the same workers.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    dataset::Dataset,
    filled::Filled,
    rows::{cold, warm},
};
use std::sync::Arc;

const TASKS: [usize; 5] = [1, 4, 16, 64, 256];

/// Measures `scaling`: warm and cold gets.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench, data: &Arc<Dataset>, filled: &[Filled]) -> Result<Vec<Outcome>> {
    let mut group = Vec::new();
    for tasks in TASKS {
        for Filled { cache, records, name, .. } in filled {
            let warm = move || {
                // The cold gets that went before left the files out of memory.
                records.warm()?;
                bench.client.drive(warm::works(tasks, data, cache, None), bench.pace(true), async { Ok(()) })
            };
            group.push(Candidate::new("scaling-warm", name, warm).at("tasks", tasks as f64));
            let mut round = tasks as u64;
            let cold = move || {
                round += 1;
                records.drop_caches()?;
                let works = cold::works(tasks, data, cache, round);
                bench.client.drive(works, bench.pace(false), async { Ok(()) })
            };
            group.push(Candidate::new("scaling-cold", name, cold).at("tasks", tasks as f64));
        }
    }
    compare(group, bench.options.rounds.min(3))
}
