//! Inserts until all is on stable storage, beside the device's own sequential writes.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Figure, Outcome, compare},
    dataset::Dataset,
    device,
    filled::Insert,
    fio::{self, Job},
    measure::Measure,
    table,
};
use disk_cache::{BackendChoice, ByteSize};
use std::{
    fs,
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

/// Room for more than a round can write, so that nothing is reclaimed.
const CAPACITY: ByteSize = ByteSize::gib(16);

/// Measures `insert-synced`.
///
/// # Errors
/// Those of the writes.
pub fn run(bench: &Bench, data: &Arc<Dataset>) -> Result<Vec<Outcome>> {
    let device = || {
        bench.settle()?;
        device::sequential_writes(bench.dir(), bench.pace(false))
    };
    let mut group = vec![Candidate::new("direct-write", "4 threads, 1 MiB", device)];
    for (choice, name) in bench.choices() {
        let round = || inserts(bench, data, *choice);
        group.push(Candidate::new("insert-synced", name, round).against(0, Figure::Bytes));
    }
    let outcomes = compare(group, bench.options.rounds)?;
    if let Some((_, bytes)) = fio::run(Job::SequentialWrites, bench.dir(), bench.options.time())? {
        let mib = bytes / f64::from(1 << 20);
        table::line(&format!("fio says {mib:.0} MiB/s of sequential writes of 1 MiB, O_DIRECT, 4 in flight"));
    }
    Ok(outcomes)
}

fn inserts(bench: &Bench, data: &Arc<Dataset>, choice: BackendChoice) -> Result<Measure> {
    let dir = bench.path("inserts");
    let cache = bench.open(&dir, choice, CAPACITY)?;
    bench.settle()?;
    let next = Arc::new(AtomicUsize::new(0));
    let works = (0..bench.options.tasks)
        .map(|_| Insert { cache: cache.clone(), data: data.clone(), next: next.clone(), wrap: true })
        .collect();
    let begun = Instant::now();
    let mut acknowledged = 0.0;
    let measure = bench.client.drive(works, bench.pace(true), async {
        acknowledged = begun.elapsed().as_secs_f64();
        Ok(cache.flush().await?)
    })?;
    let stats = cache.stats();
    let per_body = stats.bytes_written as f64 / (stats.inserts as f64 * data.size() as f64);
    let measure = measure.with_note(format!(
        "{:.0}/s acknowledged; latencies are until then; {per_body:.3} bytes in the log per byte of a body",
        stats.inserts as f64 / acknowledged
    ));
    bench.close(&cache)?;
    drop(cache);
    fs::remove_dir_all(&dir)?;
    Ok(measure)
}
