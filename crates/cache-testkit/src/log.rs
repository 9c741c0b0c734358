//! What caches and rings say of themselves while tests run, in a file for whoever started the tests.

use std::{fs::OpenOptions, sync::Mutex};

/// Names the file.
const FILE: &str = "DISK_CACHE_TEST_LOG";

/// Appends every event of this process to the file that `DISK_CACHE_TEST_LOG` names; does nothing where it is not set, or
/// where the test listens to the events itself.
///
/// # Panics
/// If the file cannot be opened: a run that counts on it must not pass without it.
pub fn log_to_file() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.unwrap_or_else(|e| panic!("{FILE}={}: {e}", path.display()));
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(Mutex::new(file));
    // A second call finds the log at work.
    drop(log.try_init());
}
