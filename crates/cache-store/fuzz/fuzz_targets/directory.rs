//! See `cache_store::fuzzing::directory`. A runtime whose time stands still for each, so that one input has one outcome.
#![no_main]

use cache_testkit::MemoryBackend;
use tokio::runtime::Builder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let disk = MemoryBackend::with_dir("/");
    runtime.expect("a runtime").block_on(cache_store::fuzzing::directory(disk, data));
});
