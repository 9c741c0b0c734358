//! A process is killed with SIGKILL, again and again, and the directory is opened after each kill.
//!
//! The test runs itself as a child that works on the cache and tells its parent, through a pipe, what it begins and what was
//! acknowledged. The parent keeps the oracle, kills the child at a seeded moment (every tenth one while it opens), and
//! compares: every second time on a copy, so that the next child opens what the killed one left.
//!
//! `DISK_CACHE_KILLS` sets how many kills per backend, `DISK_CACHE_SEED` which moments, `DISK_CACHE_BACKEND` (`tokio`,
//! `io-uring`) the backend; without it every one that works here.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]
#![cfg(unix)]

use bytes::Bytes;
use cache_testkit::{Loss, Model, Rng, Seen, Stored, Ticket, tried};
use disk_cache::{
    BackendChoice, ByteSize, CacheKey, DiskCache, Durability, Error, Expiry, GetOptions, InsertOptions,
    PurgeScope,
};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const KEYS: u64 = 10;
const CAPACITY: u64 = 2 << 20;
const SELF: &str = "what_was_acknowledged_survives_a_kill_at_any_moment";
/// Longer than any operation on any machine takes.
const FOREVER: Duration = Duration::from_secs(60);
const PREFIX: &str = "kill9 ";

/// What the child does, and how it says so in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Insert { key: u64, len: usize, level: Durability },
    Remove { key: u64, level: Durability },
    Meta { key: u64 },
    Purge { namespace: u64 },
    Flush,
}

impl Verb {
    fn random(rng: &mut Rng) -> Self {
        let key = rng.below(KEYS);
        let level = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        match rng.below(20) {
            0..=11 => Self::Insert { key, len: rng.below(1500) as usize, level },
            12..=13 => Self::Insert { key, len: 2100 + rng.below(6000) as usize, level },
            14..=15 => Self::Remove { key, level },
            16..=17 => Self::Meta { key },
            18 => Self::Purge { namespace: rng.below(2) },
            _ => Self::Flush,
        }
    }

    fn say(self) -> String {
        let number = |level| level as u8;
        match self {
            Self::Insert { key, len, level } => format!("insert {key} {len} {}", number(level)),
            Self::Remove { key, level } => format!("remove {key} {}", number(level)),
            Self::Meta { key } => format!("meta {key}"),
            Self::Purge { namespace } => format!("purge {namespace}"),
            Self::Flush => "flush".to_owned(),
        }
    }

    fn hear(words: &[&str]) -> Option<Self> {
        let number = |n: usize| words.get(n).and_then(|w| w.parse::<u64>().ok());
        let level = |n| match number(n)? {
            0 => Some(Durability::Buffered),
            1 => Some(Durability::Written),
            _ => Some(Durability::Synced),
        };
        Some(match *words.first()? {
            "insert" => Self::Insert { key: number(1)?, len: number(2)? as usize, level: level(3)? },
            "remove" => Self::Remove { key: number(1)?, level: level(2)? },
            "meta" => Self::Meta { key: number(1)? },
            "purge" => Self::Purge { namespace: number(1)? },
            "flush" => Self::Flush,
            _ => return None,
        })
    }
}

fn key(n: u64) -> CacheKey {
    CacheKey::new(namespace(n % 2), format!("path-{n}"))
}

fn namespace(n: u64) -> String {
    format!("namespace-{n}")
}

fn meta(serial: u64) -> Bytes {
    format!("meta {serial}").into()
}

/// Every eight bytes tell the operation that stored them.
fn body(serial: u64, len: usize) -> Bytes {
    serial.to_le_bytes().iter().copied().cycle().take(len).collect::<Vec<_>>().into()
}

async fn open(dir: &Path, backend: BackendChoice) -> Result<DiskCache, Error> {
    DiskCache::builder(dir)
        .capacity(ByteSize::bytes_of(CAPACITY))
        .segment_size(ByteSize::kib(16))
        .write_buffer(ByteSize::kib(64))
        .min_free_space(ByteSize::bytes_of(0))
        .flush_interval(Duration::from_millis(2))
        .max_write_amplification(100.0)
        .backend(backend)
        .open()
        .await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One write of one line: nothing of it is left in this process.
fn tell(line: &str) {
    std::io::stdout().lock().write_all(format!("{PREFIX}{line}\n").as_bytes()).unwrap();
}

/// The child: works until it is killed.
fn child(dir: &Path) -> ! {
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (mut rng, first) = (Rng::new(number("DISK_CACHE_KILL9_SEED")), number("DISK_CACHE_KILL9_SERIAL"));
    runtime().block_on(async {
        tell("opening");
        let cache = open(dir, choice(&std::env::var("DISK_CACHE_BACKEND").unwrap())).await.unwrap();
        tell("opened");
        for serial in first.. {
            let verb = Verb::random(&mut rng);
            tell(&format!("begin {serial} {}", verb.say()));
            let Ok(did) = tokio::time::timeout(FOREVER, perform(&cache, serial, verb)).await else {
                panic!("{verb:?} waits for ever: {:?}", cache.stats());
            };
            tell(&format!("done {serial} {did}"));
            let stats = cache.stats();
            if stats.evictions + stats.early_evictions > 0 {
                tell("evicted");
            }
        }
    });
    unreachable!("serials do not end")
}

/// Whether it did something.
async fn perform(cache: &DiskCache, serial: u64, verb: Verb) -> bool {
    match verb {
        Verb::Insert { key: n, len, level } => {
            let options = InsertOptions::new().meta(meta(serial)).durability(level);
            cache.insert_with(&key(n), body(serial, len), options).await.unwrap();
        }
        Verb::Remove { key: n, level } => {
            cache.remove_with(&key(n), level).await.unwrap();
        }
        Verb::Meta { key: n } => {
            return cache.update_meta(&key(n), meta(serial), Expiry::Never).await.unwrap();
        }
        Verb::Purge { namespace: n } => {
            cache.purge(PurgeScope::Namespace(namespace(n).into())).await.unwrap();
        }
        Verb::Flush => cache.flush().await.unwrap(),
    }
    true
}

/// What the parent heard.
#[derive(Default)]
struct Oracle {
    model: Model,
    lines: u64,
    serial: u64,
    begun: HashMap<u64, (Verb, Option<Ticket>)>,
    evicted: bool,
}

impl Oracle {
    fn hear(&mut self, line: &str) {
        self.lines += 1;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["begin", serial, rest @ ..] => {
                let serial: u64 = serial.parse().unwrap();
                self.serial = serial;
                let verb = Verb::hear(rest).unwrap();
                let ticket = self.begin(serial, verb);
                self.begun.insert(serial, (verb, ticket));
            }
            ["done", serial, did] => {
                let (verb, ticket) = self.begun.remove(&serial.parse().unwrap()).unwrap();
                match (verb, ticket) {
                    (Verb::Flush, _) => self.model.flushed(self.lines),
                    (_, Some(ticket)) if *did == "false" => self.model.withdraw(ticket),
                    (_, None) => assert_eq!(*did, "false", "{verb:?} found what cannot be there"),
                    (Verb::Insert { level, .. } | Verb::Remove { level, .. }, Some(ticket)) => {
                        self.model.acknowledge(ticket, self.lines, level);
                    }
                    (Verb::Meta { .. }, Some(ticket)) => {
                        self.model.acknowledge(ticket, self.lines, Durability::Buffered);
                    }
                    (Verb::Purge { .. }, Some(ticket)) => {
                        self.model.acknowledge(ticket, self.lines, Durability::Synced);
                    }
                }
            }
            ["evicted"] => self.evicted = true,
            _ => {}
        }
    }

    fn begin(&mut self, serial: u64, verb: Verb) -> Option<Ticket> {
        let (model, now) = (&mut self.model, self.lines);
        Some(match verb {
            Verb::Insert { key: n, len, .. } => {
                let out_of_line = len > 2048;
                let stored =
                    Stored { body: body(serial, len), meta: meta(serial), out_of_line, ..Stored::default() };
                model.insert(now, &key(n), stored)
            }
            Verb::Remove { key: n, .. } => model.remove(now, &key(n)),
            Verb::Meta { key: n } => return model.update_meta(now, &key(n), meta(serial), None),
            Verb::Purge { namespace: n } => {
                let scope = PurgeScope::Namespace(namespace(n).into());
                model.purge(now, scope, disk_cache::PurgeMode::Remove)
            }
            Verb::Flush => return None,
        })
    }

    /// Opens what the killed process left and compares.
    async fn check(&mut self, dir: &Path, backend: BackendChoice) {
        let cache = open(dir, backend).await.unwrap();
        let stats = cache.stats();
        self.evicted |= stats.evictions + stats.early_evictions > 0;
        for n in 0..KEYS {
            let seen = match cache
                .get_with(&key(n), GetOptions::new().peek(true).allow_stale(true))
                .await
                .unwrap()
            {
                None => None,
                Some(hit) => {
                    let body = hit.bytes().await.unwrap();
                    Some(Seen { body, meta: hit.meta().clone(), stale: hit.is_stale() })
                }
            };
            let permitted = self.model.permitted(&key(n), Loss::Kill, u64::MAX);
            if let Err(wrong) = permitted.check(seen.as_ref(), 0, self.evicted) {
                panic!("key {n}: {wrong}");
            }
            self.model.settle(&key(n), Loss::Kill, seen.as_ref(), self.evicted);
        }
        self.begun.clear();
        cache.close().await.unwrap();
    }
}

/// Bytes on disk, in blocks.
fn disk_bytes(dir: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let of = entry.metadata().unwrap();
        sum += if of.is_dir() { disk_bytes(&entry.path()) } else { of.len().next_multiple_of(4096) };
    }
    sum
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn name(backend: BackendChoice) -> &'static str {
    if backend == BackendChoice::IoUring { "io-uring" } else { "tokio" }
}

fn choice(name: &str) -> BackendChoice {
    if name == "io-uring" { BackendChoice::IoUring } else { BackendChoice::Tokio }
}

/// Runs one child and kills it. `while_opening`: at a moment of its open.
fn cycle(dir: &Path, backend: BackendChoice, oracle: &mut Oracle, rng: &mut Rng, while_opening: bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", SELF, "--nocapture"])
        .env("DISK_CACHE_KILL9_DIR", dir)
        .env("DISK_CACHE_KILL9_SEED", rng.next_u64().to_string())
        .env("DISK_CACHE_KILL9_SERIAL", (oracle.serial + 1).to_string())
        .env("DISK_CACHE_BACKEND", name(backend))
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let last = if while_opening { "opening" } else { "" };
    let enough = 3 + rng.below(300);
    let mut line = String::new();
    let mut heard = 0;
    while heard < enough {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        let Some(said) = line.trim_end().strip_prefix(PREFIX) else { continue };
        heard += 1;
        oracle.hear(said);
        if said == last {
            break;
        }
    }
    // The moment within an operation, or within the open.
    std::thread::sleep(Duration::from_micros(rng.below(if while_opening { 8000 } else { 400 })));
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died; a line without an end was not said.
    line.clear();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(said) = line.strip_suffix('\n').and_then(|l| l.strip_prefix(PREFIX)) {
            oracle.hear(said);
        }
        line.clear();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    cache_testkit::log_to_file();
    if let Some(dir) = std::env::var_os("DISK_CACHE_KILL9_DIR") {
        child(Path::new(&dir));
    }
    let number =
        |name, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (kills, seed) = (number("DISK_CACHE_KILLS", 25), number("DISK_CACHE_SEED", 1));
    let backends = match std::env::var("DISK_CACHE_BACKEND") {
        Ok(name) => vec![choice(&name)],
        Err(_) => vec![BackendChoice::Tokio, BackendChoice::IoUring],
    };
    for backend in backends {
        let base = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir: PathBuf = base.path().join("cache");
        match runtime().block_on(open(&dir, backend)) {
            Ok(cache) => runtime().block_on(cache.close()).unwrap(),
            Err(Error::BackendUnavailable { reason, .. }) => {
                let required = std::env::var_os("DISK_CACHE_REQUIRE_IO_URING").is_some_and(|v| v == "1");
                assert!(!required, "io_uring is required and does not open: {reason}");
                println!("kill -9: {} does not work here: {reason}", name(backend));
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        println!("kill -9: {}, seed {seed}", name(backend));
        let (begun, mut rng, mut oracle) = (Instant::now(), Rng::new(seed), Oracle::default());
        for kill in 0..kills {
            if kill % 100 == 99 {
                println!(
                    "kill -9: {}, {} kills, {:.1} s",
                    name(backend),
                    kill + 1,
                    begun.elapsed().as_secs_f64()
                );
            }
            cycle(&dir, backend, &mut oracle, &mut rng, kill % 10 == 9);
            let used = disk_bytes(&dir);
            assert!(used <= CAPACITY + 8192, "{used} bytes after kill {kill}");
            let on_copy = rng.chance(1, 2);
            let checked = if on_copy { base.path().join("copy") } else { dir.clone() };
            if on_copy {
                copy(&dir, &checked);
            }
            runtime().block_on(oracle.check(&checked, backend));
            if on_copy {
                std::fs::remove_dir_all(&checked).unwrap();
            }
        }
        let Oracle { serial, evicted, .. } = oracle;
        assert!(!evicted, "too small a cache to tell losses");
        println!(
            "kill -9: {}, {kills} kills, {serial} operations, seed {seed}, {:.1} s",
            name(backend),
            begun.elapsed().as_secs_f64()
        );
        tried(kills, &format!("kills on {}", name(backend)));
    }
}
