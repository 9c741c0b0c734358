//! The container as one step of `cargo xtask ci`. It has to tell a machine that lacks something (an engine, an image, room,
//! rings), which is skipped aloud, from a test that fails. So it looks first, builds second and runs the tests last, and only
//! what goes wrong in the first two may be laid to the machine.

use super::{
    image::Image,
    linux::{self, DENIED, IoUring, Where},
    look::Look,
    report::tells_full_disk,
};
use crate::{
    interrupt::Container,
    outcome::{Outcome, Ran},
    process::{ended, lines, output, repo},
};
use std::env;

/// A build from nothing takes 1.3 GiB, the tests' files one more.
const NEEDED_KIB: u64 = 4 << 20;
/// What a build complains of when it is not the code's fault.
const LACKS: &[(&str, &str)] = &[
    ("Cannot allocate memory", "there is too little memory"),
    ("memory allocation of", "there is too little memory"),
    ("signal: 9, SIGKILL", "a compiler was killed, as for want of memory"),
    ("Resource temporarily unavailable", "no more processes may be started"),
    ("Could not resolve host", "the containers have no network to fetch crates by"),
    ("failed to download", "crates cannot be fetched"),
    ("failed to fetch", "crates cannot be fetched"),
];

/// Runs the suite in both modes, or in those that can be had here.
///
/// # Errors
/// What the tests say, or a build that fails without the machine's fault.
pub(crate) fn run() -> Ran {
    let place = Where::default();
    let ready = linux::ready(&place);
    let made = ready.is_ok();
    let ran = match ready {
        Ok(image) => looked_over(&image, &place),
        Err(reason) => Ok(Outcome::Skipped(reason)),
    };
    // A clone of its own for each run: nobody would build on this volume again. There may be none.
    if env::var_os("CI").is_some()
        && let Err(reason) = Image::clean()
        && made
    {
        println!("volume and image stay: {reason}");
    }
    ran
}

fn looked_over(image: &Image, place: &Where) -> Ran {
    let (modes, lacking) = modes(
        linux::look(image, "unconfined"),
        linux::look(image, &repo().join(DENIED).display().to_string()),
    );
    let Some(modes) = modes else { return Ok(Outcome::Skipped(lacking.join("; "))) };
    seed(image);
    if let Some(lack) = build(image)? {
        return Ok(Outcome::Skipped(format!("the tests cannot be built in a container: {lack}")));
    }
    let told = linux::test(image, place, modes, &[])?;
    if lacking.is_empty() {
        Ok(Outcome::Done(told))
    } else {
        Ok(Outcome::Skipped(format!("{} ({told})", lacking.join("; "))))
    }
}

/// The modes that can be run, and what is in the way of the others.
fn modes(allowed: Result<Look, String>, denied: Result<Look, String>) -> (Option<IoUring>, Vec<String>) {
    let room = |look: &Look| {
        let (free, needed) = (look.free_kib >> 10, NEEDED_KIB >> 10);
        (look.free_kib < NEEDED_KIB).then(|| format!("{free} MiB are free, {needed} are needed"))
    };
    let judged = |look: Result<Look, String>, lacks: &dyn Fn(&Look) -> Option<String>| match look {
        Ok(look) => room(&look).or_else(|| lacks(&look)),
        Err(reason) => Some(reason),
    };
    let not_denied = "the engine takes a seccomp profile that denies io_uring and does not deny it";
    let allowed = judged(allowed, &Look::lacks_io_uring).map(|why| format!("allowed: {why}"));
    let denied = judged(denied, &|look| look.is_not_denied().then(|| not_denied.to_owned()));
    let denied = denied.map(|why| format!("denied: {why}"));
    let modes = match (&allowed, &denied) {
        (None, None) => Some(IoUring::Both),
        (None, Some(_)) => Some(IoUring::Allowed),
        (Some(_), None) => Some(IoUring::Denied),
        (Some(_), Some(_)) => None,
    };
    (modes, allowed.into_iter().chain(denied).collect())
}

/// Takes over what the steps before built out here, where the same would be built again in there. It is a short cut: where it
/// does not work, all is built.
fn seed(image: &Image) {
    let built = repo().join("target/debug");
    if !image.takes_builds || !built.is_dir() {
        return;
    }
    let mut compose = image.compose();
    let container = format!("{}-seed", image.project);
    compose
        .env("SECCOMP_PROFILE", "unconfined")
        .args(["run", "--rm", "-T", "--name", &container, "--volume"]);
    compose.arg(format!("{}:/built:ro", built.display()));
    compose.args(["test-linux", "sh", "docker/seed.sh", &NEEDED_KIB.to_string()]);
    let _container = Container::named(&container);
    match output(&mut compose) {
        Ok(told) => println!("{}", told.trim()),
        Err(reason) => println!("all is built anew: {reason}"),
    }
}

/// Builds the tests; gives what the machine lacks for it, if so.
fn build(image: &Image) -> Result<Option<String>, String> {
    let mut compose = image.compose();
    let container = format!("{}-build", image.project);
    linux::start(&mut compose, &container, "test-linux", "unconfined");
    compose.args(["cargo", "test", "--no-run", "--locked"]);
    let _container = Container::named(&container);
    let mut lack = None;
    let status = lines(&mut compose, |_, line| {
        println!("{line}");
        lack = lack.or_else(|| lacks(line));
    })?;
    match ended(&compose, status) {
        Ok(()) => Ok(None),
        Err(_) if status.code() == Some(137) => Ok(Some("the container was killed".to_owned())),
        Err(text) => lack.map(|lack| Some(lack.to_owned())).ok_or(text),
    }
}

fn lacks(line: &str) -> Option<&'static str> {
    if tells_full_disk(line) {
        return Some("the disk is full");
    }
    LACKS.iter().find(|(words, _)| line.contains(words)).map(|(_, lack)| *lack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(free_kib: u64, code: u8) -> Result<Look, String> {
        Look::parse(&format!("free_kib {free_kib}\nkernel 6.1.0\nio_uring_setup {code}\n"))
    }

    #[test]
    fn a_mode_that_cannot_be_had_is_left_out_by_name_and_the_other_runs() {
        let (roomy, allowed, denied) = (NEEDED_KIB, 14, 1);
        assert_eq!(modes(look(roomy, allowed), look(roomy, denied)), (Some(IoUring::Both), vec![]));
        let (modes_run, lacking) = modes(look(roomy, denied), look(roomy, denied));
        assert_eq!(modes_run, Some(IoUring::Denied));
        assert!(lacking.len() == 1 && lacking[0].starts_with("allowed: "), "{lacking:?}");
        for other in [look(roomy, allowed), Err("no seccomp".to_owned())] {
            let (modes_run, lacking) = modes(look(roomy, allowed), other);
            assert_eq!(modes_run, Some(IoUring::Allowed));
            assert!(lacking.len() == 1 && lacking[0].starts_with("denied: "), "{lacking:?}");
        }
    }

    #[test]
    fn a_small_disk_runs_nothing() {
        let (modes_run, lacking) = modes(look(NEEDED_KIB - 1, 14), look(NEEDED_KIB - 1, 1));
        assert_eq!(modes_run, None);
        assert!(
            lacking.iter().all(|lack| lack.contains("4095 MiB are free, 4096 are needed")),
            "{lacking:?}"
        );
    }

    #[test]
    fn a_machine_that_lacks_something_is_told_from_code_that_does_not_build() {
        let full = "error: failed to write /target/x: No space left on device (os error 28)";
        assert_eq!(lacks(full), Some("the disk is full"));
        assert!(lacks("  process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)").is_some());
        assert_eq!(lacks("error[E0308]: mismatched types"), None);
    }
}
