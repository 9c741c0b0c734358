//! What admission by the second hit does on a zipf trace: how often the cache hits, and how much it writes.
//!
//! `cargo run --release --example admission -- [accesses]` replays the same trace twice, without a policy and with one, in a
//! temporary directory: keys drawn by zipf 0.9 from ten times as many as the cache holds, 4 KiB each, fetched on a miss.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use bytes::Bytes;
use disk_cache::{Admission, ByteSize, CacheKey, DiskCache, SecondHit};
use std::{error::Error, sync::Arc};

const CAPACITY: ByteSize = ByteSize::mib(64);
const BODY: usize = 4096;
const SKEW: f64 = 0.9;

/// A small generator with a fixed seed: both runs see the same trace.
struct Random(u64);

impl Random {
    /// The next number from 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How likely each key and those before it are together.
fn zipf(keys: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let mut all: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-SKEW);
            sum
        })
        .collect();
    for chance in &mut all {
        *chance /= sum;
    }
    all
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let accesses: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let held = CAPACITY.bytes() as usize / (BODY + 200);
    let chances = zipf(10 * held);
    println!(
        "{accesses} accesses, zipf {SKEW} over {} keys of {BODY} bytes, capacity {CAPACITY}",
        chances.len()
    );
    println!("{:<12} {:>10} {:>14} {:>14}", "admission", "hit ratio", "MiB written", "not admitted");
    for policy in [None, Some(Arc::new(SecondHit::new(held)))] {
        let name = if policy.is_some() { "second hit" } else { "all" };
        let dir = tempfile::tempdir()?;
        let mut builder = DiskCache::builder(dir.path().join("cache"))
            .capacity(CAPACITY)
            .min_free_space(ByteSize::default());
        if let Some(policy) = policy {
            builder = builder.admission(policy as Arc<dyn Admission>);
        }
        let cache = builder.open().await?;
        let (mut random, mut hits) = (Random(0x9e37_79b9_7f4a_7c15), 0);
        let body = Bytes::from(vec![7; BODY]);
        for _ in 0..accesses {
            let drawn = random.next();
            let key = CacheKey::from(format!("{}", chances.partition_point(|p| *p < drawn)));
            if cache.get(&key).await?.is_some() {
                hits += 1;
            } else {
                cache.insert(&key, body.clone()).await?;
            }
        }
        cache.flush().await?;
        let stats = cache.stats();
        let ratio = f64::from(hits) / accesses as f64;
        let written = stats.bytes_written >> 20;
        println!("{name:<12} {ratio:>10.3} {written:>14} {:>14}", stats.not_admitted);
        cache.close().await?;
    }
    Ok(())
}
