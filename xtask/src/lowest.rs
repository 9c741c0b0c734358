//! `lowest-rust`: the workspace with the Rust that its manifest promises, where that is installed.

use crate::{
    outcome::{Outcome, Ran},
    process::{self, command, output, repo},
};

/// # Errors
/// What does not compile there.
pub(crate) fn run() -> Ran {
    let manifest = std::fs::read_to_string(repo().join("Cargo.toml")).map_err(|e| e.to_string())?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.ok_or("Cargo.toml has no rust-version")?.trim_matches('"');
    let installed = output(&mut command("rustup", ["toolchain", "list"])).unwrap_or_default();
    if !installed.lines().any(|line| line.starts_with(&format!("{version}-"))) {
        return Ok(Outcome::Skipped(format!(
            "Rust {version} is not installed: rustup toolchain install {version}"
        )));
    }
    let args =
        ["run", version, "cargo", "check", "--workspace", "--all-targets", "--target-dir", "target/lowest"];
    process::run(&mut command("rustup", args))?;
    Ok(Outcome::Done(version.to_owned()))
}
