//! Gets with the page cache dropped, beside the device's own random reads.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::Work,
    dataset::Dataset,
    device,
    filled::{Filled, Reads},
    finding::{Bound, Figure},
    fio::{self, Job},
    measure::{Done, Measure, device_reads},
    rng::Rng,
    table,
};
use disk_cache::{BackendKind, DiskCache};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Measures `cold-get`.
///
/// # Errors
/// Those of the reads.
pub fn run(bench: &Bench, data: &Arc<Dataset>, filled: &[Filled]) -> Result<Vec<Outcome>> {
    let Some(first) = filled.first() else { return Ok(Vec::new()) };
    // The same past the page cache: nothing of it stays in memory.
    let past = Filled::all(bench, data, Reads::PastPageCache)?;
    let tasks = bench.options.tasks;
    let direct = || device::random_reads(&first.records, tasks, bench.pace(false));
    let mut group = vec![Candidate::new("direct-read", format!("{tasks} threads, 4 KiB"), direct)];
    let (mut device, mut of_records) = (0, None);
    if fio::found() {
        for kib in [4, 8] {
            let job = Job::RandomReads { kib, depth: tasks };
            let reads = move || fio::run(job, bench.dir(), bench.options.time());
            group.push(Candidate::new("fio", format!("random {kib} KiB, {tasks} in flight"), reads));
        }
        (device, of_records) = (1, Some(2));
    } else {
        table::line("SKIPPED: fio is not installed; plain threads are the reference");
    }
    for filled in filled.iter().chain(&past) {
        let mut round = 0;
        let gets = move || {
            round += 1;
            gets(bench, data, filled, round)
        };
        let mut candidate = Candidate::new("cold-get", &filled.name, gets)
            .target(device, Figure::Hits, Bound::AtLeast(0.95))
            .because(TWO_BLOCKS)
            .against(0, Figure::Hits);
        if let Some(of_records) = of_records {
            candidate = candidate.against(of_records, Figure::Hits).against(of_records, Figure::Cpu);
        }
        let (hits, p95) = floor(&filled.cache);
        group.push(candidate.within(Figure::Hits, hits).within(Figure::P95, p95));
    }
    let outcomes = compare(group, bench.options.rounds)?;
    past.into_iter().try_for_each(|filled| filled.remove(bench))?;
    Ok(outcomes)
}

const TWO_BLOCKS: &str = "the target is the device's rate for one block of 4 KiB, and the record of a body of 4 KiB, with its header \
    and key, lies in two and now and then in three (the notes of the row count them, and the bytes read for a get), so that `fio \
    random 8 KiB` in the same row is the device's rate for a get. Between that and ours stands the processor: fio's time for a read \
    and ours for a get are in the column `CPU us`, and two cores divided by ours are the most gets that there can be \
    (`cargo xtask bench cold-get`)";

/// What was asked for before anything was measured: so many operations of 4 KiB per second, and how soon.
pub fn floor(cache: &DiskCache) -> (Bound, Bound) {
    match cache.stats().backend {
        BackendKind::IoUring => (Bound::AtLeast(20_000.0), Bound::AtMost(5000.0)),
        _ => (Bound::AtLeast(8000.0), Bound::AtMost(10_000.0)),
    }
}

fn gets(bench: &Bench, data: &Arc<Dataset>, filled: &Filled, round: u64) -> Result<Measure> {
    let how = filled.records.drop_caches()?;
    let works = works(bench.options.tasks, data, &filled.cache, round);
    let (before, read) = (filled.cache.stats(), device_reads());
    let measure = bench.client.drive(works, bench.pace(false), async { Ok(()) })?;
    let (after, read) = (filled.cache.stats(), device_reads() - read);
    let fast = after.fast_reads - before.fast_reads;
    let ring = after.ring_reads - before.ring_reads;
    let gets = (after.hits - before.hits).max(1) as f64;
    Ok(measure.with_note(format!(
        "{how}; a record lies in {:.2} blocks of 4 KiB; {:.0} % of the gets found their pages beside a neighbour's, {:.2} \
         ring reads and {:.1} KiB from the device a get; {:.0} % of the records are in the page cache afterwards",
        filled.records.blocks_each(),
        fast as f64 / gets * 100.0,
        ring as f64 / gets,
        read as f64 / 1024.0 / gets,
        filled.records.cached_share(1000 + round)? * 100.0,
    )))
}

/// How many gets there are in a cold cache: the more of it has been read, the more of the rest lies in pages beside it, and
/// the more of it the kernel reads ahead.
pub fn cold_gets(data: &Dataset) -> usize {
    data.entries() / 4
}

/// Tasks that get keys in a random order, each once, since a second get would be warm, and only [`cold_gets`] of them.
pub fn works(tasks: usize, data: &Arc<Dataset>, cache: &DiskCache, round: u64) -> Vec<Get> {
    let mut order = Rng::new(round).permutation(data.entries());
    order.truncate(cold_gets(data));
    let (order, next): (Arc<[u32]>, _) = (order.into(), Arc::new(AtomicUsize::new(0)));
    let work = |_| Get { cache: cache.clone(), data: data.clone(), order: order.clone(), next: next.clone() };
    (0..tasks).map(work).collect()
}

/// Gets keys in an order that several tasks share.
#[derive(Debug)]
pub struct Get {
    cache: DiskCache,
    data: Arc<Dataset>,
    order: Arc<[u32]>,
    next: Arc<AtomicUsize>,
}

impl Work for Get {
    async fn step(&mut self) -> Result<Option<Done>> {
        let Some(&n) = self.order.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok(None) };
        let n = n as usize;
        let Some(found) = self.cache.get(&self.data.key(n)).await? else {
            return Ok(Some(Done { hit: false, bytes: 0 }));
        };
        let body = found.bytes().await?;
        Ok(Some(Done { hit: self.data.is_body(n, &body), bytes: body.len() as u64 }))
    }
}
