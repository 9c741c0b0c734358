//! Both backends at the trait, without the cache and without its page-cache path: 4 KiB reads at random places of one file.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::Work,
    finding::{Bound, Figure},
    fio::{self, Job},
    measure::{Done, Measure},
    rng::Rng,
    table,
};
use backend_tokio::TokioBackend;
use backend_uring::{UringBackend, UringOptions};
use bytes::{Bytes, BytesMut};
use cache_core::{Advice, DiskBackend, OpenMode, aligned_buf};
use rustix::fs::Advice as Fadvise;
use std::{path::Path, sync::Arc};
use tokio::runtime::Handle;

const BLOCK: usize = 4096;
const LENGTH: u64 = 512 << 20;

/// Measures `backends`.
///
/// # Errors
/// Those of the reads.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let path = bench.path("backends");
    let handle = bench.client.block_on(async { Handle::current() });
    let threads = Arc::new(TokioBackend::new(handle.clone()));
    let rings = match UringBackend::open(handle, UringOptions::default(), bench.dir()) {
        Ok(rings) => Arc::new(rings),
        Err(e) => {
            table::line(&format!("SKIPPED: backends: io_uring cannot be used here ({e})"));
            return Ok(Vec::new());
        }
    };
    prepare(bench, &threads, &path)?;
    let mut outcomes = Vec::new();
    for mode in MODES {
        outcomes.extend(mode.compare(bench, &threads, &rings, &path)?);
    }
    rings.shutdown();
    std::fs::remove_file(path)?;
    Ok(outcomes)
}

/// Unwritten parts would be read without the device.
fn prepare(bench: &Bench, backend: &TokioBackend, path: &Path) -> Result<()> {
    let mode = OpenMode { preallocate: Some(LENGTH), ..OpenMode::CREATE_NEW };
    let file = bench.client.block_on(backend.open(path, mode))?;
    let piece = Bytes::from(vec![7; 1 << 20]);
    for offset in (0..LENGTH).step_by(piece.len()) {
        bench.client.block_on(backend.write_at(&file, vec![piece.clone()], offset))?;
    }
    Ok(bench.client.block_on(backend.sync_data(&file))?)
}

#[derive(Clone, Copy)]
struct Mode {
    row: &'static str,
    tasks: usize,
    direct: bool,
    cold: bool,
}

const MODES: [Mode; 6] = [
    Mode { row: "trait-cached", tasks: 64, direct: false, cold: false },
    Mode { row: "trait-cached", tasks: 128, direct: false, cold: false },
    Mode { row: "trait-direct", tasks: 64, direct: true, cold: false },
    Mode { row: "trait-direct", tasks: 128, direct: true, cold: false },
    // What a lone read costs where nothing of the page cache is in its way: for the next one.
    Mode { row: "trait-direct", tasks: 1, direct: true, cold: false },
    Mode { row: "trait-cold", tasks: 1, direct: false, cold: true },
];

const LONE_READ: &str = "one read at a time is one latency after another, and a ring's read goes over one thread more than the pool's: \
    the ring's thread is woken for the request and again for its completion, and wakes the caller. `trait-direct` with 1 task, in the \
    same row, is the same without the page cache, where fio asks the device with no thread between: what is lost there is lost to \
    wake-ups (`cargo xtask bench backends`)";

const CALLERS_BETWEEN: &str = "fio asks for the next block where it takes the last one; here a caller is woken on another thread and asks from \
     there, and meanwhile the device has one request less. With 128 callers, in the same row, that no longer shows \
     (`cargo xtask bench backends`)";

impl Mode {
    fn compare(
        self,
        bench: &Bench,
        threads: &Arc<TokioBackend>,
        rings: &Arc<UringBackend>,
        path: &Path,
    ) -> Result<Vec<Outcome>> {
        let (row, tasks) = (self.row, self.tasks);
        let mut group =
            vec![Candidate::new(row, "tokio", || self.read(bench, threads, path)).at("tasks", tasks as f64)];
        let rings = Candidate::new(row, "io-uring", || self.read(bench, rings, path));
        let mut rings = rings.at("tasks", tasks as f64).against(0, Figure::P99);
        if self.direct && fio::found() {
            let reads = move || {
                fio::run(Job::RandomReads { kib: 4, depth: tasks }, bench.dir(), bench.options.time())
            };
            group.push(Candidate::new("fio", format!("random, {tasks} in flight"), reads));
            rings = if tasks > 1 {
                rings.target(1, Figure::Hits, Bound::AtLeast(0.95)).because(CALLERS_BETWEEN)
            } else {
                rings.against(1, Figure::Hits)
            };
        }
        rings = if self.direct && tasks == 1 {
            rings.against(0, Figure::Cpu).against(0, Figure::Hits)
        } else if self.direct {
            rings.target(0, Figure::Cpu, Bound::AtMost(0.34)).against(0, Figure::Hits)
        } else if self.cold {
            // No slower, as far as two medians can tell.
            rings.target(0, Figure::Hits, Bound::AtLeast(0.97)).because(LONE_READ).against(0, Figure::Cpu)
        } else {
            rings.target(0, Figure::Hits, Bound::AtLeast(3.0)).against(0, Figure::Cpu)
        };
        group.push(rings);
        compare(group, bench.options.rounds)
    }

    fn read<B: DiskBackend>(self, bench: &Bench, backend: &Arc<B>, path: &Path) -> Result<Measure> {
        let mode = OpenMode { direct: self.direct, ..OpenMode::READ };
        let file = bench.client.block_on(backend.open(path, mode))?;
        backend.advise(&file, 0, LENGTH, Advice::Random);
        if self.cold {
            rustix::fs::fadvise(std::fs::File::open(path)?, 0, None, Fadvise::DontNeed)?;
        } else if !self.direct {
            std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::sink())?;
        }
        let work = |task| Read {
            backend: backend.clone(),
            file: file.clone(),
            buf: aligned_buf(BLOCK, BLOCK),
            rng: Rng::new(task),
        };
        // A cached read takes microseconds, as a warm get does.
        let pace = bench.pace(!self.direct && !self.cold);
        bench.client.drive((0..self.tasks as u64).map(work).collect(), pace, async { Ok(()) })
    }
}

struct Read<B: DiskBackend> {
    backend: Arc<B>,
    file: B::File,
    buf: BytesMut,
    rng: Rng,
}

impl<B: DiskBackend> Work for Read<B> {
    async fn step(&mut self) -> Result<Option<Done>> {
        let offset = (self.rng.below(usize::try_from(LENGTH)? / BLOCK) * BLOCK) as u64;
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        let (read, buf) = self.backend.read_at(&self.file, buf, BLOCK, offset).await;
        self.buf = buf;
        let read = read?;
        Ok(Some(Done { hit: read == BLOCK, bytes: read as u64 }))
    }
}
