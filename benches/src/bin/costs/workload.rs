//! The workloads: each prepares a cache, then counts so many operations of one kind.
#![expect(clippy::print_stdout, reason = "the counts are what the program is for")]

use crate::{
    counting::Counting,
    rig::{Counts, Rig},
};
use benches::{Result, dataset::Dataset, rng::Rng, rows::get_or_insert::EXPONENT, zipf};
use cache_store::Engine;
use clap::ValueEnum;
use disk_cache::{ByteSize, Cache, CacheKey};
use std::{fs, path::Path};

const SMALL: usize = 4 << 10;
const LARGE: usize = 4 << 20;
const ENTRIES: usize = 4000;
const ROOMY: ByteSize = ByteSize::mib(256);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Gets of 4 KiB from the page cache, each making its key
    Get,
    /// The same with keys whose digests are known
    GetKeptKey,
    /// Gets of what is not there
    GetMiss,
    /// Gets of 4 KiB that are not written yet
    GetUnwritten,
    /// Gets of 4 MiB from the page cache
    GetLarge,
    /// Inserts of 4 KiB, and one flush
    Insert,
    /// Inserts of 4 MiB, and one flush
    InsertLarge,
    /// Gets, and an insert after each miss, zipf 0.9, in a full cache
    GetOrInsert,
    /// Removals that are acknowledged at once
    Remove,
    /// Opening after a clean close, for each entry
    OpenClean,
    /// Opening what a killed process left, for each entry
    OpenKilled,
}

impl Workload {
    /// Whether it waits for the threads that wait for the device.
    pub(crate) fn uses_the_pool(self) -> bool {
        !matches!(self, Self::Get | Self::GetKeptKey | Self::GetMiss | Self::GetUnwritten | Self::Remove)
    }
}

/// Runs one and prints its counts as JSON.
///
/// # Errors
/// Those of the cache.
pub(crate) fn run(workload: Workload) -> Result<()> {
    let rig = Rig::new()?;
    let counts = match workload {
        Workload::Get => get(&rig, false),
        Workload::GetKeptKey => get(&rig, true),
        Workload::GetMiss => get_miss(&rig),
        Workload::GetUnwritten => get_unwritten(&rig),
        Workload::GetLarge => get_large(&rig),
        Workload::Insert => insert(&rig, &Dataset::new(ENTRIES, SMALL)),
        Workload::InsertLarge => insert(&rig, &Dataset::new(16, LARGE)),
        Workload::GetOrInsert => get_or_insert(&rig),
        Workload::Remove => remove(&rig),
        Workload::OpenClean => open(&rig, true),
        Workload::OpenKilled => open(&rig, false),
    }?;
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

async fn fill(cache: &Engine<Counting>, data: &Dataset) -> Result<()> {
    for n in 0..data.entries() {
        cache.insert(&data.key(n), data.body(n)).await?;
    }
    Ok(cache.flush().await?)
}

/// A cache that was closed, so that all of it is in sealed files.
async fn reopened(rig: &Rig, data: &Dataset) -> Result<Engine<Counting>> {
    let dir = rig.path("cache");
    let cache = rig.open(&dir, ROOMY).await?;
    fill(&cache, data).await?;
    cache.close().await?;
    rig.open(&dir, ROOMY).await
}

async fn get_one(cache: &Engine<Counting>, data: &Dataset, key: &CacheKey, n: usize) -> Result<()> {
    let body = cache.get(key).await?.ok_or("an entry is gone")?.bytes().await?;
    if data.is_body(n, &body) { Ok(()) } else { Err("a get gave the wrong bytes".into()) }
}

fn get(rig: &Rig, keep_keys: bool) -> Result<Counts> {
    let data = Dataset::new(ENTRIES, SMALL);
    let order = Rng::new(1).permutation(ENTRIES);
    let cache = rig.prepare(reopened(rig, &data))?;
    let keys: Vec<_> = (0..ENTRIES).map(|n| data.key(n)).collect();
    // Whatever is made at the first use only is there.
    rig.prepare(async {
        for (n, key) in keys.iter().enumerate() {
            get_one(&cache, &data, key, n).await?;
        }
        Ok::<_, benches::Error>(())
    })?;
    let before = cache.stats();
    let (counts, ()) = rig.count(ENTRIES, async {
        for &n in &order {
            let n = n as usize;
            if keep_keys {
                get_one(&cache, &data, &keys[n], n).await?;
            } else {
                get_one(&cache, &data, &data.key(n), n).await?;
            }
        }
        Ok(())
    })?;
    // A page may be busy now and then, which costs a get a few calls more and says nothing of the file system.
    if cache.stats().fast_reads - before.fast_reads < ENTRIES as u64 * 99 / 100 {
        return Err("not all gets were served by the page cache: this needs a file system that reads without waiting \
                    (ext4, xfs), and memory"
            .into());
    }
    Ok(counts)
}

fn get_miss(rig: &Rig) -> Result<Counts> {
    let data = Dataset::new(ENTRIES * 2, SMALL);
    let cache = rig.prepare(rig.open(&rig.path("cache"), ROOMY))?;
    let (counts, ()) = rig.count(ENTRIES, async {
        for n in ENTRIES..ENTRIES * 2 {
            if cache.get(&data.key(n)).await?.is_some() {
                return Err("a hit where nothing was stored".into());
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

fn get_unwritten(rig: &Rig) -> Result<Counts> {
    // Less than one write buffer, so that nothing is written before it is read.
    let data = Dataset::new(100, SMALL);
    let cache = rig.prepare(rig.open(&rig.path("cache"), ROOMY))?;
    rig.prepare(async {
        for n in 0..data.entries() {
            cache.insert(&data.key(n), data.body(n)).await?;
        }
        Ok::<_, benches::Error>(())
    })?;
    let (counts, ()) = rig.count(ENTRIES, async {
        for n in 0..ENTRIES {
            let n = n % data.entries();
            get_one(&cache, &data, &data.key(n), n).await?;
        }
        Ok(())
    })?;
    Ok(counts)
}

fn get_large(rig: &Rig) -> Result<Counts> {
    let data = Dataset::new(8, LARGE);
    let cache = rig.prepare(reopened(rig, &data))?;
    let gets = async || {
        for n in 0..data.entries() {
            get_one(&cache, &data, &data.key(n), n).await?;
        }
        Ok::<_, benches::Error>(())
    };
    rig.prepare(gets())?;
    Ok(rig.count(data.entries(), gets())?.0)
}

fn insert(rig: &Rig, data: &Dataset) -> Result<Counts> {
    let cache = rig.prepare(rig.open(&rig.path("cache"), ROOMY))?;
    let (mut counts, ()) = rig.count(data.entries(), fill(&cache, data))?;
    counts.inserted_bytes = (data.entries() * data.size()) as u64;
    Ok(counts)
}

fn get_or_insert(rig: &Rig) -> Result<Counts> {
    let keys = 4 * ENTRIES;
    let data = Dataset::new(keys, SMALL);
    let draws = zipf::draw(keys, EXPONENT, keys * 4, &mut Rng::new(7));
    // Eight segments: half of the keys, roughly.
    let cache = rig.prepare(rig.open(&rig.path("cache"), ByteSize::mib(36)))?;
    let (before, counted) = draws.split_at(keys * 2);
    let requests = async |draws: &[u32]| {
        let mut inserted = 0;
        for &n in draws {
            let (n, key) = (n as usize, data.key(n as usize));
            if let Some(hit) = cache.get(&key).await? {
                drop(hit.bytes().await?);
            } else {
                cache.insert(&key, data.body(n)).await?;
                inserted += data.size() as u64;
            }
        }
        cache.flush().await?;
        Ok::<_, benches::Error>(inserted)
    };
    rig.prepare(requests(before))?;
    let (mut counts, inserted) = rig.count(counted.len(), requests(counted))?;
    counts.inserted_bytes = inserted;
    Ok(counts)
}

fn remove(rig: &Rig) -> Result<Counts> {
    let data = Dataset::new(ENTRIES, SMALL);
    let cache = rig.prepare(reopened(rig, &data))?;
    let (counts, ()) = rig.count(ENTRIES, async {
        for n in 0..ENTRIES {
            if !cache.remove_with(&data.key(n), disk_cache::Durability::Buffered).await? {
                return Err("an entry is gone".into());
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

fn open(rig: &Rig, clean: bool) -> Result<Counts> {
    let (data, dir, copy) = (Dataset::new(ENTRIES, SMALL), rig.path("cache"), rig.path("copy"));
    rig.prepare(async {
        let cache = rig.open(&dir, ROOMY).await?;
        fill(&cache, &data).await?;
        if clean {
            cache.close().await?;
        }
        // Sealing goes on after the flush.
        rig.rest().await;
        // What a killed process leaves is what its files hold while it runs.
        copy_files(&dir, &copy)?;
        Ok::<_, benches::Error>(())
    })?;
    let (counts, cache) = rig.count(ENTRIES, rig.open(&copy, ROOMY))?;
    if cache.stats().entries == ENTRIES as u64 { Ok(counts) } else { Err("the open lost entries".into()) }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
