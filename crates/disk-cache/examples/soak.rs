//! A cache under a steady load of everything, or a stream through its writer as long as one likes: it tells what it holds, and
//! `cargo xtask soak` runs it and judges the samples.
//!
//! Every body is checked against its key; the first wrong one ends the program with an error. Under the load, the cache is closed
//! and opened again at each sample.
#![allow(clippy::print_stdout, reason = "a command line speaks on its standard streams")]

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use disk_cache::{
    BackendChoice, ByteSize, CacheKey, DiskCache, Expiry, GetOptions, InsertOptions, PurgeMode, PurgeScope,
    Stats,
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
    /// Instead of the load: one body of so many MiB, written in pieces and read back
    #[arg(long, value_name = "MIB")]
    stream: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    match args.stream {
        Some(mib) => stream(&args, mib).await,
        None => load(&args).await,
    }
}

/// Tells what this process holds, and what the cache said of itself.
fn sample(begun: Instant, done: u64, dir: &Path, stats: &Stats) {
    println!(
        "sample: {} {done} {} {} {} {} {} {}",
        begun.elapsed().as_secs(),
        count("/proc/self/fd"),
        count("/proc/self/task"),
        resident_kib(),
        disk_bytes(dir) >> 10,
        stats.entries,
        stats.backend,
    );
}

async fn load(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let ops = Arc::new(AtomicU64::new(0));
    for n in 1..=args.samples {
        let cache = open(args, ByteSize::mib(32)).await?;
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            let (cache, over, ops) = (cache.clone(), over.clone(), ops.clone());
            let seed = args.seed << 32 ^ n << 8 ^ task;
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
        let stats = cache.stats();
        cache.close().await?;
        // What it has open, and its threads, go with the last handle, within a moment.
        drop(cache);
        tokio::time::sleep(Duration::from_millis(200)).await;
        sample(begun, ops.load(Ordering::Relaxed), &args.dir, &stats);
    }
    Ok(())
}

/// One body, written, and read while it is written and after that.
async fn stream(args: &Args, mib: u64) -> Result<()> {
    let begun = Instant::now();
    // An entry may take half of it.
    let cache = open(args, ByteSize::mib(2 * mib + 64)).await?;
    let (key, piece) = (CacheKey::new("namespace", "stream"), body(1, 1 << 20));
    let mut writer = cache.writer(&key, InsertOptions::new()).await?;
    let mut along = writer.follow().reader();
    let following = tokio::spawn(async move {
        let mut len = 0;
        while let Some(piece) = along.next().await? {
            check(1, &piece)?;
            len += piece.len() as u64;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(len)
    });
    // Half of the samples while it is written, half while it is read.
    let every = (2 * mib / args.samples).max(1);
    for done in 1..=mib {
        writer.write(piece.clone()).await?;
        if done % every == 0 {
            sample(begun, done, &args.dir, &cache.stats());
        }
    }
    writer.commit().await?;
    let followed = following.await??;
    let Some(hit) = cache.get_with(&key, GetOptions::new()).await? else {
        return Err("what was committed is not there".into());
    };
    let (mut reader, mut len, mut told) = (hit.reader(), 0, mib);
    while let Some(piece) = reader.next().await? {
        check(1, &piece)?;
        len += piece.len() as u64;
        if mib + (len >> 20) >= told + every {
            told += every;
            sample(begun, told, &args.dir, &cache.stats());
        }
    }
    if (followed, len) != (mib << 20, mib << 20) {
        return Err(format!("{followed} and {len} bytes of {mib} MiB").into());
    }
    Ok(cache.close().await?)
}

async fn open(args: &Args, capacity: ByteSize) -> Result<DiskCache> {
    let choice = match args.backend {
        Backend::Auto => BackendChoice::Auto,
        Backend::IoUring => BackendChoice::IoUring,
        Backend::Tokio => BackendChoice::Tokio,
    };
    let builder = DiskCache::builder(&args.dir).capacity(capacity);
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

fn disk_bytes(dir: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // Else the cache has unlinked it since it was listed.
        if let Ok(of) = entry.metadata() {
            sum += if of.is_dir() { disk_bytes(&entry.path()) } else { of.len() };
        }
    }
    sum
}
