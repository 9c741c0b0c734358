//! Gets from the page cache, beside the bare loop.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::Work,
    dataset::Dataset,
    filled::Filled,
    finding::{Bound, Figure},
    measure::{Done, Measure},
    options::Row,
    peer_process::PeerProcess,
    rng::Rng,
};
use disk_cache::{CacheKey, DiskCache};
use std::sync::Arc;

const MORE_THAN_A_READ: &str = "the bare loop asks the kernel for known places, into one buffer. A get makes its key's digest (not \
     where keys are kept), looks the entry up under its shard's lock, notes the use, takes memory for the body and compares its \
     checksum besides: the column `CPU us` has what both take, and `cargo xtask bench --check` counts a get's instructions and \
     allocations";

const SAME_COPY: &str = "both take each body out of the page cache by one copy of the kernel's: the bare loop does nothing else and \
     stands beside foyer below the row's table, so that this is the most there can be (`cargo xtask bench warm-get`)";

const SAME_FAST_PATH: &str = "what the page cache has is read on the caller's thread by `preadv2(RWF_NOWAIT)`, over both backends \
     alike: no ring and no thread pool is as fast. Where the read does go to a backend, a ring is ahead by as much as is asked \
     (`trait-cached`, `cargo xtask bench backends`), and past the page cache it takes a third of the processor \
     (`cargo xtask bench direct-get`)";

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
    let mut peers = if bench.options.wants(Row::WarmGet) { filled_peers(bench, data)? } else { Vec::new() };
    let names: Vec<_> = peers.iter().map(|(peer, _)| peer.name().to_owned()).collect();
    let mut bare = Candidate::new("bare", "2 threads", || first.records.read_bare(bench.pace(true)));
    if let Some(foyer) = names.iter().position(|name| name == "foyer io_uring") {
        bare = bare.against(foyer + 1, Figure::Hits);
    }
    let mut group = vec![bare];
    // Each backend has two candidates, behind the peers.
    let pool = filled.iter().position(|other| other.name == "tokio").map(|n| 1 + names.len() + 2 * n);
    for ((peer, kept), name) in peers.iter_mut().zip(&names) {
        let share = 100.0 * *kept as f64 / data.entries() as f64;
        group.push(Candidate::new("warm-get", name, move || {
            let measure = peer.gets(bench.pace(true))?;
            Ok(measure.with_note(format!("{share:.1} % of the entries are there; only hits count")))
        }));
    }
    if bench.options.wants(Row::WarmGet) {
        for filled in filled {
            for keep in [false, true] {
                let keys = keep.then(|| keys.clone());
                let variant = format!("{}{}", filled.name, if keep { ", keys kept" } else { "" });
                let round = move || gets(bench, data, &filled.cache, keys.as_ref());
                let mut candidate = Candidate::new("warm-get", variant, round)
                    .target(0, Figure::Hits, Bound::AtLeast(0.7))
                    .because(MORE_THAN_A_READ)
                    .within(Figure::P99, Bound::AtMost(20.0))
                    .against(0, Figure::Cpu);
                if !keep {
                    for (n, name) in names.iter().enumerate() {
                        candidate = match name.as_str() {
                            "foyer io_uring" => {
                                candidate.target(n + 1, Figure::Hits, Bound::AtLeast(2.5)).because(SAME_COPY)
                            }
                            _ => candidate.against(n + 1, Figure::Hits),
                        };
                    }
                    if let (Some(pool), "io-uring") = (pool, filled.name.as_str()) {
                        candidate =
                            candidate.target(pool, Figure::Hits, Bound::AtLeast(3.0)).because(SAME_FAST_PATH);
                    }
                }
                group.push(candidate);
            }
        }
    }
    let outcomes = compare(group, bench.options.rounds)?;
    peers.into_iter().try_for_each(|(peer, _)| peer.close())?;
    Ok(outcomes)
}

/// Each peer with the whole dataset in it, or as much as it kept.
fn filled_peers(bench: &Bench, data: &Arc<Dataset>) -> Result<Vec<(PeerProcess, usize)>> {
    let mut peers = Vec::new();
    for peer in bench.peers() {
        let dir = bench.path(format!("peer-{}", peers.len()));
        // Room for entries that take twice their size.
        let capacity = (data.entries() * (data.size() * 2 + 8192)) as u64 + (256 << 20);
        let mut opened = bench.start(peer, dir, capacity, data, &[])?;
        let kept = opened.fill()?;
        peers.push((opened, kept));
    }
    Ok(peers)
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
