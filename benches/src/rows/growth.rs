//! What an operation costs as the cache grows.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::Pace,
    dataset::Dataset,
    filled::Insert,
    part,
    rng::Rng,
    rows::{
        get_or_insert::{self, EXPONENT},
        warm,
    },
    zipf,
};
use disk_cache::{BackendChoice, ByteSize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const BODY: usize = 100;

/// Measures `growth`: bodies of 100 bytes, so that it is the number that grows.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let Some((choice, name)) = bench.choices().first() else { return Ok(Vec::new()) };
    let mut outcomes = Vec::new();
    let mut entries = 10_000;
    while entries <= bench.options.many {
        let data = Arc::new(Dataset::new(entries, BODY));
        let dir = bench.path("growth");
        let cache = bench.open(&dir, *choice, part::capacity(entries))?;
        let next = Arc::new(AtomicUsize::new(0));
        let fill = || {
            next.store(0, Ordering::Relaxed);
            let work =
                |_| Insert { cache: cache.clone(), data: data.clone(), next: next.clone(), wrap: false };
            let works: Vec<_> = (0..bench.options.tasks).map(work).collect();
            let pace = Pace { time: Duration::from_secs(3600), sampled: true };
            bench.client.drive(works, pace, async { Ok(cache.flush().await?) })
        };
        let fills = vec![Candidate::new("growth-insert", name, fill).at("entries", entries as f64)];
        outcomes.extend(compare(fills, 1)?);
        let gets = || {
            let works = warm::works(bench.options.tasks, &data, &cache, None);
            bench.client.drive(works, bench.pace(true), async { Ok(()) })
        };
        let gets = vec![Candidate::new("growth-get", name, gets).at("entries", entries as f64)];
        outcomes.extend(compare(gets, bench.options.rounds.min(3))?);
        bench.close(&cache)?;
        drop(cache);
        std::fs::remove_dir_all(dir)?;
        outcomes.extend(turnover(bench, *choice, name, entries)?);
        entries *= 10;
    }
    Ok(outcomes)
}

/// A full cache at work, with room for half of the keys that are asked for: what reclaim costs as there are more entries.
fn turnover(bench: &Bench, choice: BackendChoice, name: &str, entries: usize) -> Result<Vec<Outcome>> {
    let data = Arc::new(Dataset::new(2 * entries, BODY));
    let capacity = get_or_insert::capacity(&data);
    if !get_or_insert::is_half(&data) {
        return Ok(Vec::new());
    }
    let draws: Arc<[u32]> = zipf::draw(data.entries(), EXPONENT, data.entries() * 4, &mut Rng::new(7)).into();
    let dir = bench.path("growth-turnover");
    let cache = bench.open(&dir, choice, ByteSize::bytes_of(capacity))?;
    // Until it is full, and more.
    get_or_insert::warm_up(bench, &data, &cache, &draws, data.entries() * 3)?;
    let mut round = 0;
    let requests = || {
        round += 1;
        let works = get_or_insert::works(bench.options.tasks, &data, &cache, &draws, round, None);
        bench.client.drive(works, bench.pace(true), async { Ok(()) })
    };
    let requests = vec![Candidate::new("growth-get-or-insert", name, requests).at("entries", entries as f64)];
    let outcomes = compare(requests, bench.options.rounds.min(3))?;
    bench.close(&cache)?;
    drop(cache);
    std::fs::remove_dir_all(dir)?;
    Ok(outcomes)
}
