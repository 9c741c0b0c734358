//! A thundering herd: a thousand clients ask at once for one large body that is not cached.

use crate::{
    Result,
    bench::Bench,
    candidate::{Candidate, Outcome, compare},
    finding::{Bound, Figure},
    http::{
        bodies::Bodies,
        client::Connection,
        origin::Origin,
        proxy::{Program, Proxy},
    },
    measure::{Done, Measure, Meter, Tally},
};
use disk_cache::ByteSize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Barrier, task::JoinSet};

const CLIENTS: usize = 1000;
/// Rough: as many as a machine has room for beside everything else.
const QUICK_CLIENTS: usize = 100;
const LEN: usize = 50_000_000;
const CAPACITY: ByteSize = ByteSize::gib(1);
/// How long the origin thinks: the whole herd has asked by then.
const THINKING: Duration = Duration::from_millis(500);

const ASKED: Figure = Figure::Value("times the origin was asked");
const LAG: Figure = Figure::Value("ms after the leader, p99");
const GROWTH: Figure = Figure::Value("MiB more memory at the peak");

const ONE_MACHINE: &str = "a thousand connections get their first piece one after the other, and the clients, who read and compare all they get, \
     have the same two processors: nginx's and the Pingora example's figures in the same row are of the same clients \
     (`cargo xtask bench thundering-herd`)";

/// Measures `herd`: of the example proxy it is an error where the origin is asked more than once.
///
/// # Errors
/// Where a process does not start, an answer is wrong, or the example's herd costs more than one request.
pub fn run(bench: &Bench) -> Result<Vec<Outcome>> {
    let clients = if bench.options.quick { QUICK_CLIENTS } else { CLIENTS };
    let (origin, bodies) = (Origin::start(bench, LEN)?, Bodies::new(LEN));
    let mut group = Vec::new();
    for program in Program::all(bench) {
        let (origin, bodies) = (&origin, &bodies);
        let is_example = program.is_example();
        let candidate = Candidate::new("herd", program.name().to_owned(), move || {
            let proxy = program.start(bench, origin.addr(), CAPACITY)?;
            let measure = herd(bench, origin, bodies, &proxy, clients)?;
            if is_example && measure.value("times the origin was asked") > 1.0 {
                return Err("the herd cost more than one request".into());
            }
            proxy.end()?;
            Ok(measure)
        });
        group.push(if is_example {
            candidate
                .within(ASKED, Bound::AtMost(1.0))
                .within(LAG, Bound::AtMost(50.0))
                .because(ONE_MACHINE)
                .within(GROWTH, Bound::AtMost(256.0))
        } else {
            candidate.shows(ASKED).shows(LAG).shows(GROWTH)
        });
    }
    compare(group, 1)
}

/// What one client saw.
struct Seen {
    cache: String,
    /// When the first byte of the body came.
    first: Instant,
    last: Instant,
}

fn herd(bench: &Bench, origin: &Origin, bodies: &Bodies, proxy: &Proxy, clients: usize) -> Result<Measure> {
    bench.client.block_on(async {
        let asked = origin.asked().await?;
        let (before, _) = proxy.held.memory();
        let (begin, mut tasks) = (Arc::new(Barrier::new(clients + 1)), JoinSet::new());
        let expected = bodies.body(LEN, 0);
        for _ in 0..clients {
            // All are connected before the first one asks.
            let connection = Connection::open(proxy.held.addr()).await?;
            tasks.spawn(ask(connection, expected.clone(), begin.clone()));
        }
        let meter = Meter::start();
        begin.wait().await;
        let (started, mut tally, mut all) = (Instant::now(), Tally::default(), Vec::new());
        while let Some(seen) = tasks.join_next().await {
            let seen = seen??;
            tally.took(seen.last.duration_since(started));
            tally.count(Done { hit: seen.cache != "MISS", bytes: LEN as u64 });
            all.push(seen);
        }
        let measure = meter.finish(tally);
        let asked = origin.asked().await? - asked;
        let (_, peak) = proxy.held.memory();
        all.sort_by_key(|seen| seen.first);
        let leader = all.iter().find(|seen| seen.cache == "MISS").or(all.first()).ok_or("no clients")?.first;
        let since = |moment: Instant| moment.duration_since(started).as_secs_f64() * 1e3;
        // Below zero for those that are served before the leader is.
        let lag = |share: usize| since(all[(all.len() - 1) * share / 100].first) - since(leader);
        let joined = all.iter().filter(|seen| seen.cache == "JOINED").count();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let note = format!(
            "{clients} clients, {LEN} bytes each, all equal; the origin was asked {asked} times; {joined} joined; the first byte \
             came {:.1} ms after they asked, to the others {:.1} ms (median), {:.1} ms (99 of 100), {:.1} ms (last) after that; \
             memory {:.0} MiB before, {:.0} at the peak",
            since(leader),
            lag(50),
            lag(99),
            lag(100),
            mib(before),
            mib(peak),
        );
        Ok(measure
            .with_note(note)
            .with_value("times the origin was asked", asked as f64)
            .with_value("ms after the leader, p99", lag(99))
            .with_value("MiB more memory at the peak", mib(peak) - mib(before)))
    })
}

async fn ask(mut connection: Connection, expected: bytes::Bytes, begin: Arc<Barrier>) -> Result<Seen> {
    begin.wait().await;
    let (mut at, mut equal, mut first) = (0, true, None);
    let path = format!("/{LEN}/0?wait={}", THINKING.as_millis());
    let head = connection.get(&path, |piece| {
        if !piece.is_empty() {
            first.get_or_insert_with(Instant::now);
        }
        equal &= expected.get(at..at + piece.len()) == Some(piece);
        at += piece.len();
    });
    let head = head.await?;
    let last = Instant::now();
    match first {
        Some(first) if equal && at == LEN => Ok(Seen { cache: head.cache, first, last }),
        _ => Err("a client got the wrong bytes".into()),
    }
}
