//! `fuzz`: the package `crates/cache-store/fuzz`, built with the coverage that libFuzzer asks for, which a stable compiler has
//! too. `cargo +nightly fuzz run` does the same from the crate's folder.
//!
//! **Invariants**: inputs that are found go to `target/fuzz`; those in the checkout change with `--keep` alone.

use crate::{
    outcome::{Outcome, Ran},
    process::{self, command, found, output, repo},
};
use clap::Args;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What to fuzz, and for how long.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Targets; all, one after another, unless said
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long to fuzz each
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Afterwards, keep few inputs that reach what was reached, and those that were given a name
    #[arg(long)]
    keep: bool,
}

/// The folder of the package.
pub(crate) fn folder() -> PathBuf {
    repo().join("crates/cache-store/fuzz")
}

/// Not instrumented are programs that the build itself runs: they are for the host, which has to be named apart.
const COVERAGE: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What every run of libFuzzer has: no input of a real directory is longer or hungrier. What takes minutes hangs; seconds may
/// be those of a machine that stood still.
const LIMITS: [&str; 3] = ["-max_len=16384", "-timeout=300", "-rss_limit_mb=1024"];

/// Inputs of a target that are kept beside those with names.
const MOST: usize = 48;

/// Builds the targets and runs those of these names.
///
/// # Errors
/// What does not build, a name that is none, and the first target that an input breaks.
pub(crate) fn run(options: &Options) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("libFuzzer is built here for Linux alone".to_owned()));
    }
    if !["c++", "g++", "clang++"].into_iter().any(found) {
        return Ok(Outcome::Skipped("there is no C++ compiler, which libFuzzer needs".to_owned()));
    }
    let all = targets()?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        return Err(format!("no target is called {unknown}; there are {}", all.join(", ")));
    }
    let programs = build()?;
    let chosen = all.iter().filter(|name| options.targets.is_empty() || options.targets.contains(name));
    println!(
        "{:<12} {:>12} {:>10} {:>8} {:>9} {:>6}",
        "target", "executed", "a second", "edges", "features", "kept"
    );
    for target in chosen {
        let place = Place::of(target)?;
        let ran = place.fuzz(&programs, options.seconds)?;
        if options.keep {
            place.keep(&programs)?;
        }
        let kept = fs::read_dir(&place.kept).map_or(0, Iterator::count);
        println!(
            "{target:<12} {:>12} {:>10} {:>8} {:>9} {kept:>6}",
            ran.executed, ran.speed, ran.edges, ran.features
        );
    }
    Ok(Outcome::Done(String::new()))
}

/// The names of all targets.
fn targets() -> Result<Vec<String>, String> {
    let folder = folder().join("fuzz_targets");
    let files = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<_> = files
        .flatten()
        .filter_map(|file| Some(file.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets; the folder of their programs.
fn build() -> Result<PathBuf, String> {
    let host = output(&mut command("rustc", ["--print", "host-tuple"]))?.trim().to_owned();
    let built = repo().join("target/fuzz/build");
    let mut build = command("cargo", ["build", "--release", "--locked", "--target", &host, "--target-dir"]);
    build.arg(&built).arg("--manifest-path").arg(folder().join("Cargo.toml")).env("RUSTFLAGS", COVERAGE);
    process::run(&mut build)?;
    Ok(built.join(host).join("release"))
}

/// Where the inputs of a target lie.
struct Place {
    target: String,
    /// Those of the checkout.
    kept: PathBuf,
    /// Those that were found here.
    found: PathBuf,
    /// Those that broke it.
    broke: PathBuf,
}

/// What libFuzzer said at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    executed: u64,
    speed: u64,
    edges: u64,
    features: u64,
}

impl Place {
    fn of(target: &str) -> Result<Self, String> {
        let under = |folder| repo().join("target/fuzz").join(folder).join(target);
        let (found, broke) = (under("corpus"), under("artifacts"));
        for folder in [&found, &broke] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        Ok(Self { target: target.to_owned(), kept: folder().join("corpus").join(target), found, broke })
    }

    fn program(&self, programs: &Path) -> Command {
        let mut program = command::<&str>(&programs.join(&self.target).to_string_lossy(), []);
        program.args(LIMITS);
        program
    }

    fn fuzz(&self, programs: &Path, seconds: u64) -> Result<Summary, String> {
        let mut program = self.program(programs);
        program.arg(format!("-artifact_prefix={}/", self.broke.display()));
        program.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        program.args([&self.found, &self.kept]);
        let (mut summary, mut said) = (Summary::default(), Vec::new());
        let status = process::lines(&mut program, |_, line| {
            if !summary.take(line) {
                said.push(line.to_owned());
            }
        })?;
        if !status.success() {
            let last = said.iter().rev().take(60).rev().map(String::as_str).collect::<Vec<_>>().join("\n");
            return Err(format!("{last}\n{} broke; what broke it: {}", self.target, self.broke.display()));
        }
        Ok(summary)
    }

    /// Puts few inputs that reach all edges, or most of them, in the place of those that are kept.
    fn keep(&self, programs: &Path) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.kept.display());
        let fewest = self.kept.with_extension("fewest");
        fs::create_dir_all(&fewest).map_err(failed)?;
        let mut merge = self.program(programs);
        // Without counters: an edge that is taken twice is no other edge.
        merge.args(["-merge=1", "-set_cover_merge=1", "-use_counters=0"]);
        output(merge.arg(&fewest).args([&self.found, &self.kept]))?;
        // They were written in the order of how much each adds.
        let written = |file: &fs::DirEntry| file.metadata().and_then(|m| m.modified());
        let mut merged: Vec<_> = fs::read_dir(&fewest).map_err(failed)?.flatten().collect();
        merged.sort_by_key(|file| written(file).ok());
        for file in merged.iter().skip(MOST) {
            fs::remove_file(file.path()).map_err(failed)?;
        }
        for file in
            fs::read_dir(&self.kept).map_err(failed)?.flatten().filter(|file| is_named(&file.file_name()))
        {
            fs::rename(file.path(), fewest.join(file.file_name())).map_err(failed)?;
        }
        fs::remove_dir_all(&self.kept).and_then(|()| fs::rename(&fewest, &self.kept)).map_err(failed)
    }
}

/// Whether somebody named an input: libFuzzer calls each by its SHA-1.
fn is_named(name: &OsStr) -> bool {
    name.len() != 40 || !name.to_string_lossy().bytes().all(|b| b.is_ascii_hexdigit())
}

impl Summary {
    /// Takes a line in, if it is one of libFuzzer's on how far it is.
    fn take(&mut self, line: &str) -> bool {
        if let Some((name, number)) = line.strip_prefix("stat::").and_then(|line| line.split_once(':')) {
            let number = number.trim().parse().unwrap_or(0);
            match name {
                "number_of_executed_units" => self.executed = number,
                "average_exec_per_sec" => self.speed = number,
                _ => {}
            }
            return true;
        }
        if !line.starts_with('#') {
            return false;
        }
        let after =
            |name: &str| line.split_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok();
        self.edges = after("cov:").unwrap_or(self.edges);
        self.features = after("ft:").unwrap_or(self.features);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let mut summary = Summary::default();
        for line in [
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#15585\tREDUCE cov: 3883 ft: 8891 corp: 389/1686Kb lim: 8864 exec/s: 1558 rss: 36Mb",
            "#262144\tDONE   cov: 3884 ft: 8892 corp: 3/1b",
            "stat::number_of_executed_units: 23136",
            "stat::average_exec_per_sec:     1779",
        ] {
            assert!(summary.take(line), "{line}");
        }
        assert!(!summary.take("thread panicked"));
        assert_eq!(summary, Summary { executed: 23136, speed: 1779, edges: 3884, features: 8892 });
    }

    #[test]
    fn an_input_that_was_given_a_name_is_told_from_one_that_was_found() {
        assert!(is_named(OsStr::new("last-version")));
        assert!(!is_named(OsStr::new("720aadfe9cff910f52dbf2359704e135de7d6260")));
    }

    #[test]
    fn every_target_is_built_and_has_inputs_that_are_kept() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the package is there");
        let names = targets().expect("the targets are there");
        assert!(names.len() >= 8);
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(folder().join("corpus").join(&name).is_dir(), "{name}");
        }
    }
}
