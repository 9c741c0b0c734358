//! `bench`: the measuring programs, built and run.

use crate::{
    outcome::{Outcome, Ran},
    process::{self, command, found, output, repo},
};
use clap::Args;
use std::{ffi::OsString, path::PathBuf, process::Command};

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
    /// Leave other caches out, and the Pingora example, which take minutes to build
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
/// Rows that start the example proxies.
const PROXY_ROWS: [&str; 2] = ["proxies", "thundering-herd"];
const PINGORA: &str = "crates/pingora-disk-cache";
/// Where the report takes what was measured from.
pub(crate) const KEPT: &str = "docs/performance";

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
    if options.rows.is_empty() || options.rows.iter().any(|row| PROXY_ROWS.contains(&row.as_str())) {
        load.args(proxies(!options.no_peers));
    }
    load.args(if options.report { &["--save", KEPT][..] } else { &[] });
    process::run(&mut load)?;
    if options.report {
        process::run(program(peers).arg("report"))?;
    }
    Ok(Outcome::from(()))
}

/// Writes the report anew from what is kept.
pub(crate) fn draw() -> Result<(), String> {
    process::run(program(false).arg("report"))
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

/// Builds the example proxies; the options that say where they are.
fn proxies(peers: bool) -> Vec<OsString> {
    println!("building the example proxies");
    let build = ["build", "--release", "--locked", "--example", "proxy"];
    let example = output(command("cargo", build).args(["-p", "disk-cache", "--target-dir", "target"]));
    let mut options = option("--example-proxy", example, "target");
    if peers && !found("cmake") {
        println!("SKIPPED: the Pingora example: cmake is not installed, which Pingora needs");
    } else if peers {
        let mut pingora = command("cargo", build);
        pingora.current_dir(repo().join(PINGORA)).args(["--target-dir", "../../target/pingora-disk-cache"]);
        options.extend(option("--pingora-proxy", output(&mut pingora), "target/pingora-disk-cache"));
    }
    options
}

/// The option for an example that was built below `target`; none where it was not.
fn option(name: &str, built: Result<String, String>, target: &str) -> Vec<OsString> {
    match built {
        Ok(_) => vec![name.into(), repo().join(target).join("release/examples/proxy").into()],
        Err(reason) => {
            println!("SKIPPED: what {name} is for cannot be built here: {reason}");
            Vec::new()
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
