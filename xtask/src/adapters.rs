//! `adapters`: the packages that put the cache under something else, each outside the workspace, in its own folder and with its own
//! lock file, so that the workspace does not pay for what it is put under.

use crate::{
    deny::DEPENDENCIES,
    outcome::{Outcome, Ran},
    process::{self, command, found, repo},
};
use std::path::PathBuf;

/// One package.
struct Adapter {
    /// Its own name and its folder's.
    name: &'static str,
    /// Why its checks cannot run here.
    lacks: fn() -> Option<&'static str>,
}

const ADAPTERS: &[Adapter] = &[
    Adapter { name: "object-store-disk-cache", lacks: || None },
    Adapter {
        name: "pingora-disk-cache",
        lacks: || match () {
            () if cfg!(windows) => Some("its tests need Unix sockets and signals"),
            () if !found("cmake") => Some("cmake is not installed, which Pingora needs"),
            () => None,
        },
    },
];

/// What each has to pass, as the workspace has to.
const CHECKS: &[&str] = &["fmt --check", "clippy --locked --all-targets -- -D warnings", "test --locked"];

impl Adapter {
    fn folder(&self) -> PathBuf {
        repo().join("crates").join(self.name)
    }

    /// Returns what could not be checked, by name.
    ///
    /// # Errors
    /// The first check that failed.
    fn run(&self) -> Result<Option<String>, String> {
        if let Some(lack) = (self.lacks)() {
            return Ok(Some(format!("{}: {lack}", self.name)));
        }
        let deny = found("cargo-deny").then_some(&DEPENDENCIES);
        for check in CHECKS.iter().chain(deny) {
            println!("crates/{}$ cargo {check}", self.name);
            process::run(command("cargo", check.split(' ')).current_dir(self.folder()))?;
        }
        let unchecked = || format!("{}: no licences, cargo-deny is not installed", self.name);
        Ok(deny.is_none().then(unchecked))
    }
}

/// Their folders.
pub(crate) fn folders() -> impl Iterator<Item = PathBuf> {
    ADAPTERS.iter().map(Adapter::folder)
}

/// Checks the package of this name, or all.
///
/// # Errors
/// The first check that failed; a name that none has.
pub(crate) fn run(name: Option<&str>) -> Ran {
    let wanted: Vec<_> =
        ADAPTERS.iter().filter(|adapter| name.is_none_or(|name| name == adapter.name)).collect();
    if wanted.is_empty() {
        let names: Vec<_> = ADAPTERS.iter().map(|adapter| adapter.name).collect();
        return Err(format!("no such package; there are: {}", names.join(", ")));
    }
    let unchecked = wanted.iter().map(|adapter| adapter.run()).filter_map(Result::transpose);
    let unchecked = unchecked.collect::<Result<Vec<_>, _>>()?;
    if unchecked.is_empty() {
        Ok(Outcome::Done(String::new()))
    } else {
        Ok(Outcome::Skipped(unchecked.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    #[test]
    fn every_package_that_the_workspace_leaves_out_under_crates_is_one_of_them() {
        let manifest = fs::read_to_string(repo().join("Cargo.toml")).expect("the workspace's manifest");
        let excluded = manifest.lines().find(|line| line.starts_with("exclude = ")).expect("a line");
        let excluded: BTreeSet<_> =
            excluded.split('"').filter_map(|word| word.strip_prefix("crates/")).collect();
        assert_eq!(excluded, ADAPTERS.iter().map(|adapter| adapter.name).collect());
        for folder in folders() {
            assert!(folder.join("Cargo.lock").exists(), "{}", folder.display());
        }
    }

    #[test]
    fn a_name_that_none_has_is_refused_by_those_that_there_are() {
        let refused = run(Some("nothing")).expect_err("refused");
        assert!(ADAPTERS.iter().all(|adapter| refused.contains(adapter.name)), "{refused}");
    }
}
