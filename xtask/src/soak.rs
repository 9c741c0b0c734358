//! `soak`: a cache under a steady load, its descriptors, threads, memory and disk sampled, drawn and judged.
//!
//! The first third of the samples is warm-up. The last third must hold no more than the middle one did, but for a small margin:
//! what leaks only a little in a third shows in a longer run.

use crate::{
    interrupt,
    outcome::{Outcome, Ran},
    process::{command, lines, repo},
};

/// Bytes that the cache of the example may take.
const CAPACITY_KIB: u64 = 32 << 10;
const SAMPLES: usize = 30;
const WIDTH: u64 = 24;

/// One line of the example.
#[derive(Debug, Default)]
struct Sample {
    seconds: u64,
    calls: u64,
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

/// Runs for about so many minutes.
///
/// # Errors
/// What grew, or what the example died of.
pub(crate) fn run(minutes: u64, seed: u64, backend: &str) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("what a process holds is read from /proc, which is Linux's".to_owned()));
    }
    let base = repo().join("target/tmp");
    std::fs::create_dir_all(&base).map_err(|e| format!("{}: {e}", base.display()))?;
    let dir = tempfile::tempdir_in(&base).map_err(|e| format!("{}: {e}", base.display()))?;
    let seconds = (minutes * 60).to_string();
    let (samples, seed) = (SAMPLES.to_string(), seed.to_string());
    let mut soak = command("cargo", ["run", "--example", "soak", "--", "--seconds", &seconds]);
    soak.args(["--samples", &samples, "--seed", &seed, "--backend", backend, "--dir"])
        .arg(dir.path().join("cache"));
    let mut all = Vec::new();
    println!(
        "seed {seed}\n{:>8} {:>10} {:>11} {:>8} {:>12} {:>9}",
        "seconds", "calls", "descriptors", "threads", "memory, KiB", "disk, KiB"
    );
    let status = lines(&mut soak, |_, line| {
        let Some(sample) = parse(line) else { return println!("{line}") };
        let bar = "#".repeat((sample.memory_kib * WIDTH / (128 << 10)).min(WIDTH) as usize);
        let Sample { seconds, calls, files, threads, memory_kib, disk_kib } = sample;
        println!("{seconds:>8} {calls:>10} {files:>11} {threads:>8} {memory_kib:>12} {disk_kib:>9}  {bar}");
        all.push(sample);
    })?;
    interrupt::check()?;
    if !status.success() {
        return Err(format!("the load ended early ({status})"));
    }
    let complaints = judge(&all);
    if complaints.is_empty() {
        let calls = all.last().map_or(0, |s| s.calls);
        println!("cases: {calls} calls under load, nothing grew");
        Ok(Outcome::Done(format!("{calls} calls")))
    } else {
        Err(complaints.join("\n"))
    }
}

fn parse(line: &str) -> Option<Sample> {
    let mut numbers = line.strip_prefix("sample: ")?.split(' ').map_while(|word| word.parse().ok());
    let mut next = || numbers.next();
    Some(Sample {
        seconds: next()?,
        calls: next()?,
        files: next()?,
        threads: next()?,
        memory_kib: next()?,
        disk_kib: next()?,
    })
}

/// What is not flat.
fn judge(all: &[Sample]) -> Vec<String> {
    if all.len() < SAMPLES {
        return vec![format!("{} samples of {SAMPLES}", all.len())];
    }
    let (middle, last) = (&all[SAMPLES / 3..2 * SAMPLES / 3], &all[2 * SAMPLES / 3..]);
    let mut complaints = Vec::new();
    for (name, value, allowed) in LINES {
        let most = |of: &[Sample]| of.iter().map(value).max().unwrap_or(0);
        let (before, after) = (most(middle), most(last));
        if after > allowed(before) {
            complaints.push(format!("{name}: {before} at most in the middle third, {after} in the last"));
        }
    }
    if let Some(over) = all.iter().find(|s| s.disk_kib > CAPACITY_KIB) {
        complaints.push(format!("{} KiB on disk after {} s, over the capacity", over.disk_kib, over.seconds));
    }
    complaints
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
        assert_eq!((sample.calls, sample.threads, sample.disk_kib), (1000, 9, 30_000));
        assert!(parse("sample: 4 1000").is_none() && parse("warning: x").is_none());
    }

    #[test]
    fn a_flat_line_is_fine_and_a_rising_one_is_told() {
        assert_eq!(judge(&samples(|n| if n < 8 { 10_000 * n } else { 80_000 })), [""; 0]);
        assert_eq!(judge(&samples(|n| 40_000 + 3_000 * n)).len(), 1);
        assert_eq!(judge(&samples(|_| 1)[1..]).len(), 1, "a sample is missing");
    }
}
