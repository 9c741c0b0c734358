//! The ring backend passes the suite: on one ring, on several, with little room on each, and after its rings have ended.
//! Where io_uring is denied every test is ignored, by name and with the reason.

use crate::common;

use backend_uring::{UringBackend, UringOptions};
use cache_testkit::conformance;
use std::{process::ExitCode, sync::Arc};

pub(crate) fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let base = common::directory();
    let mut trials = Vec::new();
    for (name, rings, depth) in [("one_ring", 1, 128), ("four_rings", 4, 64), ("little_room", 2, 1)] {
        let (dir, probe_dir) = (base.path().join(name), base.path().to_owned());
        trials.extend(conformance::trials(name, &dir, move |handle| {
            let options = UringOptions { rings, depth };
            Arc::new(UringBackend::open(handle.clone(), options, &probe_dir).expect("io_uring"))
        }));
    }
    let (dir, probe_dir) = (base.path().join("ended"), base.path().to_owned());
    trials.extend(conformance::trials("ended", &dir, move |handle| {
        let backend =
            UringBackend::open(handle.clone(), UringOptions::default(), &probe_dir).expect("io_uring");
        backend.shutdown();
        Arc::new(backend)
    }));
    let conclusion = libtest_mimic::run(&arguments, common::needing_io_uring(trials));
    // `Conclusion::exit` would end the process before the directory is removed.
    drop(base);
    conclusion.exit_code()
}
