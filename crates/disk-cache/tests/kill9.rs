//! A process is killed with SIGKILL, again and again, and the directory is opened after each kill.
//!
//! The test runs itself as a child that works on the cache and tells its parent, through a pipe, what it begins and what was
//! acknowledged. The parent keeps the oracle, kills the child at a seeded moment (every tenth one while it opens), and
//! compares: every second time on a copy, so that the next child opens what the killed one left.
//!
//! `DISK_CACHE_KILLS` sets how many kills per backend, `DISK_CACHE_SEED` which moments, `DISK_CACHE_BACKEND` (`tokio`,
//! `io-uring`) the only backend; without it both, and io_uring is reported as ignored where it does not open.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

mod common;
#[path = "kill9/oracle.rs"]
mod oracle;
#[path = "kill9/work.rs"]
mod work;

use cache_testkit::{Rng, tried};
use disk_cache::BackendChoice;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use oracle::Oracle;
use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::RwLock,
    time::{Duration, Instant},
};
use work::{CAPACITY, PREFIX, choice, name, runtime};

const BACKENDS: [(&str, BackendChoice); 2] =
    [("tokio", BackendChoice::Tokio), ("io_uring", BackendChoice::IoUring)];

fn main() -> ExitCode {
    cache_testkit::log_to_file();
    if let Some(dir) = env::var_os("DISK_CACHE_KILL9_DIR") {
        work::child(Path::new(&dir));
    }
    let only = env::var("DISK_CACHE_BACKEND").ok().map(|name| choice(&name));
    let trials = BACKENDS.into_iter().filter(|(_, backend)| only.is_none_or(|only| only == *backend));
    let trials = trials.map(|(prefix, backend)| {
        let name = format!("{prefix}::what_was_acknowledged_survives_a_kill_at_any_moment");
        Trial::ignorable_test(name, move || trial(backend))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn trial(backend: BackendChoice) -> Result<Completion, Failed> {
    if !cfg!(unix) {
        return Ok(Completion::ignored_with(
            "a killed process may keep its lock for a while where there is no SIGKILL",
        ));
    }
    if backend == BackendChoice::IoUring
        && let Some(ended) = common::without_io_uring()
    {
        return ended;
    }
    let number = |name, default: u64| env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    what_was_acknowledged_survives_a_kill_at_any_moment(
        backend,
        number("DISK_CACHE_KILLS", 25),
        number("DISK_CACHE_SEED", 1),
    );
    Ok(Completion::Completed)
}

/// Caches that are killed at the same time: each waits for the device most of the time.
const LANES: u64 = 4;
/// A child that is just being forked holds what this process has open, locks among them: no cache is open here meanwhile.
static FORKS: RwLock<()> = RwLock::new(());

fn what_was_acknowledged_survives_a_kill_at_any_moment(backend: BackendChoice, kills: u64, seed: u64) {
    let begun = Instant::now();
    println!("kill -9: {}, seed {seed}", name(backend));
    let operations: u64 = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let mine = (lane..kills).step_by(LANES as usize);
                scope.spawn(move || kill_again_and_again(backend, mine, Rng::new(seed).fork(lane)))
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    let (name, seconds) = (name(backend), begun.elapsed().as_secs_f64());
    println!("kill -9: {name}, seed {seed}, {kills} kills, {operations} operations, {seconds:.1} s");
    tried(kills, &format!("kills on {name}"));
}

/// Performs the kills of these numbers on one directory; how many operations it lived through.
fn kill_again_and_again(backend: BackendChoice, kills: impl Iterator<Item = u64>, mut rng: Rng) -> u64 {
    let base = common::directory();
    let (dir, mut oracle) = (base.path().join("cache"), Oracle::default());
    for kill in kills {
        cycle(&dir, backend, &mut oracle, &mut rng, kill % 10 == 9);
        let used = disk_bytes(&dir);
        assert!(used <= CAPACITY + 8192, "{used} bytes after kill {kill}");
        let on_copy = rng.chance(1, 2);
        let checked = if on_copy { base.path().join("copy") } else { dir.clone() };
        if on_copy {
            copy(&dir, &checked);
        }
        {
            let _no_fork = FORKS.read().unwrap();
            runtime().block_on(oracle.check(&checked, backend));
        }
        if on_copy {
            std::fs::remove_dir_all(&checked).unwrap();
        }
    }
    assert!(!oracle.evicted, "too small a cache to tell losses");
    oracle.serial
}

/// Runs one child and kills it. `while_opening`: at a moment of its open.
fn cycle(dir: &Path, backend: BackendChoice, oracle: &mut Oracle, rng: &mut Rng, while_opening: bool) {
    let no_check = FORKS.write().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .env("DISK_CACHE_KILL9_DIR", dir)
        .env("DISK_CACHE_KILL9_SEED", rng.next_u64().to_string())
        .env("DISK_CACHE_KILL9_SERIAL", (oracle.serial + 1).to_string())
        .env("DISK_CACHE_BACKEND", name(backend))
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    drop(no_check);
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
