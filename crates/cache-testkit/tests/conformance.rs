//! The disk in memory passes the suite, with and without a page cache, by itself and behind a wrapper without rules.

use cache_testkit::{FaultBackend, MemoryBackend, conformance};
use std::{path::Path, process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let base = Path::new("/conformance");
    let mut trials = conformance::trials("memory", base, |_| Arc::new(MemoryBackend::new()));
    trials.extend(conformance::trials("memory_cached", base, |_| {
        let backend = MemoryBackend::new();
        backend.answer_cached_reads(true);
        Arc::new(backend)
    }));
    trials.extend(conformance::trials("fault_without_rules", base, |_| {
        let backend = FaultBackend::new(MemoryBackend::new());
        backend.fault_cached_reads(true);
        Arc::new(backend)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}
