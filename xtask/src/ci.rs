//! All checks in order, and a table of what ran and how long it took.

use std::{
    process::Command,
    time::{Duration, Instant},
};

/// One step: a name and a command line.
struct Step {
    name: &'static str,
    command: &'static [&'static str],
}

/// The README's test command comes first: it is what a newcomer types.
const STEPS: &[Step] = &[
    Step { name: "tests", command: &["cargo", "test"] },
    Step { name: "format", command: &["cargo", "fmt", "--all", "--check"] },
    Step {
        name: "clippy",
        command: &["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    },
    Step { name: "docs", command: &["cargo", "doc", "--no-deps", "--document-private-items"] },
    Step {
        name: "without io_uring",
        command: &["cargo", "check", "-p", "disk-cache", "--no-default-features", "--all-targets"],
    },
    Step { name: "tidy", command: &["cargo", "xtask", "tidy"] },
];

/// Runs every step and prints the table.
///
/// # Errors
/// The names of the steps that failed.
pub(crate) fn run() -> Result<(), String> {
    let mut table = Vec::new();
    for step in STEPS {
        println!("\n== {}: {}", step.name, step.command.join(" "));
        let begun = Instant::now();
        let (program, args) = step.command.split_first().ok_or("a step without a command")?;
        let status = Command::new(program).args(args).status().map_err(|e| format!("{program}: {e}"))?;
        table.push((step.name, status.success(), begun.elapsed()));
    }
    print_table(&table);
    let failed: Vec<_> = table.iter().filter(|(_, ok, _)| !ok).map(|(name, ..)| *name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn print_table(table: &[(&str, bool, Duration)]) {
    println!("\n{:<20} {:<8} {:>8}", "step", "result", "seconds");
    for (name, ok, took) in table {
        println!("{name:<20} {:<8} {:>8.1}", if *ok { "ok" } else { "FAILED" }, took.as_secs_f64());
    }
}
