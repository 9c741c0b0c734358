//! A cache under a steady load of everything, which tells what it holds: `cargo xtask soak` runs it and judges the samples.
//!
//! Every body is checked against its key; the first wrong one ends the program with an error. At each sample the cache is
//! closed and opened again.
#![allow(clippy::print_stdout, reason = "a command line speaks on its standard streams")]

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use disk_cache::{
    BackendChoice, ByteSize, CacheKey, DiskCache, Expiry, GetOptions, InsertOptions, PurgeMode, PurgeScope,
};
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TASKS: u64 = 8;
const KEYS: u64 = 3_000;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Auto,
    IoUring,
    Tokio,
}

/// A steady load, sampled.
#[derive(Debug, Parser)]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many samples
    #[arg(long, default_value_t = 30)]
    samples: u64,
    #[arg(long, value_enum, default_value = "auto")]
    backend: Backend,
    /// The cache's directory; it is made
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let begun = Instant::now();
    let ops = Arc::new(AtomicU64::new(0));
    for sample in 1..=args.samples {
        let cache = open(&args).await?;
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            let (cache, over, ops) = (cache.clone(), over.clone(), ops.clone());
            let seed = args.seed << 32 ^ sample << 8 ^ task;
            tasks.push(tokio::spawn(async move {
                let mut random = Random(seed);
                while !over.load(Ordering::Relaxed) {
                    step(&cache, &mut random).await?;
                    ops.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            }));
        }
        tokio::time::sleep(Duration::from_millis(args.seconds * 1000 / args.samples)).await;
        over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await??;
        }
        let (entries, backend) = (cache.stats().entries, cache.stats().backend);
        cache.close().await?;
        drop(cache);
        println!(
            "sample: {} {} {} {} {} {} {entries} {backend}",
            begun.elapsed().as_secs(),
            ops.load(Ordering::Relaxed),
            count("/proc/self/fd"),
            count("/proc/self/task"),
            resident_kib(),
            disk_bytes(&args.dir)? >> 10,
        );
    }
    Ok(())
}

async fn open(args: &Args) -> Result<DiskCache> {
    let choice = match args.backend {
        Backend::Auto => BackendChoice::Auto,
        Backend::IoUring => BackendChoice::IoUring,
        Backend::Tokio => BackendChoice::Tokio,
    };
    let builder = DiskCache::builder(&args.dir).capacity(ByteSize::mib(32)).segment_size(ByteSize::mib(1));
    Ok(builder.min_free_space(ByteSize::bytes_of(0)).backend(choice).open().await?)
}

/// One call; what it gives is checked.
async fn step(cache: &DiskCache, random: &mut Random) -> Result<()> {
    let n = random.below(KEYS).min(random.below(KEYS));
    let key = CacheKey::new(format!("namespace-{}", n % 4), format!("path-{n}"));
    match random.below(100) {
        0..=64 => {
            if let Some(hit) = cache.get_with(&key, GetOptions::new()).await? {
                check(n, &hit.bytes().await?)?;
            } else {
                let options = InsertOptions::new().meta("meta").tag(format!("tag-{}", n % 16));
                cache.insert_with(&key, body(n, length(random)), options).await?;
            }
        }
        65..=84 => drop(cache.insert(&key, body(n, length(random))).await?),
        85..=91 => {
            let whole = body(n, length(random));
            let mut writer = cache.writer(&key, InsertOptions::new()).await?;
            for piece in whole.chunks(30_000) {
                writer.write(whole.slice_ref(piece)).await?;
            }
            // One in three is dropped on its way.
            if random.below(3) > 0 {
                writer.commit().await?;
            }
        }
        92..=95 => drop(cache.remove(&key).await?),
        96..=98 => drop(cache.update_meta(&key, "another".into(), Expiry::Never).await?),
        _ if random.below(20) == 0 => {
            let scope = PurgeScope::Tag(format!("tag-{}", n % 16).into());
            cache.purge_with(scope, PurgeMode::Remove).await?;
        }
        _ => cache.flush().await?,
    }
    Ok(())
}

/// Mostly small, some of them in files of their own.
fn length(random: &mut Random) -> usize {
    let most = [2_000, 20_000, 400_000][[0, 0, 0, 0, 0, 1, 1, 1, 1, 2][random.below(10) as usize]];
    random.below(most) as usize
}

fn body(n: u64, len: usize) -> Bytes {
    n.to_le_bytes().iter().copied().cycle().take(len).collect::<Vec<_>>().into()
}

fn check(n: u64, bytes: &[u8]) -> Result<()> {
    let right = n.to_le_bytes();
    if bytes.chunks(8).all(|part| right.starts_with(part)) {
        Ok(())
    } else {
        Err(format!("key {n} gave other bytes").into())
    }
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Entries of a directory; none where the platform has no such directory.
fn count(of: &str) -> usize {
    fs::read_dir(of).map_or(0, Iterator::count)
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let of = entry.metadata()?;
        sum += if of.is_dir() { disk_bytes(&entry.path())? } else { of.len() };
    }
    Ok(sum)
}
