//! `cargo deny`: who may be depended on, under which licence and from where; and what is known to be broken.

use crate::{
    bench, fuzz,
    outcome::{Outcome, Ran},
    process::{self, command, found, output, repo},
};
use std::path::PathBuf;

/// What the dependencies of every package have to pass.
pub(crate) const DEPENDENCIES: &str = "deny check bans licenses sources";

const NOT_INSTALLED: &str = "cargo-deny is not installed: cargo install --locked cargo-deny";

/// Those with a lock file of their own that nobody but us builds. `adapters` checks its own.
fn apart() -> [PathBuf; 2] {
    [bench::peers(), fuzz::folder()]
}

/// The workspace's dependencies, and those of the packages apart.
///
/// # Errors
/// The first that is not allowed.
pub(crate) fn dependencies() -> Ran {
    if !found("cargo-deny") {
        return Ok(Outcome::Skipped(NOT_INSTALLED.to_owned()));
    }
    for folder in [repo()].into_iter().chain(apart()) {
        println!("{}$ cargo {DEPENDENCIES}", folder.display());
        process::run(command("cargo", DEPENDENCIES.split(' ')).current_dir(folder))?;
    }
    Ok(Outcome::Done(String::new()))
}

/// What is known of the workspace's dependencies, where the database can be reached.
///
/// # Errors
/// What is known.
pub(crate) fn advisories() -> Ran {
    if !found("cargo-deny") {
        return Ok(Outcome::Skipped(NOT_INSTALLED.to_owned()));
    }
    if let Err(reason) = output(&mut command("cargo", ["deny", "fetch", "db"])) {
        return Ok(Outcome::Skipped(format!("the database cannot be reached: {reason}")));
    }
    process::run(&mut command("cargo", ["deny", "check", "advisories"])).map(Outcome::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_apart_has_a_lock_file_and_says_what_it_allows() {
        for folder in apart() {
            assert!(folder.join("Cargo.lock").exists(), "{}", folder.display());
            assert!(folder.join("deny.toml").exists(), "{}", folder.display());
        }
    }
}
