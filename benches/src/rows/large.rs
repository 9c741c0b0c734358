//! Bodies of 10 MiB, beside plain files.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::Work,
    dataset::Dataset,
    device,
    filled::{Insert, fill},
    finding::{Bound, Figure},
    fio::{self, Job},
    measure::{Done, Measure},
    rng::Rng,
};
use disk_cache::{BackendKind, ByteSize, DiskCache};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

const SIZE: usize = 10 << 20;
const TASKS: usize = 8;
/// Bodies that are read, and names that are written over and over.
const ENTRIES: usize = 24;
const CAPACITY: ByteSize = ByteSize::gib(4);

const ONE_COPY: &str = "both copy 10 MiB out of the page cache into new memory, which is most of what `CPU us` has, and differ in threads and in \
     who verifies: what `tokio::fs::read` gives differs by half from run to run, with what memory the host has at hand \
     (`cargo xtask bench 10mib`)";

const NEW_FILES: &str = "fio writes one file again and again, a body is a file of its own: `direct-write, 8 threads, new files` in the \
     same row makes such files past the page cache and does nothing else, so that its rate is what the device and the file \
     system give for bodies; ours stands beside it below the row's table (`cargo xtask bench 10mib`)";

/// Measures `10MiB-get` and `10MiB-insert`.
///
/// # Errors
/// Those of the cache and the files.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let data = Arc::new(Dataset::new(ENTRIES, SIZE));
    let files = bench.path("plain-files");
    std::fs::create_dir(&files)?;
    for n in 0..ENTRIES {
        std::fs::write(path_of(&files, n), data.body(n))?;
    }
    let mut caches = Vec::new();
    for (choice, name) in bench.choices() {
        let dir = bench.path(format!("large-{}", name.replace(": ", "-")));
        let cache = bench.open(&dir, *choice, CAPACITY)?;
        fill(bench, &cache, &data)?;
        caches.push((cache, name, dir));
    }
    let data = &data;
    let mut group =
        vec![Candidate::new("tokio::fs::read", "plain files", || read_files(bench, data, &files))];
    for (cache, name, _) in &caches {
        let gets = || gets(bench, data, cache);
        let candidate = Candidate::new("10MiB-get", *name, gets)
            .target(0, Figure::Bytes, Bound::AtLeast(1.4))
            .because(ONE_COPY);
        group.push(candidate.within(Figure::Hits, floor(cache)));
    }
    let mut outcomes = compare(group, bench.options.rounds)?;

    let device = || {
        bench.settle()?;
        device::sequential_writes(bench.dir(), bench.pace(false))
    };
    let mut group = vec![
        Candidate::new("direct-write", "4 threads, 1 MiB", device),
        Candidate::new("fs::write+mv", "plain files", || write_files(bench, data, &files)),
        Candidate::new("direct-write", "8 threads, new files", || {
            bench.settle()?;
            device::new_files(bench.dir(), SIZE as u64, TASKS, bench.pace(false))
        }),
    ];
    if fio::found() {
        let writes = || {
            bench.settle()?;
            fio::run(Job::SequentialWrites, bench.dir(), bench.options.time())
        };
        group.push(Candidate::new("fio", "sequential, 1 MiB", writes));
    }
    // Without fio, the plain threads.
    let device = if group.len() == 4 { 3 } else { 0 };
    for (cache, name, _) in &caches {
        let inserts = || inserts(bench, data, cache);
        let candidate = Candidate::new("10MiB-insert", *name, inserts)
            .target(device, Figure::Bytes, Bound::AtLeast(0.9))
            .because(NEW_FILES)
            .against(1, Figure::Bytes)
            .against(2, Figure::Bytes);
        group.push(candidate.within(Figure::Hits, floor(cache)).because(NEW_FILES));
    }
    outcomes.extend(compare(group, bench.options.rounds)?);
    for (cache, _, dir) in caches {
        bench.close(&cache)?;
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::remove_dir_all(files)?;
    Ok(outcomes)
}

/// What was asked for before anything was measured, per second.
fn floor(cache: &DiskCache) -> Bound {
    match cache.stats().backend {
        BackendKind::IoUring => Bound::AtLeast(155.0),
        _ => Bound::AtLeast(110.0),
    }
}

fn path_of(files: &Path, n: usize) -> PathBuf {
    files.join(format!("{n}.body"))
}

fn gets(bench: &Bench, data: &Arc<Dataset>, cache: &DiskCache) -> Result<Measure> {
    let works = (0..TASKS as u64)
        .map(|task| Get { cache: cache.clone(), data: data.clone(), rng: Rng::new(task) })
        .collect();
    bench.client.drive(works, bench.pace(false), async { Ok(()) })
}

fn read_files(bench: &Bench, data: &Arc<Dataset>, files: &Path) -> Result<Measure> {
    let works = (0..TASKS as u64)
        .map(|task| Read { files: files.to_owned(), data: data.clone(), rng: Rng::new(task) })
        .collect();
    bench.client.drive(works, bench.pace(false), async { Ok(()) })
}

/// Neither side syncs within the stretch; the kernel's write-back is waited for between them.
fn inserts(bench: &Bench, data: &Arc<Dataset>, cache: &DiskCache) -> Result<Measure> {
    bench.settle()?;
    let next = Arc::new(AtomicUsize::new(0));
    let works = (0..TASKS)
        .map(|_| Insert { cache: cache.clone(), data: data.clone(), next: next.clone(), wrap: true })
        .collect();
    bench.client.drive(works, bench.pace(false), async { Ok(()) })
}

fn write_files(bench: &Bench, data: &Arc<Dataset>, files: &Path) -> Result<Measure> {
    bench.settle()?;
    let next = Arc::new(AtomicUsize::new(0));
    let works = (0..TASKS)
        .map(|_| Write { files: files.to_owned(), data: data.clone(), next: next.clone() })
        .collect();
    bench.client.drive(works, bench.pace(false), async { Ok(()) })
}

struct Get {
    cache: DiskCache,
    data: Arc<Dataset>,
    rng: Rng,
}

impl Work for Get {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.rng.below(ENTRIES);
        let found = self.cache.get(&self.data.key(n)).await?.ok_or("a large body is gone")?;
        let body = found.bytes().await?;
        Ok(Some(Done { hit: self.data.is_body(n, &body), bytes: body.len() as u64 }))
    }
}

struct Read {
    files: PathBuf,
    data: Arc<Dataset>,
    rng: Rng,
}

impl Work for Read {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.rng.below(ENTRIES);
        let body = tokio::fs::read(path_of(&self.files, n)).await?;
        Ok(Some(Done { hit: self.data.is_body(n, &body), bytes: body.len() as u64 }))
    }
}

struct Write {
    files: PathBuf,
    data: Arc<Dataset>,
    next: Arc<AtomicUsize>,
}

impl Work for Write {
    async fn step(&mut self) -> Result<Option<Done>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let path = path_of(&self.files, turn % ENTRIES);
        let temporary = self.files.join(format!("{turn}.tmp"));
        // The owned body goes in whole, as with the cache: no copy for the blocking thread.
        tokio::fs::write(&temporary, self.data.body(turn % ENTRIES)).await?;
        tokio::fs::rename(&temporary, &path).await?;
        Ok(Some(Done { hit: true, bytes: SIZE as u64 }))
    }
}
