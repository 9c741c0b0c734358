//! The tasks that ask: so many of them on two workers, each doing one operation after the other until time is up.

use crate::{
    Result,
    measure::{Done, Measure, Meter, Tally},
};
use serde::{Deserialize, Serialize};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};

/// Threads that tasks run on, and threads of the loops beside them.
pub const WORKERS: usize = 2;

/// What a task does again and again.
pub trait Work: Send + 'static {
    /// One operation; `None`: there is nothing left to do.
    ///
    /// # Errors
    /// That of the operation, which ends the run.
    fn step(&mut self) -> impl Future<Output = Result<Option<Done>>> + Send;

    /// What comes between operations and is not timed: nothing, unless the tasks are to leave room for others.
    fn pause(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// How long, and what is timed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// Length of the stretch.
    pub time: Duration,
    /// Whether only some operations are timed: for those of a microsecond.
    pub sampled: bool,
}

/// The runtime of those who ask, apart from the cache's own.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
}

impl Client {
    /// Starts the workers.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("client")
            .enable_all()
            .build()?;
        Ok(Self { runtime })
    }

    /// Waits for something.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets every work run in a task of its own until time is up, then waits for `after`, which belongs to the stretch.
    ///
    /// # Errors
    /// The first of an operation, or that of `after`.
    pub fn drive<W: Work>(
        &self,
        works: Vec<W>,
        pace: Pace,
        after: impl Future<Output = Result<()>>,
    ) -> Result<Measure> {
        let stop = Arc::new(AtomicBool::new(false));
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let meter = Meter::start();
            for work in works {
                tasks.spawn(run(work, pace.sampled, stop.clone()));
            }
            let mut time_is_up = std::pin::pin!(tokio::time::sleep(pace.time));
            let mut tally = Tally::default();
            loop {
                tokio::select! {
                    () = &mut time_is_up, if !stop.load(Ordering::Relaxed) => stop.store(true, Ordering::Relaxed),
                    joined = tasks.join_next() => match joined {
                        Some(done) => tally.merge(&done??),
                        None => break,
                    },
                }
            }
            after.await?;
            Ok(meter.finish(tally))
        })
    }

    /// Like [`Client::drive`], while other works run beside whose operations are not counted.
    ///
    /// # Errors
    /// The first of an operation.
    pub fn drive_beside<W: Work, O: Work>(
        &self,
        works: Vec<W>,
        others: Vec<O>,
        pace: Pace,
    ) -> Result<Measure> {
        let stop = Arc::new(AtomicBool::new(false));
        let beside: Vec<_> = {
            let _entered = self.runtime.enter();
            others.into_iter().map(|other| tokio::spawn(run(other, true, stop.clone()))).collect()
        };
        let measure = self.drive(works, pace, async { Ok(()) });
        stop.store(true, Ordering::Relaxed);
        for task in beside {
            self.runtime.block_on(task)??;
        }
        measure
    }

    /// Lets every work take so many steps in a task of its own, then waits for `after`; how long it all took.
    ///
    /// # Errors
    /// The first of an operation, or that of `after`.
    pub fn repeat<W: Work>(
        &self,
        works: Vec<W>,
        steps: u64,
        after: impl Future<Output = Result<()>>,
    ) -> Result<Duration> {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let begun = Instant::now();
            for mut work in works {
                tasks.spawn(async move {
                    for _ in 0..steps {
                        work.step().await?;
                    }
                    Ok::<_, crate::Error>(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            after.await?;
            Ok(begun.elapsed())
        })
    }
}

async fn run<W: Work>(mut work: W, sampled: bool, stop: Arc<AtomicBool>) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        work.pause().await;
        let begun = tally.times_next(sampled).then(Instant::now);
        let Some(done) = work.step().await? else { break };
        if let Some(begun) = begun {
            tally.took(begun.elapsed());
        }
        tally.count(done);
    }
    Ok(tally)
}

/// The same for plain threads: `step` is made once for each.
///
/// # Errors
/// The first of an operation.
pub fn drive_threads<S>(threads: usize, pace: Pace, make: impl Fn(usize) -> S) -> Result<Measure>
where
    S: FnMut() -> Result<Option<Done>> + Send,
{
    let stop = AtomicBool::new(false);
    let meter = Meter::start();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|n| {
                let (mut step, stop) = (make(n), &stop);
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    while !stop.load(Ordering::Relaxed) {
                        let begun = tally.times_next(pace.sampled).then(Instant::now);
                        let Some(done) = step()? else { break };
                        if let Some(begun) = begun {
                            tally.took(begun.elapsed());
                        }
                        tally.count(done);
                    }
                    Ok::<_, crate::Error>(tally)
                })
            })
            .collect();
        // A thread that has nothing left to do ends early; the stretch is as long as the last one takes.
        while meter.elapsed() < pace.time && !running.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(1).min(pace.time));
        }
        stop.store(true, Ordering::Relaxed);
        for thread in running {
            let done = thread.join().map_err(|_| "a measuring thread panicked")?;
            tally.merge(&done?);
        }
        Ok::<_, crate::Error>(())
    })?;
    Ok(meter.finish(tally))
}
