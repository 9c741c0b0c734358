//! Inserts until all is on stable storage, beside the device's own sequential writes.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    dataset::Dataset,
    device,
    filled::Insert,
    finding::{Bound, Figure},
    fio::{self, Job},
    measure::Measure,
    store::Peer,
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

const TWO_PROCESSORS: &str = "an insert is a digest, a checksum, a copy into the write buffer, the kernel's copy from there into the page \
     cache and its write-back, and the callers run on the same processors: their number divided by `CPU us` of the row is the most \
     inserts that there can be here, and what is measured is close to it (`cargo xtask bench insert-synced`)";

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
    if fio::found() {
        let writes = || {
            bench.settle()?;
            fio::run(Job::SequentialWrites, bench.dir(), bench.options.time())
        };
        group.push(Candidate::new("fio", "sequential, 1 MiB", writes));
    } else {
        table::line("SKIPPED: fio is not installed; plain threads are the reference");
    }
    let device = group.len() - 1;
    for peer in bench.peers() {
        group.push(Candidate::new("insert", peer.name(), move || inserts_of(bench, data, peer)));
    }
    for (choice, name) in bench.choices() {
        let round = || inserts(bench, data, *choice);
        let mut candidate = Candidate::new("insert-synced", name, round)
            .target(device, Figure::Bytes, Bound::AtLeast(0.6))
            .because(TWO_PROCESSORS)
            .against(0, Figure::Bytes);
        for (n, peer) in bench.peers().enumerate() {
            let peer_at = device + 1 + n;
            candidate = if peer.name().starts_with("foyer") {
                candidate.target(peer_at, Figure::Hits, Bound::AtLeast(4.0)).because(TWO_PROCESSORS)
            } else {
                candidate.against(peer_at, Figure::Hits)
            };
        }
        group.push(candidate);
    }
    compare(group, bench.options.rounds)
}

fn inserts_of(bench: &Bench, data: &Arc<Dataset>, peer: &dyn Peer) -> Result<Measure> {
    let dir = bench.path("peer-inserts");
    let mut opened = bench.start(peer, dir.clone(), 6 << 30, data, &[])?;
    bench.settle()?;
    let measure = opened.inserts(bench.pace(true))?;
    opened.close()?;
    fs::remove_dir_all(&dir)?;
    Ok(measure)
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
