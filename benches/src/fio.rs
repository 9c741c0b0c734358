//! fio's word on the device, where it is installed: a second opinion on what `device` measures.

use crate::Result;
use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};

/// What fio is to do.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// 4 KiB reads at random, 64 in flight.
    RandomReads,
    /// 1 MiB writes one after another, 4 in flight.
    SequentialWrites,
}

/// Runs a job past the page cache; operations and bytes per second, or `None` where there is no fio.
///
/// # Errors
/// Where fio fails, or says what does not read.
pub fn run(job: Job, dir: &Path, time: Duration) -> Result<Option<(f64, f64)>> {
    let file = dir.join("fio");
    let (kind, block, depth) = match job {
        Job::RandomReads => ("randread", "4k", "64"),
        Job::SequentialWrites => ("write", "1m", "4"),
    };
    let mut command = Command::new("fio");
    command.args(["--name=bench", "--direct=1", "--ioengine=io_uring", "--size=1g", "--time_based"]);
    command.args([format!("--rw={kind}"), format!("--bs={block}"), format!("--iodepth={depth}")]);
    command.arg(format!("--filename={}", file.display()));
    command.args([format!("--runtime={}", time.as_secs().max(1)), "--output-format=json".to_owned()]);
    let output = match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if file.exists() {
        std::fs::remove_file(&file)?;
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let part = match job {
        Job::RandomReads => "read",
        Job::SequentialWrites => "write",
    };
    let figures = &said["jobs"][0][part];
    match (figures["iops"].as_f64(), figures["bw_bytes"].as_f64()) {
        (Some(iops), Some(bytes)) => Ok(Some((iops, bytes))),
        _ => Err("fio gave no figures".into()),
    }
}
