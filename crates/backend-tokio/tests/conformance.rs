//! The portable backend passes the suite.

use backend_tokio::TokioBackend;
use cache_testkit::conformance;
use std::{process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let base = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test");
    let trials =
        conformance::trials("tokio", base.path(), |handle| Arc::new(TokioBackend::new(handle.clone())));
    // `Conclusion::exit` would end the process before the directory is removed.
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(base);
    conclusion.exit_code()
}
