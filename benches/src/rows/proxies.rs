//! Proxies side by side: the same bodies from the same origin through nginx and through both examples.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    client::{Pace, Work},
    finding::Figure,
    http::{
        bodies::Bodies,
        client::Connection,
        origin::Origin,
        proxy::{Program, Proxy},
    },
    measure::{Done, Measure},
    rng::Rng,
    zipf,
};
use disk_cache::ByteSize;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What is asked for, in which order and by how many.
#[derive(Clone, Copy, Debug)]
struct Load {
    row: &'static str,
    len: usize,
    urls: usize,
    connections: usize,
    capacity: ByteSize,
    order: Order,
}

/// Which URL comes next.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Any, of those that are cached already.
    Uniform,
    /// One that nobody has asked for.
    New,
    /// As a busy cache sees them.
    Zipf,
}

const SMALL: usize = 4 << 10;
const LARGE: usize = 10 << 20;
const MIDDLE: usize = 32 << 10;

const fn load(row: &'static str, len: usize, urls: usize, connections: usize, order: Order) -> Load {
    Load { row, len, urls, connections, capacity: ByteSize::gib(1), order }
}

const LOADS: [Load; 5] = [
    load("warm-4KiB", SMALL, 10_000, 64, Order::Uniform),
    load("warm-10MiB", LARGE, 24, 8, Order::Uniform),
    load("cold-4KiB", SMALL, 0, 64, Order::New),
    load("cold-10MiB", LARGE, 0, 8, Order::New),
    // Twice the capacity in bodies alone.
    Load { capacity: ByteSize::mib(256), ..load("half-32KiB", MIDDLE, 16_384, 64, Order::Zipf) },
];

/// Requests before the half is measured, for each of its URLs.
const TURNS: usize = 4;
/// The bytes of one body in so many are compared; the length of each is.
const VERIFIED: u64 = 16;

const REQUESTS: Figure = Figure::Value("requests/s");
const CPU: Figure = Figure::Value("CPU us of the proxy");
const RATIO: Figure = Figure::Value("hit ratio");

/// Measures all loads.
///
/// # Errors
/// Where a process does not start, or an answer is wrong.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let programs = Program::all(bench);
    let rig = Rig {
        bench,
        origin: Origin::start(bench, LARGE)?,
        bodies: Bodies::new(LARGE),
        new: Arc::default(),
        draws: zipf::draw(16_384, 0.9, 1 << 20, &mut Rng::new(1)).into(),
    };
    let mut outcomes = Vec::new();
    for load in &LOADS {
        outcomes.extend(rig.measure(load, &programs)?);
    }
    Ok(outcomes)
}

/// What all candidates share.
struct Rig<'a> {
    bench: &'a Bench,
    origin: Origin,
    bodies: Bodies,
    /// The next URL that nobody has asked for.
    new: Arc<AtomicUsize>,
    draws: Arc<[u32]>,
}

impl Rig<'_> {
    /// Measures the origin alone and through each proxy, in turns.
    fn measure(&self, load: &Load, programs: &[Program]) -> Result<Vec<Outcome>> {
        let mut proxies = Vec::new();
        for program in programs {
            let proxy = program.start(self.bench, self.origin.addr(), load.capacity)?;
            self.fill(&proxy, load)?;
            proxies.push(proxy);
        }
        let alone = || self.round(load, self.origin.addr());
        let mut group = vec![Candidate::new(load.row, "origin, no proxy", alone)];
        for (n, proxy) in proxies.iter().enumerate() {
            let candidate = Candidate::new(load.row, &proxy.name, || self.round_through(load, proxy));
            // nginx, where there is one.
            let candidate = match n {
                0 => candidate.shows(CPU),
                _ => candidate.against(1, REQUESTS).against(1, CPU).shows(CPU),
            };
            group.push(candidate.shows(RATIO));
        }
        let outcomes = compare(group, self.bench.options.rounds)?;
        proxies.into_iter().try_for_each(Proxy::end)?;
        Ok(outcomes)
    }

    /// Asks for what is to be cached before anything is measured.
    fn fill(&self, proxy: &Proxy, load: &Load) -> Result<()> {
        let count = match load.order {
            Order::Uniform => load.urls,
            Order::New => return Ok(()),
            Order::Zipf => load.urls * TURNS,
        };
        let next = Arc::new(AtomicUsize::new(0));
        let each = |_| match load.order {
            Order::Zipf => Next::Drawn { draws: self.draws.clone(), at: next.clone(), end: count },
            _ => Next::Each { at: next.clone(), end: count },
        };
        let pace = Pace { time: Duration::from_secs(600), sampled: true };
        self.ask(load, proxy.held.addr(), pace, each)?;
        Ok(())
    }

    /// One stretch, with what it cost the proxy and how often the origin was asked.
    fn round_through(&self, load: &Load, proxy: &Proxy) -> Result<Measure> {
        let asked = || self.bench.client.block_on(self.origin.asked());
        let (cpu, before) = (proxy.held.cpu_time(), asked()?);
        let measure = self.round(load, proxy.held.addr())?;
        let (cpu, missed) = (proxy.held.cpu_time().saturating_sub(cpu), asked()? - before);
        let requests = measure.ops();
        let mib = |bytes: u64| bytes >> 20;
        let note = format!(
            "the origin was asked {missed} times for {requests} requests; {} MiB on disk of {}, {} MiB of memory",
            mib(proxy.disk_bytes()?),
            mib(load.capacity.bytes()),
            mib(proxy.held.memory().0),
        );
        Ok(measure
            .with_note(note)
            .with_value("CPU us of the proxy", cpu.as_secs_f64() * 1e6 / requests.max(1) as f64)
            .with_value("hit ratio", 1.0 - missed as f64 / requests.max(1) as f64))
    }

    fn round(&self, load: &Load, addr: SocketAddr) -> Result<Measure> {
        self.bench.settle()?;
        // Everybody begins elsewhere, and elsewhere in each round.
        let begin = Rng::new(self.new.fetch_add(1, Ordering::Relaxed) as u64).below(self.draws.len());
        let shared = Arc::new(AtomicUsize::new(begin));
        let each = |task: usize| match load.order {
            Order::Uniform => Next::Uniform { rng: Rng::new((begin + task) as u64), urls: load.urls },
            Order::New => Next::Each { at: self.new.clone(), end: usize::MAX },
            Order::Zipf => Next::Drawn { draws: self.draws.clone(), at: shared.clone(), end: usize::MAX },
        };
        let measure = self.ask(load, addr, self.bench.pace(false), each)?;
        let rate = measure.ops_per_s();
        Ok(measure.with_value("requests/s", rate))
    }

    /// Opens the connections, then asks on all of them until time is up or there is nothing left to ask.
    fn ask(
        &self,
        load: &Load,
        addr: SocketAddr,
        pace: Pace,
        each: impl Fn(usize) -> Next,
    ) -> Result<Measure> {
        let client = &self.bench.client;
        let mut works = Vec::new();
        for task in 0..load.connections {
            let connection = client.block_on(Connection::open(addr))?;
            let (bodies, len) = (self.bodies.clone(), load.len);
            works.push(Ask { connection, bodies, len, next: each(task), asked: 0 });
        }
        client.drive(works, pace, async { Ok(()) })
    }
}

/// The number of the next URL.
enum Next {
    Uniform { rng: Rng, urls: usize },
    Each { at: Arc<AtomicUsize>, end: usize },
    Drawn { draws: Arc<[u32]>, at: Arc<AtomicUsize>, end: usize },
}

impl Next {
    fn take(&mut self) -> Option<usize> {
        let count = |at: &AtomicUsize, end| Some(at.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < end);
        match self {
            Self::Uniform { rng, urls } => Some(rng.below(*urls)),
            Self::Each { at, end } => count(at, *end),
            Self::Drawn { draws, at, end } => count(at, *end).map(|n| draws[n % draws.len()] as usize),
        }
    }
}

/// Asks for one URL after another on one connection, and verifies what comes.
struct Ask {
    connection: Connection,
    bodies: Bodies,
    len: usize,
    next: Next,
    asked: u64,
}

impl Work for Ask {
    async fn step(&mut self) -> Result<Option<Done>> {
        let Some(n) = self.next.take() else { return Ok(None) };
        let expected = self.bodies.body(self.len, n);
        let (mut at, mut equal, compares) = (0, true, self.asked.is_multiple_of(VERIFIED));
        self.asked += 1;
        let path = format!("/{}/{n}", self.len);
        let head = self.connection.get(&path, |piece| {
            equal &= !compares || expected.get(at..at + piece.len()) == Some(piece);
            at += piece.len();
        });
        let head = head.await?;
        if !equal || at != self.len {
            return Err(format!("{path}: the wrong bytes").into());
        }
        Ok(Some(Done { hit: head.cache == "HIT", bytes: head.len }))
    }
}
