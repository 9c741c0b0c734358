//! A workload in a process of its own: plainly, traced, or with its instructions counted.

use crate::{rig::Counts, workload::Workload};
use benches::Result;
use clap::ValueEnum;
use std::{fs, path::Path, process::Command};

/// File names that nobody has: asked for, they mark in a trace where what counts begins and ends.
pub(crate) const BEGINS: &str = "/disk-cache-costs-begin-here";
/// The end.
pub(crate) const ENDS: &str = "/disk-cache-costs-end-here";

/// What the workload counted itself.
///
/// # Errors
/// Where it fails.
pub(crate) fn plainly(workload: Workload) -> Result<Counts> {
    counts(&mut Command::new(std::env::current_exe()?), workload)
}

/// System calls of its thread; where the threads of the pool have a part in it, without those that wait for or wake a thread,
/// whose number is up to the scheduler.
///
/// # Errors
/// Where it fails, or the trace lacks a mark.
pub(crate) fn traced(workload: Workload, scratch: &Path) -> Result<f64> {
    let trace = scratch.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o"]).arg(&trace).arg(std::env::current_exe()?);
    counts(&mut strace, workload)?;
    let trace = fs::read_to_string(trace)?;
    let lines: Vec<_> = trace.lines().collect();
    let mark = |name: &str| lines.iter().position(|line| line.contains(name));
    let (Some(begin), Some(end)) = (mark(BEGINS), mark(ENDS)) else {
        return Err("strace did not see where the count begins and ends".into());
    };
    let waits = |line: &str| WAITS.iter().any(|call| line.starts_with(call));
    let counted = lines[begin + 1..end].iter().filter(|line| !(workload.uses_the_pool() && waits(line)));
    Ok(counted.count() as f64)
}

/// Calls that wait for or wake a thread.
const WAITS: [&str; 5] = ["futex(", "epoll_wait(", "epoll_pwait", "sched_yield(", "write("];

/// Instructions of its thread, and its counts, which name the processor that valgrind played.
///
/// # Errors
/// Where it fails, or valgrind's output does not read.
pub(crate) fn instructions(workload: Workload, scratch: &Path) -> Result<(f64, Counts)> {
    let file = scratch.join("callgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--tool=callgrind",
        "--toggle-collect=*counted_section*",
        "--collect-atstart=no",
        "--quiet",
    ]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display())).arg(std::env::current_exe()?);
    let counts = counts(&mut valgrind, workload)?;
    let text = fs::read_to_string(file)?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    match total.and_then(|n| n.trim().parse::<f64>().ok()) {
        Some(total) if total > 0.0 => Ok((total, counts)),
        _ => Err("callgrind counted no instructions".into()),
    }
}

fn counts(command: &mut Command, workload: Workload) -> Result<Counts> {
    let name = name(workload);
    let output = command.args(["run", &name]).output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} ({}): {}", output.status, complaint.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// As the command line has it.
pub(crate) fn name(workload: Workload) -> String {
    workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
