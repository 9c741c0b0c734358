//! `check-targets`: the workspace type-checks for platforms that it cannot be run on here.
//!
//! With the targets that rustup has installed; else with a std built from Debian's sources (`apt-get install cargo-web
//! rust-web-src`); else it is skipped aloud.

use crate::{
    outcome::{Outcome, Ran},
    process::{command, output, run},
};
use std::{path::Path, process::Command};

const TARGETS: [&str; 2] = ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"];
/// The benches measure Linux.
const CHECK: &[&str] =
    &["check", "--locked", "--workspace", "--exclude", "benches", "--all-targets", "--target"];
/// Debian's own, beside whatever rustup has: only it fits the sources.
const DEBIAN: [&str; 3] =
    ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/lib/rustlib/src/rust/library/Cargo.lock"];

/// Checks what can be checked here.
///
/// # Errors
/// The targets that do not type-check, or that io_uring has not vanished from.
pub(crate) fn run_all() -> Ran {
    let installed = output(&mut command("rustup", ["target", "list", "--installed"])).unwrap_or_default();
    let (mut checked, mut lacking, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for target in TARGETS {
        if let Err(text) = without_rings(target) {
            failed.push(text);
        }
        let check = if installed.lines().any(|line| line == target) {
            with_rustup(target)
        } else if DEBIAN.iter().all(|path| Path::new(path).exists()) {
            with_sources(target)
        } else {
            lacking.push(target);
            continue;
        };
        println!("== {target}");
        match run(&mut { check }) {
            Ok(()) => checked.push(target),
            Err(text) => failed.push(format!("{target}: {text}")),
        }
    }
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    if lacking.is_empty() {
        return Ok(Outcome::Done(checked.join(", ")));
    }
    let (lacking, checked) = (lacking.join(" "), checked.join(" "));
    Ok(Outcome::Skipped(format!(
        "not installed: {lacking}; rustup target add {lacking}, or apt-get install cargo-web rust-web-src (checked: {checked})"
    )))
}

fn with_rustup(target: &str) -> Command {
    command("cargo", CHECK.iter().chain(&[target, "--target-dir", "target/targets"]))
}

fn with_sources(target: &str) -> Command {
    let [cargo, rustc, _] = DEBIAN;
    let mut check =
        command(cargo, CHECK.iter().chain(&[target, "--target-dir", "target/targets-web", "-Zbuild-std"]));
    // What rustup's cargo, which runs this, tells its children of itself.
    for variable in ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "CARGO", "RUSTDOC"] {
        check.env_remove(variable);
    }
    // A std that is built from source is checked with our flags, and is not ours to warn about.
    check.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "");
    check
}

/// The facade's default features do not bring the rings in: no flag has to be set there.
fn without_rings(target: &str) -> Result<(), String> {
    let args =
        ["tree", "--locked", "--package", "disk-cache", "--edges", "normal", "--prefix", "none", "--target"];
    let tree = output(&mut command("cargo", args.iter().chain(&[target])))?;
    let rings = ["backend-uring ", "io-uring ", "tokio-uring "];
    match tree.lines().find(|line| rings.iter().any(|name| line.starts_with(name))) {
        Some(line) => Err(format!("{target}: disk-cache depends on {line}")),
        None => Ok(()),
    }
}
