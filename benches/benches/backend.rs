//! Both backends at the trait, without the page-cache fast path: reads and writes of 4 KiB and 10 MiB, cached and
//! direct, by 1 to 256 tasks. One iteration is one operation of every task.

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> benches::Result<()> {
    measure::main()
}

#[cfg(target_os = "linux")]
mod measure {
    use backend_tokio::TokioBackend;
    use backend_uring::{UringBackend, UringOptions};
    use benches::{
        client::{Client, Work},
        data_dir::DataDir,
        fd_limit,
        measure::Done,
        rng::Rng,
        table,
    };
    use bytes::{Bytes, BytesMut};
    use cache_core::{DiskBackend, OpenMode, aligned_buf};
    use criterion::{BenchmarkId, Criterion, Throughput};
    use std::{path::Path, sync::Arc, time::Duration};
    use tokio::runtime::Handle;

    const ALIGN: usize = 4096;
    /// The file that is read and written.
    const LENGTH: u64 = 256 << 20;
    const SIZES: [(&str, usize); 2] = [("4KiB", 4 << 10), ("10MiB", 10 << 20)];
    const TASKS: [usize; 4] = [1, 16, 64, 256];

    pub(super) fn main() -> benches::Result<()> {
        fd_limit::raise()?;
        let dir = DataDir::new(None)?;
        dir.remove_on_signal()?;
        dir.complaints()?.iter().for_each(|c| table::line(&format!("WARNING: {c}")));
        let client = Client::start()?;
        let mut criterion = Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .configure_from_args();
        let handle = client.block_on(async { Handle::current() });
        let path = dir.path().join("file");
        measure(&mut criterion, &client, &Arc::new(TokioBackend::new(handle.clone())), "tokio", &path)?;
        match UringBackend::open(handle, UringOptions::default(), dir.path()) {
            Ok(rings) => {
                let rings = Arc::new(rings);
                measure(&mut criterion, &client, &rings, "io-uring", &path)?;
                rings.shutdown();
            }
            Err(e) => table::line(&format!("SKIPPED: io-uring, which cannot be used here ({e})")),
        }
        criterion.final_summary();
        Ok(())
    }

    fn measure<B: DiskBackend>(
        criterion: &mut Criterion,
        client: &Client,
        backend: &Arc<B>,
        name: &str,
        path: &Path,
    ) -> benches::Result<()> {
        let made = OpenMode { create: true, write: true, preallocate: Some(LENGTH), ..OpenMode::READ };
        let cached = client.block_on(backend.open(path, made))?;
        // Unwritten parts would be read without the device.
        let piece = aligned(1 << 20);
        for offset in (0..LENGTH).step_by(piece.len()) {
            client.block_on(backend.write_at(&cached, vec![piece.clone()], offset))?;
        }
        client.block_on(backend.sync_data(&cached))?;
        let direct = client.block_on(backend.open(path, OpenMode { direct: true, ..OpenMode::WRITE }))?;
        for (mode, file) in [("cached", &cached), ("direct", &direct)] {
            for (verb, writes) in [("read", false), ("write", true)] {
                for (size_name, size) in SIZES {
                    let mut group = criterion.benchmark_group(format!("{verb} {size_name} {mode}"));
                    for tasks in TASKS {
                        group.throughput(Throughput::Bytes((tasks * size) as u64));
                        group.bench_function(BenchmarkId::new(name, tasks), |bencher| {
                            bencher.iter_custom(|iterations| {
                                let body = writes.then(|| aligned(size));
                                let works = (0..tasks as u64).map(|task| Transfer {
                                    backend: backend.clone(),
                                    file: file.clone(),
                                    buf: if writes { BytesMut::new() } else { touched(size) },
                                    size,
                                    body: body.clone(),
                                    rng: Rng::new(task),
                                });
                                match client.repeat(works.collect(), iterations, async { Ok(()) }) {
                                    Ok(elapsed) => elapsed,
                                    Err(e) => panic!("{verb} {size_name} {mode} {name} {tasks}: {e}"),
                                }
                            });
                        });
                    }
                    group.finish();
                }
            }
        }
        Ok(())
    }

    fn aligned(size: usize) -> Bytes {
        touched(size).freeze()
    }

    /// Memory that the kernel has given already: 10 MiB take longer to be given than to be read.
    fn touched(size: usize) -> BytesMut {
        let mut buf = aligned_buf(size, ALIGN);
        buf.resize(size, 7);
        buf
    }

    /// Reads, or writes where there is a body, at random places.
    struct Transfer<B: DiskBackend> {
        backend: Arc<B>,
        file: B::File,
        buf: BytesMut,
        size: usize,
        body: Option<Bytes>,
        rng: Rng,
    }

    impl<B: DiskBackend> Work for Transfer<B> {
        async fn step(&mut self) -> benches::Result<Option<Done>> {
            let places = usize::try_from(LENGTH)? / self.size;
            let offset = (self.rng.below(places) * self.size) as u64;
            if let Some(body) = &self.body {
                self.backend.write_at(&self.file, vec![body.clone()], offset).await?;
            } else {
                let mut buf = std::mem::take(&mut self.buf);
                buf.clear();
                let (read, buf) = self.backend.read_at(&self.file, buf, self.size, offset).await;
                self.buf = buf;
                if read? != self.size {
                    return Err("a short read".into());
                }
            }
            Ok(Some(Done { hit: true, bytes: self.size as u64 }))
        }
    }
}
