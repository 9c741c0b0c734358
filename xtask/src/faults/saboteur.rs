//! One saboteur: a patch that takes one safeguard away, and the tests that must notice.
//!
//! A file of `xtask/saboteurs` is a patch with a head: `Fault:` what is planted, `Row:` the row of `cargo xtask faults` that
//! catches it, and one or more `Test:` with a test binary, part of a test's name, and variables. The narrowest test
//! comes first; the ones after it run where it notices nothing.

use super::{built::Built, is_row};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A patch and what is said of it.
#[derive(Debug)]
pub(super) struct Saboteur {
    pub(super) name: String,
    pub(super) patch: PathBuf,
    pub(super) fault: String,
    pub(super) row: String,
    pub(super) tests: Vec<Narrow>,
}

/// A call of `cargo test` that takes seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Narrow {
    pub(super) test: String,
    pub(super) filter: Option<String>,
    pub(super) variables: Vec<(String, String)>,
}

/// All saboteurs of a folder, by name.
///
/// # Errors
/// A file that does not read or lacks a part of its head.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Saboteur>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut patches: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    patches.retain(|path| path.extension().is_some_and(|e| e == "patch"));
    patches.sort();
    patches
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            parse(path.clone(), &text).map_err(|lacking| format!("{}: {lacking}", path.display()))
        })
        .collect()
}

fn parse(patch: PathBuf, text: &str) -> Result<Saboteur, String> {
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("--- ")).collect();
    let all = |name| head.iter().filter_map(move |line| line.strip_prefix(name)).map(str::trim);
    let one = |name| all(name).next().map(str::to_owned).ok_or_else(|| format!("no line begins with {name}"));
    let tests: Vec<_> = all("Test:").map(narrow).collect();
    let saboteur = Saboteur {
        name: patch.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        fault: one("Fault:")?,
        row: one("Row:")?,
        tests,
        patch,
    };
    if saboteur.tests.is_empty() {
        return Err("no line begins with Test:".to_owned());
    }
    if !is_row(&saboteur.row) {
        return Err(format!("no row is called {}", saboteur.row));
    }
    Ok(saboteur)
}

/// `BINARY [PART_OF_A_NAME] [VARIABLE=VALUE]...`; `lib`: the unit tests; `interleavings`: those under the model checker.
fn narrow(line: &str) -> Narrow {
    let mut words = line.split_whitespace();
    let mut narrow = Narrow { test: words.next().unwrap_or_default().to_owned(), ..Narrow::default() };
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => narrow.variables.push((name.to_owned(), value.to_owned())),
            None => narrow.filter = Some(word.to_owned()),
        }
    }
    narrow
}

impl Narrow {
    /// The arguments of cargo; `run`: or only build.
    pub(super) fn words(&self, run: bool) -> Vec<&str> {
        let (mut words, built) = (vec!["test"], self.built());
        words.extend(built.words(&self.test));
        if run {
            words.extend(["--", "--nocapture"]);
            words.extend(self.filter.as_deref().or(built.filter()));
        } else {
            words.push("--no-run");
        }
        words
    }

    pub(super) fn built(&self) -> Built {
        Built::of(&self.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Fault: a sync is left out\nRow: power-cut\nTest: crash_states short DISK_CACHE_STATES=500\n\
                        Test: restart\n\n--- a/x\n+++ b/x\n";

    #[test]
    fn a_patch_says_what_it_plants_and_who_must_notice() {
        let saboteur = parse("saboteurs/01-x.patch".into(), HEAD).unwrap();
        assert_eq!((saboteur.name.as_str(), saboteur.fault.as_str()), ("01-x", "a sync is left out"));
        let first = &saboteur.tests[0];
        assert_eq!(first.words(false), ["test", "--test", "crash_states", "--no-run"]);
        assert_eq!(first.words(true), ["test", "--test", "crash_states", "--", "--nocapture", "short"]);
        assert_eq!(first.variables, [("DISK_CACHE_STATES".to_owned(), "500".to_owned())]);
        assert_eq!(saboteur.tests[1].words(true), ["test", "--test", "restart", "--", "--nocapture"]);
    }

    #[test]
    fn a_patch_without_a_part_of_its_head_is_refused() {
        for line in ["Fault:", "Row:", "Test:"] {
            let lacking: Vec<_> = HEAD.lines().filter(|l| !l.starts_with(line)).collect();
            assert!(parse("x.patch".into(), &lacking.join("\n")).is_err(), "{line}");
        }
        assert!(parse("x.patch".into(), &HEAD.replace("power-cut", "nothing")).is_err());
    }

    #[test]
    fn every_saboteur_of_the_project_names_what_must_catch_it() {
        let all = read_all(&crate::process::repo().join("xtask/saboteurs")).unwrap();
        assert!(all.len() >= 20, "{} saboteurs", all.len());
    }
}
