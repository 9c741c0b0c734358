//! Gets while others insert into a full cache as fast as they can, beside the same gets alone.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::{Pace, Work},
    dataset::Dataset,
    filled::Insert,
    finding::{Bound, Figure},
    measure::{Done, Measure},
    rng::Rng,
};
use bytes::BytesMut;
use disk_cache::{ByteSize, DiskCache};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Of all tasks, those that insert.
const INSERTERS: usize = 16;

/// Bytes that a task of the appends writes at once, and where it begins anew.
const WRITE: usize = 1 << 20;
const WRITE_END: u64 = 64 << 20;

const SHARED_PROCESSORS: &str = "readers share the two processors with tasks that never rest, and wait while the kernel gives theirs to another \
     thread: `get-beside-appends` in the same row are the same gets beside as many tasks that copy the same bodies into plain \
     files and do nothing else; what they add to `get-alone` no cache can take away (`cargo xtask bench get-while-inserting`)";

/// Measures `get-while-inserting`.
///
/// # Errors
/// Those of the cache.
pub fn run(bench: &Bench, data: &Arc<Dataset>) -> Result<Vec<Outcome>> {
    let capacity = ByteSize::bytes_of(super::get_or_insert::capacity(data));
    let mut outcomes = Vec::new();
    for (choice, name) in bench.choices() {
        let dir = bench.path(format!("while-inserting-{}", name.replace(": ", "-")));
        let cache = bench.open(&dir, *choice, capacity)?;
        let next = Arc::new(AtomicUsize::new(0));
        // Turned over twice: each insert evicts from here on.
        let pace = Pace { time: Duration::from_secs(3600), sampled: true };
        let fill =
            Until { inserts: inserters(&cache, data, &next, 1).remove(0), most: data.entries() * 3 / 2 };
        bench.client.drive(vec![fill], pace, async { Ok(()) })?;
        let idle =
            || bench.client.drive(readers(bench, &cache, data, &next), bench.pace(false), async { Ok(()) });
        let busy = || busy(bench, &cache, data, &next);
        let files = bench.path("appends");
        std::fs::create_dir_all(&files)?;
        let beside = || {
            bench.settle()?;
            let append = |task| Appends::new(&files.join(format!("{task}.bin")), data);
            let appends = (0..INSERTERS).map(append).collect::<Result<_>>()?;
            bench.client.drive_beside(readers(bench, &cache, data, &next), appends, bench.pace(false))
        };
        let group = vec![
            Candidate::new("get-alone", name, idle),
            Candidate::new("get-beside-appends", name, beside).against(0, Figure::P99),
            Candidate::new("get-while-inserting", name, busy)
                .target(0, Figure::P99, Bound::AtMost(2.0))
                .because(SHARED_PROCESSORS)
                .against(1, Figure::P99)
                .against(0, Figure::Hits)
                .shows(Figure::Value("inserts/s")),
        ];
        outcomes.extend(compare(group, bench.options.rounds)?);
        bench.close(&cache)?;
        std::fs::remove_dir_all(dir)?;
        std::fs::remove_dir_all(files)?;
    }
    Ok(outcomes)
}

fn busy(bench: &Bench, cache: &DiskCache, data: &Arc<Dataset>, next: &Arc<AtomicUsize>) -> Result<Measure> {
    bench.settle()?;
    let before = cache.stats();
    let measure = bench.client.drive_beside(
        readers(bench, cache, data, next),
        inserters(cache, data, next, INSERTERS),
        bench.pace(false),
    )?;
    let after = cache.stats();
    let (inserts, evicted) = (after.inserts - before.inserts, after.evictions - before.evictions);
    let note = format!(
        "{inserts} inserts and {evicted} evictions meanwhile; {:.3} of the gets hit",
        measure.hit_ratio()
    );
    let per_s = inserts as f64 / measure.seconds();
    Ok(measure.with_value("inserts/s", per_s).with_note(note))
}

fn readers(bench: &Bench, cache: &DiskCache, data: &Arc<Dataset>, next: &Arc<AtomicUsize>) -> Vec<Recent> {
    let work =
        |task| Recent { cache: cache.clone(), data: data.clone(), next: next.clone(), rng: Rng::new(task) };
    (0..bench.options.tasks as u64).map(work).collect()
}

fn inserters(cache: &DiskCache, data: &Arc<Dataset>, next: &Arc<AtomicUsize>, count: usize) -> Vec<Insert> {
    let work = |_| Insert { cache: cache.clone(), data: data.clone(), next: next.clone(), wrap: true };
    (0..count).map(work).collect()
}

/// Inserts a number of keys.
struct Until {
    inserts: Insert,
    most: usize,
}

impl Work for Until {
    async fn step(&mut self) -> Result<Option<Done>> {
        if self.inserts.next.load(Ordering::Relaxed) >= self.most {
            return Ok(None);
        }
        self.inserts.step().await
    }
}

/// Gets keys that were inserted lately, of which the cache holds four times as many.
struct Recent {
    cache: DiskCache,
    data: Arc<Dataset>,
    next: Arc<AtomicUsize>,
    rng: Rng,
}

impl Work for Recent {
    async fn pause(&mut self) {
        // Readers that never wait would leave no processor to those who insert.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn step(&mut self) -> Result<Option<Done>> {
        let window = self.data.entries() / 8;
        // Those of the last moment may be under way.
        let back = 1000 + self.rng.below(window);
        let n = (self.next.load(Ordering::Relaxed) - back) % self.data.entries();
        let Some(found) = self.cache.get(&self.data.key(n)).await? else {
            return Ok(Some(Done { hit: false, bytes: 0 }));
        };
        let body = found.bytes().await?;
        Ok(Some(Done { hit: self.data.is_body(n, &body), bytes: body.len() as u64 }))
    }
}

/// Copies bodies into a buffer and the buffer into a file, again and again: the least that whoever stores them does.
struct Appends {
    file: Arc<File>,
    at: u64,
    buf: BytesMut,
    data: Arc<Dataset>,
    next: usize,
}

impl Appends {
    fn new(path: &std::path::Path, data: &Arc<Dataset>) -> Result<Self> {
        let file = Arc::new(File::create(path)?);
        Ok(Self { file, at: 0, buf: BytesMut::with_capacity(WRITE), data: data.clone(), next: 0 })
    }
}

impl Work for Appends {
    async fn step(&mut self) -> Result<Option<Done>> {
        let body = self.data.body(self.next % self.data.entries());
        self.next += 1;
        if self.buf.len() + body.len() > WRITE {
            let (file, at, mut buf) = (self.file.clone(), self.at, std::mem::take(&mut self.buf));
            let write = move || {
                file.write_all_at(&buf, at)?;
                buf.clear();
                Ok::<_, crate::Error>(buf)
            };
            self.buf = tokio::task::spawn_blocking(write).await??;
            self.at = (self.at + WRITE as u64) % WRITE_END;
        }
        self.buf.extend_from_slice(&body);
        tokio::task::coop::consume_budget().await;
        Ok(Some(Done { hit: true, bytes: body.len() as u64 }))
    }
}
