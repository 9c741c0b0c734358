//! A cache that holds the whole dataset, closed once so that all of it is in sealed files, and open again.

use crate::{
    Result,
    bench::Bench,
    client::{Pace, Work},
    dataset::Dataset,
    measure::Done,
    records::Records,
};
use disk_cache::{BackendChoice, ByteSize, DiskCache, Inserted};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A filled cache and where its records lie.
#[derive(Debug)]
pub struct Filled {
    /// The cache, open.
    pub cache: DiskCache,
    /// Its records in its files.
    pub records: Arc<Records>,
    /// Its directory.
    pub dir: PathBuf,
    /// The backend's name.
    pub name: String,
}

impl Filled {
    /// Fills a cache for each backend.
    ///
    /// # Errors
    /// Those of the cache.
    pub fn all(bench: &Bench, data: &Arc<Dataset>, reads: Reads) -> Result<Vec<Self>> {
        bench.choices().iter().map(|(choice, name)| Self::new(bench, data, *choice, name, reads)).collect()
    }

    fn new(
        bench: &Bench,
        data: &Arc<Dataset>,
        choice: BackendChoice,
        name: &str,
        reads: Reads,
    ) -> Result<Self> {
        let past = reads == Reads::PastPageCache;
        let name = format!("{name}{}", if past { ", direct" } else { "" });
        let dir = bench.path(format!("filled-{}", name.replace(": ", "-")));
        let capacity = ByteSize::bytes_of((data.entries() * (data.size() + 512)) as u64 * 3 / 2 + (64 << 20));
        let builder = || DiskCache::builder(&dir).backend(choice).capacity(capacity).direct_io(past);
        let cache = bench.client.block_on(builder().open())?;
        fill(bench, &cache, data)?;
        bench.close(&cache)?;
        let records = Arc::new(Records::find(&dir)?);
        if records.count() != data.entries() {
            let (found, entries) = (records.count(), data.entries());
            return Err(format!("{found} records in the files of a cache of {entries} entries").into());
        }
        let cache = bench.client.block_on(builder().open())?;
        Ok(Self { cache, records, dir, name })
    }

    /// Closes it and takes its files away.
    ///
    /// # Errors
    /// Those of the close.
    pub fn remove(self, bench: &Bench) -> Result<()> {
        bench.close(&self.cache)?;
        Ok(std::fs::remove_dir_all(self.dir)?)
    }
}

/// How a cache reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// As it does by itself.
    ByPageCache,
    /// With `direct_io`.
    PastPageCache,
}

/// Inserts the whole dataset and waits until it is on stable storage.
///
/// # Errors
/// Those of the cache.
pub fn fill(bench: &Bench, cache: &DiskCache, data: &Arc<Dataset>) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let works = (0..bench.options.tasks)
        .map(|_| Insert { cache: cache.clone(), data: data.clone(), next: next.clone(), wrap: false })
        .collect();
    let pace = Pace { time: Duration::from_secs(3600), sampled: true };
    bench.client.drive(works, pace, async { Ok(cache.flush().await?) })?;
    Ok(())
}

/// Inserts keys one after another, several tasks taking turns.
#[derive(Debug)]
pub struct Insert {
    /// Into this cache.
    pub cache: DiskCache,
    /// Of this dataset.
    pub data: Arc<Dataset>,
    /// The key that is next.
    pub next: Arc<AtomicUsize>,
    /// Whether to start over at the end.
    pub wrap: bool,
}

impl Work for Insert {
    async fn step(&mut self) -> Result<Option<Done>> {
        let mut n = self.next.fetch_add(1, Ordering::Relaxed);
        if self.wrap {
            n %= self.data.entries();
        } else if n >= self.data.entries() {
            return Ok(None);
        }
        let stored = self.cache.insert(&self.data.key(n), self.data.body(n)).await?;
        let hit = matches!(stored, Inserted::Stored { .. });
        Ok(Some(Done { hit, bytes: self.data.size() as u64 }))
    }
}
