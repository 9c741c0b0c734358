//! `pingora-disk-cache`: the package outside the workspace, in its own folder and with its own lock file.

use crate::{
    outcome::{Outcome, Ran},
    process::{self, command, found, repo},
};
use std::path::PathBuf;

/// What it has to pass, as the workspace has to.
const CHECKS: &[&str] = &["fmt --check", "clippy --locked --all-targets -- -D warnings", "test --locked"];

/// What its dependencies have to pass, which the workspace's lock file does not name.
const DENY: &str = "deny check bans licenses sources";

/// Its folder.
pub(crate) fn folder() -> PathBuf {
    repo().join("crates/pingora-disk-cache")
}

/// # Errors
/// The first check that failed.
pub(crate) fn run() -> Ran {
    if cfg!(windows) {
        return Ok(Outcome::Skipped("its tests need Unix sockets and signals".to_owned()));
    }
    if !found("cmake") {
        return Ok(Outcome::Skipped("cmake is not installed, which Pingora needs".to_owned()));
    }
    for check in CHECKS {
        println!("crates/pingora-disk-cache$ cargo {check}");
        process::run(command("cargo", check.split(' ')).current_dir(folder()))?;
    }
    if !found("cargo-deny") {
        return Ok(Outcome::Done(
            "without its dependencies' licences: cargo-deny is not installed".to_owned(),
        ));
    }
    process::run(command("cargo", DENY.split(' ')).current_dir(folder()))?;
    Ok(Outcome::Done(String::new()))
}
