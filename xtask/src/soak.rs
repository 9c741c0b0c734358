//! `soak`: a cache under a steady load, or a stream through its writer, its descriptors, threads, memory and disk sampled, drawn
//! and judged.
//!
//! The first third of the samples is warm-up. The last third must hold no more than the middle one did, but for a small margin:
//! what leaks only a little in a third shows in a longer run.

use crate::{
    bench, interrupt,
    outcome::{Outcome, Ran},
    process::{command, lines, repo},
};
use clap::Args;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// What to run, and what to do with it.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The seed of the load
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "auto", value_parser = ["auto", "io-uring", "tokio"])]
    backend: String,
    /// Instead of the load: one body of so many GB through a writer, and back
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "seed"], value_parser = clap::value_parser!(u64).range(1..=1000))]
    stream: Option<u64>,
    /// Keep the samples in docs/performance, and draw them
    #[arg(long)]
    keep: bool,
}

/// Bytes that the cache of the load may take.
const CAPACITY_KIB: u64 = 32 << 10;
const SAMPLES: usize = 30;
const WIDTH: u64 = 24;

/// One line of the example.
#[derive(Debug, Default)]
struct Sample {
    seconds: u64,
    /// Calls, or MiB of a stream.
    done: u64,
    files: u64,
    threads: u64,
    memory_kib: u64,
    disk_kib: u64,
}

/// Something sampled: its name, its value, and how much more of it is no leak.
type Line = (&'static str, fn(&Sample) -> u64, fn(u64) -> u64);

const LINES: [Line; 3] = [
    ("descriptors", |s| s.files, |before| before + 4),
    ("threads", |s| s.threads, |before| before + 4),
    // Allocators keep what they were given, and give it back late.
    ("memory, KiB", |s| s.memory_kib, |before| before + before / 8 + 4096),
];

impl Options {
    /// What is run, in a word, and its unit.
    fn name(&self) -> (&'static str, &'static str) {
        if self.stream.is_some() { ("soak-stream", "MiB") } else { ("soak", "calls") }
    }

    fn setting(&self) -> String {
        match self.stream {
            Some(gb) => {
                format!("a body of {gb} GB, written and followed, then read, backend {}", self.backend)
            }
            None => format!("{} minutes, seed {}, backend {}", self.minutes, self.seed, self.backend),
        }
    }

    fn capacity_kib(&self) -> u64 {
        self.stream.map_or(CAPACITY_KIB, |gb| (2 * mib(gb) + 64) << 10)
    }
}

/// Whole MiB in so many GB.
fn mib(gb: u64) -> u64 {
    (gb * 1_000_000_000) >> 20
}

/// Runs to the end, or to the first wrong byte.
///
/// # Errors
/// What grew, or what the example died of.
pub(crate) fn run(options: &Options) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("what a process holds is read from /proc, which is Linux's".to_owned()));
    }
    let base = repo().join("target/tmp");
    fs::create_dir_all(&base).map_err(|e| format!("{}: {e}", base.display()))?;
    let dir = tempfile::tempdir_in(&base).map_err(|e| format!("{}: {e}", base.display()))?;
    let all = sampled(options, &dir.path().join("cache"))?;
    let complaints = judge(&all, options.capacity_kib());
    if !complaints.is_empty() {
        return Err(complaints.join("\n"));
    }
    let (name, unit) = options.name();
    let done = all.last().map_or(0, |s| s.done);
    println!("cases: {done} {unit}, nothing grew");
    if options.keep {
        keep(&repo().join(bench::KEPT), name, &options.setting(), &all)?;
        bench::draw()?;
    }
    Ok(Outcome::Done(format!("{done} {unit}")))
}

/// Runs the example; prints each sample as it comes.
fn sampled(options: &Options, dir: &Path) -> Result<Vec<Sample>, String> {
    let mut args = vec!["run".to_owned()];
    // Gigabytes want a build that checks them as fast as they come.
    args.extend(options.stream.map(|_| "--release".to_owned()));
    args.extend(["--example", "soak", "--"].map(str::to_owned));
    match options.stream {
        Some(gb) => args.extend(["--stream".to_owned(), mib(gb).to_string()]),
        None => args.extend(["--seconds".to_owned(), (options.minutes * 60).to_string()]),
    }
    let mut soak = command("cargo", args);
    soak.args(["--samples", &SAMPLES.to_string(), "--seed", &options.seed.to_string()]);
    soak.args(["--backend", &options.backend, "--dir"]).arg(dir);
    let (_, unit) = options.name();
    println!(
        "{}\n{:>8} {unit:>10} {:>11} {:>8} {:>12} {:>9}",
        options.setting(),
        "seconds",
        "descriptors",
        "threads",
        "memory, KiB",
        "disk, KiB"
    );
    let mut all = Vec::new();
    let status = lines(&mut soak, |_, line| {
        let Some(sample) = parse(line) else { return println!("{line}") };
        let bar = "#".repeat((sample.memory_kib * WIDTH / (128 << 10)).min(WIDTH) as usize);
        let Sample { seconds, done, files, threads, memory_kib, disk_kib } = sample;
        println!("{seconds:>8} {done:>10} {files:>11} {threads:>8} {memory_kib:>12} {disk_kib:>9}  {bar}");
        all.push(sample);
    })?;
    interrupt::check()?;
    if status.success() { Ok(all) } else { Err(format!("it ended early ({status})")) }
}

fn parse(line: &str) -> Option<Sample> {
    let mut numbers = line.strip_prefix("sample: ")?.split(' ').map_while(|word| word.parse().ok());
    let mut next = || numbers.next();
    Some(Sample {
        seconds: next()?,
        done: next()?,
        files: next()?,
        threads: next()?,
        memory_kib: next()?,
        disk_kib: next()?,
    })
}

/// What is not flat.
fn judge(all: &[Sample], capacity_kib: u64) -> Vec<String> {
    if all.len() < SAMPLES {
        return vec![format!("{} samples of {SAMPLES}", all.len())];
    }
    let third = all.len() / 3;
    let (middle, last) = (&all[third..2 * third], &all[2 * third..]);
    let mut complaints = Vec::new();
    for (name, value, allowed) in LINES {
        let most = |of: &[Sample]| of.iter().map(value).max().unwrap_or(0);
        let (before, after) = (most(middle), most(last));
        if after > allowed(before) {
            complaints.push(format!("{name}: {before} at most in the middle third, {after} in the last"));
        }
    }
    if let Some(over) = all.iter().find(|s| s.disk_kib > capacity_kib) {
        complaints.push(format!("{} KiB on disk after {} s, over the capacity", over.disk_kib, over.seconds));
    }
    complaints
}

/// Writes the samples for the report: `FOLDER/NAME.json`.
fn keep(folder: &Path, name: &str, setting: &str, all: &[Sample]) -> Result<(), String> {
    let samples: Vec<Value> = all
        .iter()
        .map(|s| {
            json!({
                "seconds": s.seconds, "done": s.done, "descriptors": s.files, "threads": s.threads,
                "memory_kib": s.memory_kib, "disk_kib": s.disk_kib,
            })
        })
        .collect();
    let path = folder.join(format!("{name}.json"));
    let text = format!("{:#}\n", json!({ "setting": setting, "samples": samples }));
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..SAMPLES as u64)
            .map(|n| Sample { files: 20, threads: 9, memory_kib: memory(n), ..Sample::default() })
            .collect()
    }

    #[test]
    fn a_line_of_the_example_reads() {
        let sample = parse("sample: 4 1000 20 9 40000 30000 2500 tokio").unwrap();
        assert_eq!((sample.done, sample.threads, sample.disk_kib), (1000, 9, 30_000));
        assert!(parse("sample: 4 1000").is_none() && parse("warning: x").is_none());
    }

    #[test]
    fn a_flat_line_is_fine_and_a_rising_one_is_told() {
        assert_eq!(judge(&samples(|n| if n < 8 { 10_000 * n } else { 80_000 }), 1), [""; 0]);
        assert_eq!(judge(&samples(|n| 40_000 + 3_000 * n), 1).len(), 1);
        assert_eq!(judge(&samples(|_| 1)[1..], 1).len(), 1, "a sample is missing");
    }

    #[test]
    fn what_is_over_the_capacity_is_told() {
        let mut all = samples(|_| 1);
        all[3].disk_kib = 101;
        assert_eq!((judge(&all, 101).len(), judge(&all, 100).len()), (0, 1));
    }

    #[test]
    fn what_is_kept_reads_again() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "soak", "2 minutes", &samples(|n| n)).unwrap();
        let text = fs::read_to_string(folder.path().join("soak.json")).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&kept["samples"][7]["memory_kib"], &kept["setting"]), (&json!(7), &json!("2 minutes")));
    }
}
