//! The rows. RELIABILITY.md tells what each of them shows.

use super::row::{Row, Run};

/// Tests whose number of cases is their own.
const fn all(test: &'static str) -> Run {
    Run { test, filter: "", scale: &[] }
}

/// The same, of some tests.
const fn some(test: &'static str, filter: &'static str) -> Run {
    Run { test, filter, scale: &[] }
}

/// Every row, in the order in which they run.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "logic",
        fault: "any history of operations, beside naive models of the cache and of its index",
        runs: &[Run { test: "model", filter: "", scale: &[("DISK_CACHE_CASES", 500, 5_000)] }],
    },
    Row {
        name: "power-cut",
        fault: "a kill or a power cut after any backend operation: none, all or some of what was not synced is kept, writes \
                torn, names lost, the recovery itself cut off",
        runs: &[Run {
            test: "crash_states",
            filter: "",
            scale: &[("DISK_CACHE_STATES", 10_000, 100_000), ("DISK_CACHE_RECOVERIES", 2_000, 20_000)],
        }],
    },
    Row {
        name: "kill",
        fault: "kill -9 of a process at work or opening, on both backends",
        runs: &[Run { test: "kill9", filter: "", scale: &[("DISK_CACHE_KILLS", 100, 1_000)] }],
    },
    Row {
        name: "io-errors",
        fault: "every backend operation fails in turn, once and from then on: EIO, ENOSPC, EINTR, EMFILE, EROFS, torn, short",
        runs: &[
            Run {
                test: "io_failures",
                filter: "",
                scale: &[("DISK_CACHE_FAULT_WORKLOADS", 1, 10), ("DISK_CACHE_EVERY_ERRNO", 1, 1)],
            },
            all("failures"),
            some("streaming", "failure_point"),
        ],
    },
    Row {
        name: "damage",
        fault: "bits flipped, files cut, zeroed, swapped, doubled, of another cache, of an older time",
        runs: &[
            Run { test: "damage", filter: "", scale: &[("DISK_CACHE_DAMAGES", 10_000, 100_000)] },
            Run { test: "recovery", filter: "", scale: &[] },
        ],
    },
    Row {
        name: "cancellation",
        fault: "the caller's future is dropped at every poll of every call",
        runs: &[all("cancellation"), some("lifetime", "dropped"), some("streaming", "drop")],
    },
];
