//! Hits per request as a proxy sees them: zipf at several skews, with and without scans, sizes from a heavy-tailed distribution,
//! and with large bodies that take most of the bytes; beside simulated policies that have the same bytes and waste none of them.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::Pace,
    dataset::Dataset,
    finding::{Bound, Figure},
    lru,
    measure::Measure,
    rng::Rng,
    s3_fifo,
    store::{Draws, Opened},
    zipf,
};
use disk_cache::{ByteSize, SecondHit};
use std::{sync::Arc, time::Duration};

const SKEWS: [f64; 3] = [0.7, 0.9, 1.1];
/// Requests of a scan, each for another key that nobody else asks for.
const SCAN: usize = 500;
/// Requests between two scans: a fifth of all belong to scans.
const BETWEEN: usize = 4 * SCAN;
/// Shortest and longest body; Pareto with the exponent [`TAIL`] between them: a few large ones take much of the bytes.
const LEAST: f64 = 1024.0;
const LONGEST: f64 = 256.0 * 1024.0;
const TAIL: f64 = 1.2;
/// Of so many bodies one is large, of 1 MiB to [`LARGEST`].
const LARGE_OF: usize = 100;
const LARGEST: usize = 8 << 20;

/// Who asks, and for what.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// Bodies up to [`LONGEST`].
    Plain,
    /// A fifth of the requests are for what nobody asks for again.
    Scans,
    /// Some bodies are files.
    Large,
}

impl Load {
    fn row(self) -> &'static str {
        match self {
            Self::Plain => "hit-ratio",
            Self::Scans => "hit-ratio-scans",
            Self::Large => "hit-ratio-large",
        }
    }

    fn length(self, rng: &mut Rng) -> u32 {
        if self == Self::Large && rng.below(LARGE_OF) == 0 {
            return (1 << 20) + rng.below(LARGEST - (1 << 20)) as u32;
        }
        let length = (LEAST * (1.0 - rng.unit()).powf(-1.0 / TAIL)).min(LONGEST);
        #[expect(clippy::cast_sign_loss, reason = "it is at least the shortest")]
        let length = length as u32;
        length
    }
}

const RATIO: Figure = Figure::Value("hit ratio");

/// Measures `hit-ratio`.
///
/// # Errors
/// Those of the caches.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for load in [Load::Plain, Load::Scans] {
        for skew in SKEWS {
            outcomes.extend(compare_at(bench, skew, load)?);
        }
    }
    outcomes.extend(compare_at(bench, 0.9, Load::Large)?);
    Ok(outcomes)
}

fn compare_at(bench: &Bench, skew: f64, load: Load) -> Result<Vec<Outcome>> {
    let keys = (bench.options.entries / 2).max(10_000);
    let mut rng = Rng::new(11);
    let draws: Arc<[u32]> = requests(keys, skew, load, &mut rng).into();
    // Scans ask for more keys than there are, and the least popular of these may never be drawn.
    let most = draws.iter().max().map_or(keys, |&n| keys.max(n as usize + 1));
    let data = Arc::new(Dataset::of_lengths((0..most).map(|_| load.length(&mut rng)).collect()));
    let all: u64 = (0..keys).map(|n| data.len_of(n) as u64).sum();
    let capacity = (all / 4).max(32 << 20);
    let cost = |n: u32| data.len_of(n as usize) as u64;
    let row = load.row();
    let simulated = |ratio: f64| move || Ok(said(ratio));
    let mut group = vec![
        Candidate::new(row, "LRU, simulated", simulated(lru::hit_ratio_by(&draws, capacity, cost))),
        Candidate::new(row, "S3-FIFO, simulated", simulated(s3_fifo::hit_ratio_by(&draws, capacity, cost))),
    ];
    let (data, draws) = (&data, &draws);
    for peer in bench.peers().filter(|peer| peer.is_bounded()) {
        group.push(Candidate::new(row, peer.name(), move || {
            let mut cache = bench.start(peer, bench.path("hit-ratio"), capacity, data, draws)?;
            let measure = replay(draws.len(), |from, count, pace| cache.requests(from, Some(count), pace))?;
            cache.close()?;
            std::fs::remove_dir_all(bench.path("hit-ratio"))?;
            Ok(measure)
        }));
    }
    let peers = group.len();
    for admission in [false, true] {
        let name = if admission { "disk-cache, second hit" } else { "disk-cache" };
        let ours = move || {
            let choice = bench.choices()[0].0;
            let size = ByteSize::bytes_of(capacity);
            let mut builder =
                disk_cache::DiskCache::builder(bench.path("hit-ratio")).backend(choice).capacity(size);
            if admission {
                builder = builder.admission(Arc::new(SecondHit::new(keys)));
            }
            let cache = bench.client.block_on(builder.open())?;
            let measure = replay(draws.len(), |from, count, pace| {
                let draws = Draws { keys: draws.clone(), from, count: Some(count) };
                cache.requests(bench.crowd(data), &draws, pace)
            })?;
            bench.close(&cache)?;
            std::fs::remove_dir_all(bench.path("hit-ratio"))?;
            Ok(measure)
        };
        let mut candidate = Candidate::new(row, name, ours).against(0, RATIO).against(1, RATIO);
        for n in 2..peers {
            candidate = if admission {
                candidate.against(n, RATIO)
            } else {
                candidate.target(n, RATIO, Bound::AtLeast(1.0))
            };
        }
        group.push(candidate);
    }
    let group = group.into_iter().map(|candidate| candidate.at("skew", skew).shows(RATIO)).collect();
    compare(group, 1)
}

/// Warm-up with the first half, counted in the second, as in the simulations.
fn replay(draws: usize, mut requests: impl FnMut(usize, usize, Pace) -> Result<Measure>) -> Result<Measure> {
    let half = draws / 2;
    let pace = Pace { time: Duration::from_secs(60), sampled: true };
    requests(0, half, pace)?;
    requests(half, half, pace)
}

fn said(ratio: f64) -> Measure {
    Measure::reported(0.0, 0.0, 0.0, Duration::from_secs(1)).with_value("hit ratio", ratio)
}

/// Ten requests for each key; scans ask for keys of their own.
fn requests(keys: usize, skew: f64, load: Load, rng: &mut Rng) -> Vec<u32> {
    let draws = zipf::draw(keys, skew, keys * 10, rng);
    if load != Load::Scans {
        return draws;
    }
    let (mut mixed, mut next) = (Vec::new(), keys as u32);
    for part in draws.chunks(BETWEEN) {
        mixed.extend_from_slice(part);
        mixed.extend(next..next + SCAN as u32);
        next += SCAN as u32;
    }
    mixed
}
