//! All checks in order, and a table of what ran, what was skipped and why, and how long it took.

use crate::{
    docker::{
        self,
        linux::{IoUring, Where},
    },
    interrupt, lowest,
    outcome::{Outcome, Ran},
    pingora, plan,
    process::{self, command, found, output},
    targets, tidy,
};
use std::time::{Duration, Instant};

/// One check: its name, the command that runs it alone, and what stands in for the command here.
struct Step {
    name: &'static str,
    command: &'static str,
    run: fn(&'static str) -> Ran,
}

/// The step that takes as long as all others together.
const DOCKER: &str = "Linux in Docker";

/// The README's test command comes first: it is what a newcomer types. CONTRIBUTING.md lists these commands.
const STEPS: &[Step] = &[
    Step { name: "tests", command: "cargo test", run: plainly },
    Step { name: "format", command: "cargo fmt --all --check", run: plainly },
    Step { name: "clippy", command: "cargo clippy --workspace --all-targets -- -D warnings", run: plainly },
    Step { name: "docs", command: "cargo doc --no-deps --document-private-items", run: plainly },
    Step {
        name: "without io_uring",
        command: "cargo check -p disk-cache --no-default-features --all-targets",
        run: plainly,
    },
    Step { name: "tidy", command: "cargo xtask tidy", run: |_| tidy::run().map(Outcome::Done) },
    Step { name: "test plan", command: "cargo xtask test-plan", run: |_| plan::run().map(Outcome::Done) },
    Step { name: "lowest Rust", command: "cargo xtask lowest-rust", run: |_| lowest::run() },
    Step { name: "pingora-disk-cache", command: "cargo xtask pingora-disk-cache", run: |_| pingora::run() },
    Step { name: "dependencies", command: "cargo deny check bans licenses sources", run: deny },
    Step { name: "advisories", command: "cargo deny check advisories", run: advisories },
    Step { name: "other platforms", command: "cargo xtask check-targets", run: |_| targets::run_all() },
    Step { name: DOCKER, command: "cargo xtask test-linux --io-uring both", run: linux },
];

/// The randomised tests, what scales them, and how much of it takes about a minute on two cores.
const LONGER: &[(&str, &[(&str, u64)])] = &[
    ("cargo test -p cache-store --test model", &[("DISK_CACHE_CASES", 1_000)]),
    ("cargo test -p cache-store --test crash_states", &[("DISK_CACHE_STATES", 40_000)]),
    ("cargo test -p cache-store --test io_failures", &[("DISK_CACHE_FAULT_WORKLOADS", 2)]),
    ("cargo test -p disk-cache --test kill9", &[("DISK_CACHE_KILLS", 250)]),
];

/// The commands of all steps.
pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.command)
}

/// Runs every step and prints the table.
///
/// # Errors
/// The names of the steps that failed.
pub(crate) fn run(budget_minutes: Option<u64>, no_docker: bool) -> Result<(), String> {
    let mut table = Vec::new();
    for step in STEPS {
        let by_hand = no_docker && step.name == DOCKER;
        table.push(timed(step.name, step.command, || {
            if by_hand {
                return Ok(Outcome::Skipped(format!("left out by --no-docker, by hand: {}", step.command)));
            }
            (step.run)(step.command)
        }));
        interrupt::check()?;
    }
    for (test, scale) in LONGER.iter().filter(|_| budget_minutes.is_some()) {
        let minutes = budget_minutes.unwrap_or(1);
        table.push(timed("longer", test, || longer(test, scale, minutes)));
        interrupt::check()?;
    }
    print(&table);
    let failed: Vec<_> = table.iter().filter(|row| row.ran.is_err()).map(|row| row.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

struct Row {
    name: &'static str,
    ran: Ran,
    took: Duration,
}

fn timed(name: &'static str, command: &str, run: impl FnOnce() -> Ran) -> Row {
    println!("\n== {name}: {command}");
    let begun = Instant::now();
    let ran = run();
    let took = begun.elapsed();
    match &ran {
        Ok(Outcome::Done(_)) => {}
        Ok(Outcome::Skipped(reason)) => println!("SKIPPED: {reason}"),
        Err(text) => println!("FAILED: {text}"),
    }
    println!("-- {name}: {:.1} s", took.as_secs_f64());
    Row { name, ran, took }
}

fn print(table: &[Row]) {
    println!("\n{:<18} {:<8} {:>8}  why or what", "step", "result", "seconds");
    for Row { name, ran, took } in table {
        let (result, text) = match ran {
            Ok(Outcome::Done(text)) => ("ok", text),
            Ok(Outcome::Skipped(reason)) => ("SKIPPED", reason),
            Err(text) => ("FAILED", text),
        };
        let line = text.lines().next().unwrap_or_default();
        println!("{name:<18} {result:<8} {:>8.1}  {line}", took.as_secs_f64());
    }
    let all: Duration = table.iter().map(|row| row.took).sum();
    println!("{:<18} {:<8} {:>8.1}", "all", "", all.as_secs_f64());
}

/// The command as it stands.
fn plainly(line: &'static str) -> Ran {
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default();
    process::run(&mut command(program, words)).map(Outcome::from)
}

fn longer(test: &'static str, scale: &[(&str, u64)], minutes: u64) -> Ran {
    let mut words = test.split(' ');
    let mut longer = command(words.next().unwrap_or_default(), words);
    longer.envs(scale.iter().map(|(name, number)| (name, (number * minutes).to_string())));
    process::run(&mut longer).map(Outcome::from)
}

fn deny(line: &'static str) -> Ran {
    if !found("cargo-deny") {
        return Ok(Outcome::Skipped(
            "cargo-deny is not installed: cargo install --locked cargo-deny".to_owned(),
        ));
    }
    plainly(line)
}

fn advisories(line: &'static str) -> Ran {
    if !found("cargo-deny") {
        return Ok(Outcome::Skipped(
            "cargo-deny is not installed: cargo install --locked cargo-deny".to_owned(),
        ));
    }
    if let Err(reason) = output(&mut command("cargo", ["deny", "fetch", "db"])) {
        return Ok(Outcome::Skipped(format!("the database cannot be reached: {reason}")));
    }
    plainly(line)
}

/// Where a container can build this checkout, a failure is a failure; where none can, this machine lacks it.
fn linux(_: &'static str) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("by hand outside Linux: cargo xtask test-linux".to_owned()));
    }
    let place = Where::default();
    match docker::linux::ready(&place) {
        Ok(image) => docker::linux::test(&image, &place, IoUring::Both, &[]).map(Outcome::Done),
        Err(reason) => Ok(Outcome::Skipped(reason)),
    }
}
