//! `bench`: the measuring programs, built and run.

use crate::{
    outcome::{Outcome, Ran},
    process::{self, command, output, repo},
};
use clap::Args;
use std::{path::PathBuf, process::Command};

/// What to measure, and what to do with it.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to measure (see --list); everything unless said
    rows: Vec<String>,
    /// Rough, in a few minutes
    #[arg(long)]
    quick: bool,
    /// Say what can be measured
    #[arg(long)]
    list: bool,
    /// Keep what is measured in docs/performance and write docs/performance.md from all that is kept there
    #[arg(long)]
    report: bool,
    /// Leave other caches out, which take a minute or two to build
    #[arg(long)]
    no_peers: bool,
    /// Instead of measuring, count what operations cost and compare it with the kept baseline
    #[arg(long, conflicts_with_all = ["rows", "quick", "list", "report"])]
    check: bool,
    /// Keep what is counted as the new baseline
    #[arg(long, requires = "check")]
    bless: bool,
    /// More options for the load command, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

const PEERS: &str = "benches/peers/Cargo.toml";
const KEPT: &str = "docs/performance";

/// The folder of the package that brings other caches.
pub(crate) fn peers() -> PathBuf {
    repo().join("benches/peers")
}

/// Measures, or counts.
///
/// # Errors
/// What failed; of `--check`, what costs more than before.
pub(crate) fn run(options: &Options) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("what is measured beside are Linux's system calls".to_owned()));
    }
    if options.check {
        return check(options.bless);
    }
    let peers = !options.no_peers && !options.list && built_with_peers();
    if options.list {
        return process::run(program(false).args(["load", "--help"])).map(Outcome::from);
    }
    let mut load = program(peers);
    load.arg("load").args(&options.rows).args(&options.more);
    load.args(options.quick.then_some("--quick"));
    load.args(if options.report { &["--save", KEPT][..] } else { &[] });
    process::run(&mut load)?;
    if options.report {
        process::run(program(peers).arg("report"))?;
    }
    Ok(Outcome::from(()))
}

/// Other caches come from a registry: where none can be reached, the rest is measured without them.
fn built_with_peers() -> bool {
    println!("building other caches to stand beside ({PEERS})");
    let args = ["build", "--release", "--locked", "--manifest-path", PEERS, "--target-dir", "target"];
    match output(&mut command("cargo", args)) {
        Ok(_) => true,
        Err(reason) => {
            println!("SKIPPED: other caches cannot be built here: {reason}");
            false
        }
    }
}

fn program(peers: bool) -> Command {
    let manifest = if peers { PEERS } else { "benches/Cargo.toml" };
    let args = ["run", "--release", "--quiet", "--manifest-path", manifest, "--target-dir", "target", "--"];
    command("cargo", args)
}

/// Compares counted costs with the kept baseline, or keeps them.
///
/// # Errors
/// The costs that are more than before.
pub(crate) fn check(bless: bool) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("what is counted are Linux's system calls".to_owned()));
    }
    let mut args = vec!["run", "--release", "-p", "benches", "--bin", "costs", "--", "check"];
    args.extend(bless.then_some("--bless"));
    let mut skipped = Vec::new();
    let mut counting = command("cargo", args);
    let status = process::lines(&mut counting, |_, line| {
        println!("{line}");
        skipped.extend(line.strip_prefix("SKIPPED: ").map(str::to_owned));
    })?;
    process::ended(&counting, status)?;
    if skipped.is_empty() {
        Ok(Outcome::Done("nothing costs more".to_owned()))
    } else {
        Ok(Outcome::Skipped(skipped.join("; ")))
    }
}
