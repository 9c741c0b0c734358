//! How fast cached 4 KiB reads go through the trait's `read_at`, on rings and on blocking threads, in one run.
//!
//! `cargo run --release -p backend-uring --example trait_speed -- [seconds per figure] [rings] [rounds]`
//!
//! The backends take turns, so that a noisy neighbour hits both; the median of the rounds counts.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that prints")]

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    measure::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("there is io_uring on Linux only");
}

#[cfg(target_os = "linux")]
mod measure {
    use backend_tokio::TokioBackend;
    use backend_uring::{UringBackend, UringOptions};
    use bytes::{Bytes, BytesMut};
    use cache_core::{DiskBackend, OpenMode};
    use std::{
        error::Error,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::{Duration, Instant},
    };

    const BLOCK: usize = 4096;
    const BLOCKS: u64 = 16 << 10;

    pub(super) fn main() -> Result<(), Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let time = Duration::from_secs_f64(arguments.next().map_or(Ok(1.0), |a| a.parse())?);
        let mut options = UringOptions::default();
        options.rings = arguments.next().map_or(Ok(options.rings), |a| a.parse())?;
        let rounds: usize = arguments.next().map_or(Ok(5), |a| a.parse())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let dir = tempfile::tempdir_in(".")?;
        let tokio = Arc::new(TokioBackend::new(runtime.handle().clone()));
        let uring = Arc::new(UringBackend::open(runtime.handle().clone(), options, dir.path())?);
        runtime.block_on(async {
            let file = tokio.open(&dir.path().join("file"), OpenMode::CREATE_NEW).await?;
            tokio.write_at(&file, vec![Bytes::from(vec![7; BLOCK * BLOCKS as usize])], 0).await?;
            tokio.sync_data(&file).await?;
            println!("{:>5}  {:>12}  {:>12}  {:>6}", "tasks", "threads/s", "rings/s", "times");
            for tasks in [1, 8, 64, 128] {
                let (mut threads, mut rings) = (Vec::new(), Vec::new());
                for _ in 0..rounds {
                    threads.push(reads_per_second(&tokio, &file, tasks, time).await?);
                    rings.push(reads_per_second(&uring, &file, tasks, time).await?);
                }
                let (threads, rings) = (median(threads), median(rings));
                println!("{tasks:>5}  {threads:>12.0}  {rings:>12.0}  {:>6.2}", rings / threads);
            }
            Ok::<_, Box<dyn Error>>(())
        })?;
        uring.shutdown();
        Ok(())
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    async fn reads_per_second<B: DiskBackend>(
        backend: &Arc<B>,
        file: &B::File,
        tasks: usize,
        time: Duration,
    ) -> Result<f64, Box<dyn Error>> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let spawned: Vec<_> = (0..tasks as u64)
            .map(|task| {
                let (backend, file, stop) = (backend.clone(), file.clone(), stop.clone());
                tokio::spawn(async move {
                    let (mut buf, mut count, mut block) = (BytesMut::with_capacity(BLOCK), 0u64, task * 7919);
                    while !stop.load(Ordering::Relaxed) {
                        block = (block
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407))
                            % BLOCKS;
                        buf.clear();
                        let (read, back) = backend.read_at(&file, buf, BLOCK, block * BLOCK as u64).await;
                        assert!(matches!(read, Ok(BLOCK)), "{read:?}");
                        buf = back;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        for task in spawned {
            count += task.await?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }
}
