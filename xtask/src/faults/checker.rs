//! Tests under the model checker: all locks and atomics of the crates are its own, so that they are built apart.

use std::{path::Path, process::Command};

/// What stands for them where the name of a test binary does.
pub(super) const INTERLEAVINGS: &str = "interleavings";

/// What stands between `test` and the options of the tests; with them, the filter is [`INTERLEAVINGS`].
pub(super) const CRATES: [&str; 5] = ["-p", "cache-index", "-p", "cache-store", "--lib"];

/// Has cargo build for the checker, under a folder of build products.
pub(super) fn build_for(cargo: &mut Command, target: &Path) {
    cargo.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", target.join("shuttle"));
}
