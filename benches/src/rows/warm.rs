//! Gets from the page cache, beside the bare loop.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Figure, Outcome, compare},
    client::Work,
    dataset::Dataset,
    filled::Filled,
    measure::{Done, Measure},
    options::Row,
    rng::Rng,
};
use disk_cache::{CacheKey, DiskCache};
use std::sync::Arc;

/// Measures `bare` and `warm-get`.
///
/// # Errors
/// Those of the reads.
pub fn run(bench: &Bench, data: &Arc<Dataset>, filled: &[Filled]) -> Result<Vec<Outcome>> {
    let keys: Arc<[CacheKey]> = (0..data.entries())
        .map(|n| {
            let key = data.key(n);
            key.digest();
            key
        })
        .collect();
    let Some(first) = filled.first() else { return Ok(Vec::new()) };
    let mut group = vec![Candidate::new("bare", "2 threads", || first.records.read_bare(bench.pace(true)))];
    if bench.options.wants(Row::WarmGet) {
        for filled in filled {
            for keep in [false, true] {
                let keys = keep.then(|| keys.clone());
                let variant = format!("{}{}", filled.name, if keep { ", keys kept" } else { "" });
                let round = move || gets(bench, data, &filled.cache, keys.as_ref());
                group.push(
                    Candidate::new("warm-get", variant, round)
                        .against(0, Figure::Hits)
                        .against(0, Figure::Cpu),
                );
            }
        }
    }
    compare(group, bench.options.rounds)
}

fn gets(
    bench: &Bench,
    data: &Arc<Dataset>,
    cache: &DiskCache,
    keys: Option<&Arc<[CacheKey]>>,
) -> Result<Measure> {
    bench.client.drive(works(bench.options.tasks, data, cache, keys), bench.pace(true), async { Ok(()) })
}

/// Tasks that get keys at random; with `keys`, whose digests are known, else each get makes its key.
pub fn works(
    tasks: usize,
    data: &Arc<Dataset>,
    cache: &DiskCache,
    keys: Option<&Arc<[CacheKey]>>,
) -> Vec<Get> {
    let work =
        |task| Get { cache: cache.clone(), data: data.clone(), keys: keys.cloned(), rng: Rng::new(task) };
    (0..tasks as u64).map(work).collect()
}

/// Gets keys at random.
#[derive(Debug)]
pub struct Get {
    cache: DiskCache,
    data: Arc<Dataset>,
    keys: Option<Arc<[CacheKey]>>,
    rng: Rng,
}

impl Work for Get {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.rng.below(self.data.entries());
        let found = match &self.keys {
            Some(keys) => self.cache.get(&keys[n]).await?,
            None => self.cache.get(&self.data.key(n)).await?,
        };
        let Some(found) = found else { return Ok(Some(Done { hit: false, bytes: 0 })) };
        let body = found.bytes().await?;
        Ok(Some(Done { hit: self.data.is_body(n, &body), bytes: body.len() as u64 }))
    }
}
