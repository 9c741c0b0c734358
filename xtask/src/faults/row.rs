//! One row: a fault, and the tests that try to break the cache with it.

use super::{built::Built, tally::Tally};
use crate::process::{command, lines, repo};
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
};

/// How much of a row is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// A fiftieth of the full count: for every change.
    Fiftieth,
    /// The full count.
    Full,
}

impl Scale {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fiftieth => "a fiftieth of the full counts",
            Self::Full => "full counts",
        }
    }

    /// How many cases, where `full` is the full count: one at least.
    fn cases(self, full: u64) -> u64 {
        let part = match self {
            Self::Fiftieth => 50,
            Self::Full => 1,
        };
        (full / part).max(1)
    }
}

/// A fault and the tests of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(super) name: &'static str,
    /// What goes wrong, and how it is made to.
    pub(super) fault: &'static str,
    pub(super) runs: &'static [Run],
}

/// One call of `cargo test`.
#[derive(Debug)]
pub(crate) struct Run {
    /// The name of the test binaries, of several crates where several have one; or [`INTERLEAVINGS`](super::built::INTERLEAVINGS).
    pub(super) test: &'static str,
    /// Only tests with this in their name; all where it is empty.
    pub(super) filter: &'static str,
    /// Variables, and their full numbers.
    pub(super) scale: &'static [(&'static str, u64)],
    pub(super) built: Built,
}

/// What a row came to.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(super) tally: Tally,
    pub(super) complaints: Vec<String>,
}

impl Tried {
    /// In one word.
    pub(super) fn result(&self) -> &'static str {
        match (self.complaints.is_empty(), self.tally.passed(), self.tally.not_run().is_empty()) {
            (false, ..) => "FAILED",
            (true, 0, _) => "SKIPPED",
            (true, _, false) => "in part",
            (true, _, true) => "ok",
        }
    }

    /// Tests that failed, and runs that came to nothing at all.
    pub(super) fn violations(&self) -> u64 {
        self.tally.failed().max(self.complaints.len() as u64)
    }
}

impl Row {
    /// Runs all of it. What the tests print goes to `target/faults/ROW.log`.
    ///
    /// # Errors
    /// That cargo does not start or the log cannot be written. What fails in the tests is in the result.
    pub(super) fn run(&self, scale: Scale, seed: u64) -> Result<Tried, String> {
        let (path, mut tried) = (self.log_path()?, Tried::default());
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut log = File::create(&path).map_err(failed)?;
        for run in self.runs {
            let line = run.command_line(scale, Some(seed));
            writeln!(log, "$ {line}").map_err(failed)?;
            if let Some(reason) = run.built.lacking() {
                tried.tally.cannot_run(run.test, &reason);
                continue;
            }
            let mut command = run.command(scale, seed);
            command.stderr(log.try_clone().map_err(failed)?);
            let mut tally = Tally::default();
            let status = lines(&mut command, |_, line| {
                tally.take(line);
                // A full disk fails the tests as well.
                drop(writeln!(log, "{line}"));
            })?;
            if let Some(complaint) = tally.complaint(status.success(), !run.scale.is_empty()) {
                tried.complaints.push(format!("{complaint}; see {}, again by: {line}", path.display()));
            }
            tried.tally.add(tally);
        }
        Ok(tried)
    }

    fn log_path(&self) -> Result<PathBuf, String> {
        let folder = repo().join("target/faults");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(folder.join(format!("{}.log", self.name)))
    }
}

impl Run {
    fn command(&self, scale: Scale, seed: u64) -> Command {
        let mut command = command("cargo", self.words());
        self.built.prepare(&mut command, &repo().join("target"));
        command.env("DISK_CACHE_SEED", seed.to_string());
        command.envs(self.variables(scale));
        command
    }

    fn variables(&self, scale: Scale) -> impl Iterator<Item = (&'static str, String)> {
        self.scale.iter().map(move |&(name, full)| (name, scale.cases(full).to_string()))
    }

    fn words(&self) -> Vec<&'static str> {
        let mut words = vec!["test"];
        words.extend(self.built.words(self.test));
        words.extend(["--", "--nocapture"]);
        words.extend(self.built.filter());
        words.extend(Some(self.filter).filter(|filter| !filter.is_empty()));
        words
    }

    /// What to type for the same run.
    pub(super) fn command_line(&self, scale: Scale, seed: Option<u64>) -> String {
        let seed = seed.map(|seed| format!("DISK_CACHE_SEED={seed}"));
        let variables = self.variables(scale).map(|(name, number)| format!("{name}={number}"));
        let flags = self.built.variables().iter().map(|(name, value)| match value.split_once(' ') {
            Some(_) => format!("{name}=\"{value}\""),
            None => format!("{name}={value}"),
        });
        let quoted = |word: &str| if word.contains('"') { format!("'{word}'") } else { word.to_owned() };
        let words = self.words().into_iter().map(quoted);
        seed.into_iter()
            .chain(variables)
            .chain(flags)
            .chain(["cargo".to_owned()])
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }
}
