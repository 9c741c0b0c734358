//! What a cache does where `io_uring` is denied: by a filter that a child process puts upon itself, or by the machine.
#![expect(clippy::print_stdout, reason = "the child answers that way")]

use crate::{
    common,
    deny::{ENTER, REGISTER, SETUP, deny},
};

use disk_cache::{BackendChoice, BackendKind, ByteSize, DiskCache, Error};
use libtest_mimic::{Arguments, Trial};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::{Command, ExitCode},
};

/// The child's directory, and the two things it is told.
const DIR: &str = "FALLBACK_DIR";
const CHOICE: &str = "FALLBACK_CHOICE";
const PLANTED: &str = "FALLBACK_PLANTED";
const LOG: &str = "DISK_CACHE_TEST_LOG";

pub(crate) fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(DIR) {
        child(Path::new(&dir));
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        Trial::test("an_automatic_choice_falls_back_with_one_warning_that_names_the_step", || {
            let (said, log) = open("auto");
            assert_eq!(said.lines().next(), Some("runs on tokio"), "{said}");
            assert!(
                said.contains("because io_uring cannot be used here: setting up a ring failed: "),
                "{said}"
            );
            let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
            assert!(warnings.len() == 1 && warnings[0].contains("setting up a ring failed"), "{log}");
            Ok(())
        }),
        Trial::test("asking_for_io_uring_is_refused_with_the_step_that_failed", || {
            let (said, log) = open("io-uring");
            assert!(
                said.starts_with("unavailable: io_uring cannot be used here: setting up a ring failed: "),
                "{said}"
            );
            assert!(!log.contains(" WARN ") && !log.contains(" opened "), "an error is no fallback: {log}");
            Ok(())
        }),
        Trial::test("asking_for_tokio_warns_of_nothing", || {
            let (said, log) = open("tokio");
            assert_eq!(said, "runs on tokio\n");
            assert!(!log.contains(" WARN "), "{log}");
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a child that opens a cache says, and its log.
fn open(choice: &str) -> (String, String) {
    let base = common::directory();
    let log = base.path().join("log");
    let planted = common::no_io_uring().is_none();
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.env(DIR, base.path().join("cache")).env(CHOICE, choice).env(LOG, &log);
    if planted {
        child.env(PLANTED, "1");
    }
    let output = child.output().expect("started");
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&log).expect("a log");
    // A fallback of the machine's own making is for whoever counts them; a planted one is not.
    if let Some(log) = std::env::var_os(LOG).filter(|_| !planted) {
        let mut log = OpenOptions::new().create(true).append(true).open(log).expect("the log of the run");
        log.write_all(text.as_bytes()).expect("written");
    }
    (String::from_utf8_lossy(&output.stdout).into_owned(), text)
}

fn child(dir: &Path) {
    if std::env::var_os(PLANTED).is_some() {
        deny(&[SETUP, ENTER, REGISTER], libc::EPERM);
    }
    cache_testkit::log_to_file();
    let choice = match std::env::var(CHOICE).as_deref() {
        Ok("auto") => BackendChoice::Auto,
        Ok("io-uring") => BackendChoice::IoUring,
        _ => BackendChoice::Tokio,
    };
    let small = DiskCache::builder(dir).capacity(ByteSize::mib(8)).segment_size(ByteSize::kib(64));
    match small.min_free_space(ByteSize::default()).backend(choice).open_blocking() {
        Ok(cache) => {
            let stats = cache.stats();
            println!("runs on {}", stats.backend);
            if let Some(reason) = stats.fallback_reason {
                println!("because {reason}");
            }
        }
        Err(Error::BackendUnavailable { backend: BackendKind::IoUring, reason }) => {
            println!("unavailable: {reason}");
        }
        Err(other) => panic!("{other}"),
    }
}
