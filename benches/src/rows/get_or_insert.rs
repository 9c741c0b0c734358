//! A cache at work: popular and unpopular keys, room for half of them, an insert after every miss.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::{Pace, Work},
    dataset::Dataset,
    finding::{Bound, Figure},
    lru,
    measure::{Done, Measure},
    peer_process::PeerProcess,
    rng::Rng,
    rows::cold::floor,
    zipf,
};
use disk_cache::{ByteSize, DiskCache};
use std::{sync::Arc, time::Duration};

/// How much more popular the popular keys are.
pub const EXPONENT: f64 = 0.9;
/// Bytes of a record beside its body: header, key, padding.
const OVERHEAD: usize = 112 + 57;
/// A cache has at least eight segments of at least 1 MiB each, and should have many more than that.
const LEAST_CAPACITY: u64 = 24 << 20;

const SURVIVORS: &str = "inserts wait for reclaim, which takes one segment after another and moves what is still used of it (the notes \
     have the share of moved bytes): a hit takes microseconds, an insert the milliseconds of p99, and the processors are not busy \
     all the time (requests/s times `CPU us`). foyer's io_uring engine moves nothing, keeps less of what is asked for, as its hit \
     ratio says, and answers its misses from memory (`cargo xtask bench get-or-insert`)";

const ROOM_OF_A_LOG: &str = "reclaim keeps room for the segments it empties, and gives up the least used survivors of a segment where \
     moving them would pass the bound on write amplification: the notes have how many, and what an exact LRU of the whole capacity \
     would hit. foyer's psync engine answers fewer requests, so that its entries are older when they are asked for again, and its \
     ratio differs from round to round (`cargo xtask bench get-or-insert`)";

/// Measures `get-or-insert`.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench, data: &Arc<Dataset>) -> Result<Vec<Outcome>> {
    let keys = data.entries();
    let draws: Arc<[u32]> = zipf::draw(keys, EXPONENT, keys * 16, &mut Rng::new(7)).into();
    let record = record_len(data);
    let capacity = capacity(data);
    let reference = lru::hit_ratio(&draws, usize::try_from(capacity)? / record);
    let mut caches = Vec::new();
    for (choice, name) in bench.choices() {
        let dir = bench.path(format!("get-or-insert-{}", name.replace(": ", "-")));
        let cache = bench.open(&dir, *choice, ByteSize::bytes_of(capacity))?;
        // Until the cache has turned over about twice.
        warm_up(bench, data, &cache, &draws, data.entries() * 8)?;
        caches.push((cache, name, dir));
    }
    let mut peers = peers(bench, data, capacity, &draws)?;
    let named: Vec<_> = peers.iter().map(|peer| (peer.name().to_owned(), peer.is_bounded())).collect();
    let mut group = Vec::new();
    for (peer, (name, _)) in peers.iter_mut().zip(&named) {
        let (mut round, draws) = (0, draws.len());
        group.push(Candidate::new("get-or-insert", name, move || {
            round += 1;
            bench.settle()?;
            peer.requests(round * 7919 % draws, None, bench.pace(true))
        }));
    }
    for (cache, name, _) in &caches {
        let mut round = 0;
        let (data, draws) = (data.clone(), draws.clone());
        let mut candidate = Candidate::new("get-or-insert", *name, move || {
            round += 1;
            round_of(bench, &data, cache, &draws, round, reference)
        });
        for (n, (name, bounded)) in named.iter().enumerate() {
            candidate = if name.starts_with("foyer") {
                candidate
                    .target(n, OPS, Bound::AtLeast(1.0))
                    .because(SURVIVORS)
                    .target(n, RATIO, Bound::AtLeast(1.0))
                    .because(ROOM_OF_A_LOG)
            } else if *bounded {
                candidate.against(n, OPS).against(n, RATIO)
            } else {
                candidate.against(n, OPS)
            };
        }
        let (least, p95) = floor(cache);
        group.push(candidate.within(OPS, least).within(Figure::P95, p95));
    }
    let outcomes = compare(group, bench.options.rounds)?;
    peers.into_iter().try_for_each(PeerProcess::close)?;
    for (cache, _, dir) in caches {
        bench.close(&cache)?;
        std::fs::remove_dir_all(dir)?;
    }
    Ok(outcomes)
}

const OPS: Figure = Figure::Value("requests/s");
const RATIO: Figure = Figure::Value("hit ratio");

/// Each peer with the same capacity, turned over about twice.
fn peers(bench: &Bench, data: &Arc<Dataset>, capacity: u64, draws: &[u32]) -> Result<Vec<PeerProcess>> {
    let mut peers = Vec::new();
    for peer in bench.peers() {
        let dir = bench.path(format!("get-or-insert-peer-{}", peers.len()));
        let mut opened = bench.start(peer, dir, capacity, data, draws)?;
        let pace = Pace { time: Duration::from_secs(20), sampled: true };
        opened.requests(0, Some(data.entries() * 8), pace)?;
        peers.push(opened);
    }
    Ok(peers)
}

/// Room for half of the keys, in bytes, and at least as much as a cache wants.
pub fn capacity(data: &Dataset) -> u64 {
    half(data).max(LEAST_CAPACITY)
}

/// Whether [`capacity`] is half, and no more than that.
pub fn is_half(data: &Dataset) -> bool {
    half(data) >= LEAST_CAPACITY
}

fn half(data: &Dataset) -> u64 {
    (data.entries() * record_len(data) / 2) as u64
}

fn record_len(data: &Dataset) -> usize {
    (data.size() + OVERHEAD).next_multiple_of(8)
}

/// So many requests to begin with.
///
/// # Errors
/// Those of the cache.
pub fn warm_up(
    bench: &Bench,
    data: &Arc<Dataset>,
    cache: &DiskCache,
    draws: &Arc<[u32]>,
    requests: usize,
) -> Result<()> {
    let pace = Pace { time: Duration::from_secs(3600), sampled: true };
    let left = requests / bench.options.tasks;
    bench
        .client
        .drive(works(bench.options.tasks, data, cache, draws, 0, Some(left)), pace, async { Ok(()) })?;
    Ok(())
}

/// Tasks that draw keys, get them, and insert those that are missing; `left` times each, or for ever.
pub fn works(
    tasks: usize,
    data: &Arc<Dataset>,
    cache: &DiskCache,
    draws: &Arc<[u32]>,
    round: usize,
    left: Option<usize>,
) -> Vec<GetOrInsert> {
    (0..tasks)
        .map(|task| GetOrInsert {
            cache: cache.clone(),
            data: data.clone(),
            draws: draws.clone(),
            // Tasks and rounds are spread over the draws.
            at: (task * draws.len() / tasks + round * 7919) % draws.len(),
            left,
        })
        .collect()
}

fn round_of(
    bench: &Bench,
    data: &Arc<Dataset>,
    cache: &DiskCache,
    draws: &Arc<[u32]>,
    round: usize,
    reference: f64,
) -> Result<Measure> {
    bench.settle()?;
    let before = cache.stats();
    let measure = bench.client.drive(
        works(bench.options.tasks, data, cache, draws, round, None),
        bench.pace(true),
        async { Ok(()) },
    )?;
    let after = cache.stats();
    let moved = after.bytes_relocated - before.bytes_relocated;
    let written = (after.bytes_written - before.bytes_written).max(1);
    let note = format!(
        "hit ratio {:.3}, of an exact LRU of the whole capacity {reference:.3}; {} evicted, {} of them early; {:.2} of the \
         bytes written were moved",
        measure.hit_ratio(),
        after.evictions - before.evictions,
        after.early_evictions - before.early_evictions,
        moved as f64 / written as f64,
    );
    let (ratio, ops) = (measure.hit_ratio(), measure.ops_per_s());
    Ok(measure.with_note(note).with_value("hit ratio", ratio).with_value("requests/s", ops))
}

/// Gets a key, and inserts it after a miss.
#[derive(Debug)]
pub struct GetOrInsert {
    cache: DiskCache,
    data: Arc<Dataset>,
    draws: Arc<[u32]>,
    at: usize,
    left: Option<usize>,
}

impl Work for GetOrInsert {
    async fn step(&mut self) -> Result<Option<Done>> {
        match &mut self.left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None => {}
        }
        let n = self.draws[self.at] as usize;
        self.at = (self.at + 1) % self.draws.len();
        let key = self.data.key(n);
        if let Some(found) = self.cache.get(&key).await? {
            let body = found.bytes().await?;
            if !self.data.is_body(n, &body) {
                return Err("a get gave the wrong bytes".into());
            }
            return Ok(Some(Done { hit: true, bytes: body.len() as u64 }));
        }
        self.cache.insert(&key, self.data.body(n)).await?;
        Ok(Some(Done { hit: false, bytes: self.data.size() as u64 }))
    }
}
