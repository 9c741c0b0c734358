//! What every cache under measurement can do, ours and others, and the work that tasks give it: the same values, prepared
//! beforehand, the same keys, the same capacity; what a cache drops is counted.

use crate::{
    Result,
    client::{Client, Pace, Work},
    dataset::Dataset,
    measure::{Done, Measure},
    rng::Rng,
};
use bytes::Bytes;
use std::{
    fmt,
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A cache of bodies by name. A clone is the same cache.
pub trait Store: Clone + Send + Sync + 'static {
    /// The whole body, verified as far as this cache verifies.
    fn get(&self, name: &str) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Stores a body; returns when this cache says so, which need not be when it is written.
    fn insert(&self, name: &str, body: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Waits until what was inserted is written, and on stable storage where this cache can.
    fn settle(&self) -> impl Future<Output = Result<()>> + Send;

    /// Ends it.
    fn close(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Those who ask a cache, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Crowd<'a> {
    /// Their threads.
    pub client: &'a Client,
    /// How many ask at once.
    pub tasks: usize,
    /// The keys and bodies.
    pub data: &'a Arc<Dataset>,
}

/// How somebody else's cache is opened, in a process of its own ([`crate::peer_process`]).
pub trait Peer: fmt::Debug {
    /// As the table shows it.
    fn name(&self) -> &str;

    /// Whether it keeps to a capacity. What does not is left out where one matters.
    fn is_bounded(&self) -> bool;

    /// Opens one for bodies of about so many bytes.
    ///
    /// # Errors
    /// Its own.
    fn open(&self, client: &Client, dir: &Path, capacity: u64, body: usize) -> Result<Box<dyn Opened>>;
}

/// An open cache of any kind.
pub trait Opened {
    /// Inserts the whole dataset, settles, and counts what can be got again.
    ///
    /// # Errors
    /// Those of the cache.
    fn fill(&self, crowd: Crowd<'_>) -> Result<usize>;

    /// Gets keys at random until time is up.
    ///
    /// # Errors
    /// Those of the cache.
    fn gets(&self, crowd: Crowd<'_>, pace: Pace) -> Result<Measure>;

    /// Inserts keys one after another until time is up, then settles; what is missing afterwards counts as dropped and not as
    /// stored.
    ///
    /// # Errors
    /// Those of the cache.
    fn inserts(&self, crowd: Crowd<'_>, pace: Pace) -> Result<Measure>;

    /// Gets the keys drawn, and inserts after a miss, until time is up or, with `once`, all draws are done.
    ///
    /// # Errors
    /// Those of the cache.
    fn requests(&self, crowd: Crowd<'_>, draws: &Draws, pace: Pace) -> Result<Measure>;

    /// Ends it.
    ///
    /// # Errors
    /// Those of the cache.
    fn close(self: Box<Self>, client: &Client) -> Result<()>;
}

/// Which keys are asked for, in order; tasks take them one after another.
#[derive(Clone, Debug)]
pub struct Draws {
    /// Numbers of keys.
    pub keys: Arc<[u32]>,
    /// The first that is taken.
    pub from: usize,
    /// How many are taken, or all over and over.
    pub count: Option<usize>,
}

impl<S: Store> Opened for S {
    fn fill(&self, crowd: Crowd<'_>) -> Result<usize> {
        let pace = Pace { time: Duration::from_secs(3600), sampled: true };
        crowd.client.drive(inserting(self, crowd, false), pace, self.settle())?;
        kept(self, crowd, crowd.data.entries())
    }

    fn gets(&self, crowd: Crowd<'_>, pace: Pace) -> Result<Measure> {
        let work = |task| Get { store: self.clone(), data: crowd.data.clone(), rng: Rng::new(task) };
        crowd.client.drive((0..crowd.tasks as u64).map(work).collect(), pace, async { Ok(()) })
    }

    fn inserts(&self, crowd: Crowd<'_>, pace: Pace) -> Result<Measure> {
        let works = inserting(self, crowd, true);
        let next = works.first().map(|work| work.next.clone()).unwrap_or_default();
        let begun = Instant::now();
        let mut acknowledged = Duration::ZERO;
        let measure = crowd.client.drive(works, pace, async {
            acknowledged = begun.elapsed();
            self.settle().await
        })?;
        let inserted = next.load(Ordering::Relaxed);
        let there = kept(self, crowd, inserted.min(crowd.data.entries()))?;
        let share = there as f64 / inserted.min(crowd.data.entries()).max(1) as f64;
        Ok(measure
            .with_hits_cut_to(share)
            .with_value("acknowledged/s", inserted as f64 / acknowledged.as_secs_f64())
            .with_note(format!("{:.1} % of what was inserted was dropped", (1.0 - share) * 100.0)))
    }

    fn requests(&self, crowd: Crowd<'_>, draws: &Draws, pace: Pace) -> Result<Measure> {
        let next = Arc::new(AtomicUsize::new(0));
        let work = |_| Request {
            store: self.clone(),
            data: crowd.data.clone(),
            draws: draws.clone(),
            next: next.clone(),
        };
        let measure = crowd.client.drive((0..crowd.tasks).map(work).collect(), pace, async { Ok(()) })?;
        let (ratio, ops) = (measure.hit_ratio(), measure.ops_per_s());
        Ok(measure.with_value("hit ratio", ratio).with_value("requests/s", ops))
    }

    fn close(self: Box<Self>, client: &Client) -> Result<()> {
        client.block_on(Store::close(&*self))
    }
}

/// How many of the first `count` keys are there; all tasks look at once.
fn kept<S: Store>(store: &S, crowd: Crowd<'_>, count: usize) -> Result<usize> {
    let next = Arc::new(AtomicUsize::new(0));
    let work = |_| Look { store: store.clone(), data: crowd.data.clone(), next: next.clone(), count };
    let pace = Pace { time: Duration::from_secs(3600), sampled: true };
    let measure = crowd.client.drive((0..crowd.tasks).map(work).collect(), pace, async { Ok(()) })?;
    Ok(measure.hits() as usize)
}

fn inserting<S: Store>(store: &S, crowd: Crowd<'_>, wrap: bool) -> Vec<Insert<S>> {
    let next = Arc::new(AtomicUsize::new(0));
    let work = |_| Insert { store: store.clone(), data: crowd.data.clone(), next: next.clone(), wrap };
    (0..crowd.tasks).map(work).collect()
}

struct Get<S> {
    store: S,
    data: Arc<Dataset>,
    rng: Rng,
}

impl<S: Store> Work for Get<S> {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.rng.below(self.data.entries());
        let got = self.store.get(self.data.name(n)).await?;
        Ok(Some(done(&self.data, n, got.as_ref())))
    }
}

fn done(data: &Dataset, n: usize, got: Option<&Bytes>) -> Done {
    let hit = got.is_some_and(|body| data.is_body(n, body));
    Done { hit, bytes: got.map_or(0, |body| body.len() as u64) }
}

struct Insert<S> {
    store: S,
    data: Arc<Dataset>,
    next: Arc<AtomicUsize>,
    wrap: bool,
}

impl<S: Store> Work for Insert<S> {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if !self.wrap && n >= self.data.entries() {
            return Ok(None);
        }
        let n = n % self.data.entries();
        let body = self.data.body(n);
        let bytes = body.len() as u64;
        self.store.insert(self.data.name(n), body).await?;
        Ok(Some(Done { hit: true, bytes }))
    }
}

struct Look<S> {
    store: S,
    data: Arc<Dataset>,
    next: Arc<AtomicUsize>,
    count: usize,
}

impl<S: Store> Work for Look<S> {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if n >= self.count {
            return Ok(None);
        }
        let got = self.store.get(self.data.name(n)).await?;
        Ok(Some(done(&self.data, n, got.as_ref())))
    }
}

struct Request<S> {
    store: S,
    data: Arc<Dataset>,
    draws: Draws,
    next: Arc<AtomicUsize>,
}

impl<S: Store> Work for Request<S> {
    async fn step(&mut self) -> Result<Option<Done>> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        if self.draws.count.is_some_and(|count| at >= count) {
            return Ok(None);
        }
        let n = self.draws.keys[(self.draws.from + at) % self.draws.keys.len()] as usize;
        let name = self.data.name(n);
        if let Some(got) = self.store.get(name).await? {
            if !self.data.is_body(n, &got) {
                return Err("a get gave the wrong bytes".into());
            }
            return Ok(Some(Done { hit: true, bytes: got.len() as u64 }));
        }
        let body = self.data.body(n);
        let bytes = body.len() as u64;
        self.store.insert(name, body).await?;
        Ok(Some(Done { hit: false, bytes }))
    }
}
