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
        runs: &[Run { test: "model", filter: "", scale: &[("DISK_CACHE_CASES", 5_000)] }],
    },
    Row {
        name: "power-cut",
        fault: "a kill or a power cut after any backend operation: none, all or some of what was not synced is kept, writes \
                torn, names lost, the recovery itself cut off",
        runs: &[Run {
            test: "crash_states",
            filter: "",
            scale: &[("DISK_CACHE_STATES", 100_000), ("DISK_CACHE_RECOVERIES", 20_000)],
        }],
    },
    Row {
        name: "kill",
        fault: "kill -9 of a process at work or opening, on both backends",
        runs: &[Run { test: "kill9", filter: "", scale: &[("DISK_CACHE_KILLS", 1_000)] }],
    },
    Row {
        name: "real-power-cut",
        fault: "ext4 and xfs on loop devices go down without a word under a cache at work, on both backends (root only)",
        runs: &[Run { test: "real_disks", filter: "power_cut", scale: &[("DISK_CACHE_POWER_CUTS", 300)] }],
    },
    Row {
        name: "io-errors",
        fault: "every backend operation fails in turn, once and from then on: EIO, ENOSPC, EINTR, EMFILE, EROFS, torn, short",
        runs: &[
            Run {
                test: "io_failures",
                filter: "",
                scale: &[("DISK_CACHE_FAULT_WORKLOADS", 10), ("DISK_CACHE_EVERY_ERRNO", 1)],
            },
            some("streaming", "failure_point"),
            all("operations"),
        ],
    },
    Row {
        name: "failed-sync",
        fault: "a sync fails: of a segment, of a directory, of pages marked clean, of a file on a device that is full (root only)",
        runs: &[
            all("failures"),
            Run { test: "real_disks", filter: "a_sync", scale: &[("DISK_CACHE_POWER_CUTS", 400)] },
        ],
    },
    Row {
        name: "full-disk",
        fault: "no bytes are left, or a file system turns read-only, under a cache at work; then there is room (root only)",
        runs: &[
            some("bad_input", "disk"),
            some("bad_input", "file_system"),
            Run { test: "real_disks", filter: "read_only", scale: &[("DISK_CACHE_POWER_CUTS", 400)] },
        ],
    },
    Row {
        name: "damage",
        fault: "bits flipped, files cut, zeroed, swapped, doubled, lost, of another cache, of an older time",
        runs: &[
            Run { test: "damage", filter: "", scale: &[("DISK_CACHE_DAMAGES", 100_000)] },
            all("recovery"),
        ],
    },
    Row {
        name: "hostile",
        fault: "keys, metas, tags and bodies at and past every limit; structures forged with the cache's own secret",
        runs: &[
            all("bad_input"),
            Run { test: "hostile", filter: "", scale: &[("DISK_CACHE_FORGERIES", 200_000)] },
        ],
    },
    Row {
        name: "concurrency",
        fault: "callers and background work go on in any order; threads at the index; rings that die under load",
        runs: &[
            Run { test: "schedules", filter: "", scale: &[("DISK_CACHE_SCHEDULES", 10_000)] },
            all("races"),
            all("waits"),
            all("threads"),
            all("get_or_fetch"),
        ],
    },
    Row {
        name: "interleavings",
        fault: "threads go on in any order between two accesses to a lock or an atomic, under a model checker",
        runs: &[Run { test: "interleavings", filter: "", scale: &[("DISK_CACHE_INTERLEAVINGS", 200_000)] }],
    },
    Row {
        name: "cancellation",
        fault: "the caller's future is dropped at every poll of every call, and with operations in the rings",
        runs: &[all("cancellation"), some("lifetime", ""), some("streaming", "drop")],
    },
    Row {
        name: "leaks",
        fault: "a cache is opened and closed, or dropped, again and again; streams of any length",
        runs: &[Run { test: "leaks", filter: "", scale: &[("DISK_CACHE_OPENS", 1_000)] }, all("memory")],
    },
    Row {
        name: "no-io-uring",
        fault: "io_uring is denied by a filter of system calls, at set-up, submission or registration, or its rings die",
        runs: &[all("denied"), all("fallback")],
    },
    Row {
        name: "clock",
        fault: "the wall clock is set back and forth by ten years, or stands still",
        runs: &[some("portable", "clock")],
    },
    Row {
        name: "formats",
        fault: "directories of earlier versions, which open, and of newer ones, which are refused untouched",
        runs: &[some("portable", "format_1"), some("recovery", "newer_version")],
    },
];
