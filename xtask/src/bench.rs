//! `bench`: the measuring programs of the crate `benches`, built and run.

use crate::{
    outcome::{Outcome, Ran},
    process::{self, command},
};

/// Compares counted costs with the kept baseline, or keeps them.
///
/// # Errors
/// The costs that are more than before.
pub(crate) fn check(bless: bool) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("what is counted are Linux's system calls".to_owned()));
    }
    let mut args = vec!["run", "--release", "-p", "benches", "--bin", "costs", "--", "check"];
    args.extend(bless.then_some("--bless"));
    let mut skipped = Vec::new();
    let mut counting = command("cargo", args);
    let status = process::lines(&mut counting, |line| {
        println!("{line}");
        skipped.extend(line.strip_prefix("SKIPPED: ").map(str::to_owned));
    })?;
    process::ended(&counting, status)?;
    if skipped.is_empty() {
        Ok(Outcome::Done("nothing costs more".to_owned()))
    } else {
        Ok(Outcome::Skipped(skipped.join("; ")))
    }
}
