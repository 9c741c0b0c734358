//! What a seccomp filter does that denies io_uring. Each case runs in a process of its own, since a filter cannot be taken
//! off again: this program starts itself.
#![allow(clippy::print_stdout, reason = "the child answers that way")]

use crate::{
    common,
    deny::{ENTER, REGISTER, SETUP, deny},
};

use backend_uring::{UringBackend, UringOptions};
use libtest_mimic::Trial;
use std::process::{Command, ExitCode, Output};

/// What the child does, the calls that are denied to it and the errno that they give.
const CHILD: &str = "IO_URING_DENIED";

pub(crate) fn main() -> ExitCode {
    if let Ok(orders) = std::env::var(CHILD) {
        return child(&orders);
    }
    let arguments = libtest_mimic::Arguments::from_args();
    let all: &[u32] = &[SETUP, ENTER, REGISTER];
    let mut trials = vec![
        probe("all_denied_as_by_docker", all, libc::EPERM, "Setup"),
        probe("all_denied_as_by_podman", all, libc::ENOSYS, "Setup"),
        probe("all_denied_as_by_a_memory_limit", all, libc::ENOMEM, "Setup"),
        probe("all_denied_as_by_a_security_module", all, libc::EACCES, "Setup"),
    ];
    // These need the calls that are not denied to work.
    trials.extend(common::needing_io_uring(vec![
        probe("only_enter_is_denied", &[ENTER], libc::EPERM, "Submit"),
        probe("only_register_is_denied", &[REGISTER], libc::ENOSYS, "Opcodes"),
    ]));
    trials.push(Trial::test("denied_tests_are_ignored_and_never_passed", move || {
        let output = run("tests", all, libc::EPERM);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("0 passed; 0 failed; 2 ignored"), "{text}");
        assert!(text.contains("setting up a ring") && text.contains("one_of_two"), "{text}");
        Ok(())
    }));
    trials.push(Trial::test("a_denied_probe_leaves_nothing_behind", move || {
        let output = run("leftovers", all, libc::EPERM);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0 files, 0 threads, 0 descriptors");
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn probe(name: &str, calls: &'static [u32], errno: i32, step: &'static str) -> Trial {
    Trial::test(name, move || {
        let output = run("probe", calls, errno);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), format!("{step} {errno}"), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}

fn run(what: &str, calls: &[u32], errno: i32) -> Output {
    let calls: Vec<_> = calls.iter().map(u32::to_string).collect();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .env(CHILD, format!("{what} {errno} {}", calls.join(" ")))
        .env_remove("DISK_CACHE_REQUIRE_IO_URING");
    let output = command.output().expect("started");
    assert!(output.status.success(), "{output:?}");
    output
}

fn child(orders: &str) -> ExitCode {
    let mut orders = orders.split(' ');
    let what = orders.next().expect("what to do");
    let errno = orders.next().expect("an errno").parse().expect("a number");
    let calls: Vec<u32> = orders.map(|call| call.parse().expect("a number")).collect();
    deny(&calls, errno);
    let (runtime, dir) = (common::runtime(), common::directory());
    let open = || UringBackend::open(runtime.handle().clone(), UringOptions::default(), dir.path());
    match what {
        "probe" => match open() {
            Ok(_) => println!("it works"),
            Err(e) => println!("{:?} {}", e.step, e.source.raw_os_error().unwrap_or(0)),
        },
        "leftovers" => {
            let descriptors = || std::fs::read_dir("/proc/self/fd").expect("listed").count();
            let before = descriptors();
            open().expect_err("denied");
            let files = std::fs::read_dir(dir.path()).expect("listed").count();
            // The thread has sent its news and is about to end.
            let rings = || {
                let tasks = std::fs::read_dir("/proc/self/task").expect("listed").flatten();
                let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
                names.filter(|name| name.starts_with("disk-cache-ring")).count()
            };
            common::until("the thread has ended", || rings() == 0);
            println!("{files} files, {} threads, {} descriptors", rings(), descriptors() - before);
        }
        _ => {
            let trials = ["one_of_two", "two_of_two"].map(|name| Trial::test(name, || panic!("not run")));
            let trials = common::needing_io_uring(trials.into());
            return libtest_mimic::run(&libtest_mimic::Arguments::default(), trials).exit_code();
        }
    }
    ExitCode::SUCCESS
}
