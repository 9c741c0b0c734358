//! fio, where it is installed: what the device gives to a program that does nothing else.

use crate::{Result, measure::Measure};
use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};

/// What fio is to do.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Reads of so many KiB at random multiples of 4 KiB.
    RandomReads {
        /// Length of each.
        kib: usize,
        /// How many in flight.
        depth: usize,
    },
    /// 1 MiB writes one after another, 4 in flight.
    SequentialWrites,
}

/// Whether there is one.
pub fn found() -> bool {
    Command::new("fio").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs a job past the page cache, on a file that is kept for the next round.
///
/// # Errors
/// Where fio fails, or says what does not read.
pub fn run(job: Job, dir: &Path, time: Duration) -> Result<Measure> {
    let (kind, kib, depth, part) = match job {
        Job::RandomReads { kib, depth } => ("randread", kib, depth, "read"),
        Job::SequentialWrites => ("write", 1024, 4, "write"),
    };
    let mut command = Command::new("fio");
    command.args(["--name=bench", "--direct=1", "--ioengine=io_uring", "--size=1g", "--time_based"]);
    command.args([format!("--rw={kind}"), format!("--bs={kib}k"), format!("--iodepth={depth}")]);
    command.arg("--blockalign=4k");
    command.arg(format!("--filename={}", dir.join("fio").display()));
    command.args([format!("--runtime={}ms", time.as_millis()), "--output-format=json".to_owned()]);
    let output = command.output()?;
    let said: Value = serde_json::from_slice(&output.stdout).map_err(|e| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("fio: {e}: {}", complaint.trim())
    })?;
    let job = &said["jobs"][0];
    let figure = |of: &Value| of.as_f64().ok_or("fio gave no figures");
    let (iops, bytes) = (figure(&job[part]["iops"])?, figure(&job[part]["bw_bytes"])?);
    // Percent of one processor.
    let cpu = (figure(&job["usr_cpu"])? + figure(&job["sys_cpu"])?) / 100.0;
    Ok(Measure::reported(iops, bytes, cpu * 1e6 / iops.max(1.0), time))
}
