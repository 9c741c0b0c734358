//! `test-kernel`: both backends on an old kernel, in an emulated machine (qemu, no KVM needed).
//!
//! Debian's 5.10 carries the io_uring of 5.15: it shows that newer set-up flags and opcodes are not needed, not that the very
//! first 5.10 will do. The machine has a kernel, one shell script and static test binaries, and an ext4 disk. It runs the
//! conformance suite of both backends and the rings' own tests, whose probe has to succeed; then it inserts until it is killed
//! like a machine that loses power, boots again and has to find all that was acknowledged.

mod debian;
mod machine;

use crate::{
    outcome::{Outcome, Ran},
    process::{command, found, output, repo, run},
};
use machine::Machine;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROGRAMS: &[(&str, &str)] =
    &[("qemu-system-x86_64", "qemu-system-x86"), ("apt-get", "apt"), ("dpkg-deb", "dpkg")];
/// After so many acknowledged inserts the machine is killed.
const KILL_AFTER: u64 = 200;

/// Runs on one kernel, or on both.
///
/// # Errors
/// What failed in the machine, or on the way to it.
pub(crate) fn test(kernel: Option<&str>) -> Ran {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Outcome::Skipped(
            "the kernels are Debian's for x86_64, and so is the machine that builds".to_owned(),
        ));
    }
    if let Some((program, package)) = PROGRAMS.iter().find(|(program, _)| !found(program)) {
        return Ok(Outcome::Skipped(format!("{program} is not installed: apt-get install {package}")));
    }
    let folder = repo().join("target/kernel");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let kernels: Vec<_> =
        debian::KERNELS.iter().filter(|k| kernel.is_none_or(|wanted| k.series == wanted)).collect();
    let mut files = Vec::new();
    for kernel in &kernels {
        match kernel.fetch(&folder) {
            Ok(root) => files.push(root),
            Err(reason) => {
                return Ok(Outcome::Skipped(format!(
                    "Debian's {} cannot be fetched: {reason}",
                    kernel.series
                )));
            }
        }
    }
    let (tests, survivor) = build(&folder)?;
    let mut told = Vec::new();
    for (kernel, root) in kernels.iter().zip(&files) {
        println!("\n== kernel {}", kernel.series);
        let machine = Machine::assemble(&folder, kernel.series, root, &tests, &survivor)?;
        let passed = machine.run_tests(tests.len())?;
        let acknowledged = machine.fill_until(KILL_AFTER)?;
        machine.check(acknowledged)?;
        let line =
            format!("{}: {passed} tests, {acknowledged} synced inserts found after the kill", kernel.series);
        println!("kernel {line}");
        told.push(line);
    }
    Ok(Outcome::Done(told.join("; ")))
}

/// The test binaries under the names that they get in the machine, and the example; all static.
fn build(folder: &Path) -> Result<(Vec<(String, PathBuf)>, PathBuf), String> {
    let fixed = ["--locked", "--target", TARGET, "--target-dir"];
    let flags = ("RUSTFLAGS", "-C target-feature=+crt-static");
    let mut example = command("cargo", ["build", "-p", "disk-cache", "--example", "survivor"]);
    run(example.args(fixed).arg(folder).env(flags.0, flags.1))?;
    let mut suites = command("cargo", ["test", "--no-run", "-p", "backend-tokio", "-p", "backend-uring"]);
    suites.args(["--test", "conformance", "--test", "operations", "--message-format=json"]);
    let messages = output(suites.args(fixed).arg(folder).env(flags.0, flags.1))?;
    let mut tests = Vec::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let (Some(true), Some(executable)) =
            (message["profile"]["test"].as_bool(), message["executable"].as_str())
        {
            let package =
                message["manifest_path"].as_str().and_then(|path| Path::new(path).parent()?.file_name());
            let package = package.unwrap_or_default().to_string_lossy();
            let name = format!("{package}-{}", message["target"]["name"].as_str().unwrap_or_default());
            tests.push((name, PathBuf::from(executable)));
        }
    }
    let survivor = folder.join(TARGET).join("debug/examples/survivor");
    if tests.len() == 3 {
        Ok((tests, survivor))
    } else {
        Err(format!("three test binaries expected: {tests:?}"))
    }
}
