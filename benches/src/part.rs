//! Parts that need a process of their own: to be killed, or to have their memory seen alone. The rows start them.

use crate::{
    Result,
    client::{Client, Pace, Work},
    http,
    measure::{Done, resident},
    options::Backends,
    peer_process,
    store::Peer,
};
use bytes::Bytes;
use cache_index::{Entry, Flags, Index, Position, SegmentId, Tag};
use clap::{Args, Subcommand, ValueEnum};
use disk_cache::{ByteSize, CacheKey, DiskCache};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Bodies are short here: it is their number that matters.
const BODY: usize = 100;
const TASKS: usize = 64;

/// What such a process does.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// Inserts entries into a new cache
    Fill(Cache),
    /// Opens a cache
    Open(Cache),
    /// Is the process of another cache, told what to do line by line
    Peer {
        /// Whose
        name: String,
    },
    /// Sends bodies to proxies
    Origin {
        /// Where it listens
        addr: SocketAddr,
        /// Bytes of the longest body
        longest: usize,
    },
    /// Runs a program until standard input ends
    Hold {
        /// The program with its arguments
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Fills an index alone
    Index {
        /// How many
        entries: usize,
    },
}

/// Which cache.
#[derive(Args, Clone, Debug)]
pub struct Cache {
    /// Its directory
    pub dir: PathBuf,
    /// How many entries it holds
    pub entries: usize,
    /// Its backend
    #[arg(value_enum)]
    pub backend: Backends,
    /// How the process ends
    #[arg(value_enum)]
    pub end: End,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// With the cache closed.
    Clean,
    /// By SIGKILL.
    Killed,
}

/// What it says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Said {
    /// Entries there are.
    pub entries: u64,
    /// Seconds that the part took.
    pub seconds: f64,
    /// Resident memory before.
    pub rss_before: u64,
    /// Resident memory at the end.
    pub rss: u64,
    /// Most resident memory there was.
    pub peak: u64,
}

/// Room for so many entries of these bodies.
pub fn capacity(entries: usize) -> ByteSize {
    ByteSize::bytes_of((entries as u64 * 400).max(64 << 20) + (256 << 20))
}

/// Starts such a process and waits for its end.
///
/// # Errors
/// Where it fails, or says nothing.
pub fn start(args: &[&str]) -> Result<Said> {
    let output = Command::new(std::env::current_exe()?).arg("part").args(args).output()?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("part {}: {}: {}", args.join(" "), output.status, complaint.trim()).into()
    })
}

/// Is such a process.
///
/// # Errors
/// Those of the cache.
#[expect(clippy::print_stdout, reason = "what it says is read by who started it")]
pub fn run(part: Part, peers: &[Box<dyn Peer>]) -> Result<()> {
    crate::fd_limit::raise()?;
    let rss_before = resident();
    let begun = Instant::now();
    let say = |entries, begun: Instant| {
        let seconds = begun.elapsed().as_secs_f64();
        let said = Said { entries, seconds, rss_before, rss: resident(), peak: peak() };
        println!("{}", serde_json::to_string(&said)?);
        Ok::<_, crate::Error>(())
    };
    match part {
        Part::Peer { name } => peer_process::run(peers, &name),
        Part::Origin { addr, longest } => Client::start()?.block_on(http::origin::serve(addr, longest)),
        Part::Hold { command } => http::held::hold(&command),
        Part::Index { entries } => {
            let index = filled_index(entries)?;
            say(index.len(), begun)
        }
        Part::Fill(asked) => {
            let client = Client::start()?;
            let (cache, entries) = (open(&client, &asked)?, asked.entries);
            let next = Arc::new(AtomicUsize::new(0));
            let work = |_| Insert { cache: cache.clone(), next: next.clone(), entries };
            let pace = Pace { time: Duration::from_secs(3600), sampled: true };
            client.drive((0..TASKS).map(work).collect(), pace, async { Ok(cache.flush().await?) })?;
            say(cache.stats().entries, begun)?;
            finish(&client, &cache, asked.end)
        }
        Part::Open(asked) => {
            let client = Client::start()?;
            let begun = Instant::now();
            let cache = open(&client, &asked)?;
            say(cache.stats().entries, begun)?;
            finish(&client, &cache, asked.end)
        }
    }
}

fn open(client: &Client, asked: &Cache) -> Result<DiskCache> {
    let builder = DiskCache::builder(&asked.dir).backend(asked.backend.choices()[0]);
    Ok(client.block_on(builder.capacity(capacity(asked.entries)).open())?)
}

fn finish(client: &Client, cache: &DiskCache, end: End) -> Result<()> {
    if end == End::Killed {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    }
    Ok(client.block_on(cache.close())?)
}

/// Most resident memory that the process has had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

struct Insert {
    cache: DiskCache,
    next: Arc<AtomicUsize>,
    entries: usize,
}

impl Work for Insert {
    async fn step(&mut self) -> Result<Option<Done>> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if n >= self.entries {
            return Ok(None);
        }
        self.cache.insert(&CacheKey::new("bench", n.to_string()), Bytes::from_static(&[7; BODY])).await?;
        Ok(Some(Done { hit: true, bytes: BODY as u64 }))
    }
}

fn filled_index(entries: usize) -> Result<Index<()>> {
    const RECORD: u64 = 4 << 10;
    const PER_SEGMENT: u64 = 16 << 10;
    let index = Index::new(72);
    let segments = u32::try_from(entries as u64 / PER_SEGMENT)? + 2;
    index.attach_all((1..segments).map(|n| (SegmentId::new(n), ())));
    let mut tags = crate::rng::Rng::new(1);
    for n in 0..entries as u64 {
        let segment = SegmentId::new(1 + u32::try_from(n / PER_SEGMENT)?);
        let position = Position::new(segment, n % PER_SEGMENT * RECORD);
        let entry =
            Entry { position, len: RECORD as u32, expires_ms: n + 1, flags: Flags::default(), object: None };
        index.publish(Tag(tags.next_u64()), entry);
    }
    Ok(index)
}
