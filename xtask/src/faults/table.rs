//! The rows. RELIABILITY.md tells what each of them shows.

use super::{
    built::{Built, INTERLEAVINGS},
    row::{Row, Run},
};

/// Tests whose number of cases is their own.
const fn all(test: &'static str) -> Run {
    some(test, "")
}

/// The same, of some tests.
const fn some(test: &'static str, filter: &'static str) -> Run {
    scaled(test, filter, &[])
}

/// Tests that try as many cases as they are told to.
const fn scaled(test: &'static str, filter: &'static str, scale: &'static [(&'static str, u64)]) -> Run {
    Run { test, filter, scale, built: Built::Plainly }
}

/// Tests under the sanitizer.
const fn sanitized(test: &'static str) -> Run {
    Run { built: Built::Sanitized, ..all(test) }
}

/// Every row, in the order in which they run.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "logic",
        fault: "any history of operations, beside naive models of the cache and of its index",
        runs: &[scaled("model", "", &[("DISK_CACHE_CASES", 5_000)])],
    },
    Row {
        name: "power-cut",
        fault: "a kill or a power cut after any backend operation: none, all or some of what was not synced is kept, writes \
                torn, names lost, the recovery itself cut off",
        runs: &[scaled(
            "crash_states",
            "",
            &[("DISK_CACHE_STATES", 100_000), ("DISK_CACHE_RECOVERIES", 20_000)],
        )],
    },
    Row {
        name: "kill",
        fault: "kill -9 of a process at work or opening, on both backends",
        runs: &[scaled("kill9", "", &[("DISK_CACHE_KILLS", 1_000)])],
    },
    Row {
        name: "real-power-cut",
        fault: "ext4 and xfs on loop devices go down without a word under a cache at work, on both backends (root only)",
        runs: &[scaled("real_disks", "power_cut", &[("DISK_CACHE_POWER_CUTS", 300)])],
    },
    Row {
        name: "io-errors",
        fault: "every backend operation fails in turn, once and from then on: EIO, ENOSPC, EINTR, EMFILE, EROFS, torn, short",
        runs: &[
            scaled("io_failures", "", &[("DISK_CACHE_FAULT_WORKLOADS", 10), ("DISK_CACHE_EVERY_ERRNO", 1)]),
            some("streaming", "failure_point"),
            all("operations"),
        ],
    },
    Row {
        name: "failed-sync",
        fault: "a sync fails: of a segment, of a directory, of pages marked clean, of a file on a device that is full (root only)",
        runs: &[all("failures"), scaled("real_disks", "a_sync", &[("DISK_CACHE_POWER_CUTS", 400)])],
    },
    Row {
        name: "full-disk",
        fault: "no bytes or no inodes are left, or a file system turns read-only, under a cache at work; then there is room (root only)",
        runs: &[
            some("bad_input", "disk"),
            some("bad_input", "file_system"),
            scaled("real_disks", "read_only", &[("DISK_CACHE_POWER_CUTS", 400)]),
        ],
    },
    Row {
        name: "damage",
        fault: "bits flipped, files cut, zeroed, swapped, doubled, lost, of another cache, of an older time",
        runs: &[scaled("damage", "", &[("DISK_CACHE_DAMAGES", 100_000)]), all("recovery")],
    },
    Row {
        name: "hostile",
        fault: "keys, metas, tags and bodies at and past every limit; structures forged with the cache's own secret",
        runs: &[
            all("bad_input"),
            some("limits", "permission"),
            scaled("hostile", "", &[("DISK_CACHE_FORGERIES", 200_000)]),
        ],
    },
    Row {
        name: "concurrency",
        fault: "callers and background work go on in any order; threads at the index; rings that die under load",
        runs: &[
            scaled("schedules", "", &[("DISK_CACHE_SCHEDULES", 10_000)]),
            all("races"),
            all("waits"),
            all("threads"),
            all("get_or_fetch"),
            scaled("shutdown", "", &[("DISK_CACHE_SCHEDULES", 10_000), ("DISK_CACHE_OPENS", 500)]),
        ],
    },
    Row {
        name: "interleavings",
        fault: "threads go on in any order between two accesses to a lock or an atomic, under a model checker",
        runs: &[Run {
            built: Built::ForTheChecker,
            ..scaled(INTERLEAVINGS, "", &[("DISK_CACHE_INTERLEAVINGS", 70_000)])
        }],
    },
    Row {
        name: "cancellation",
        fault: "the caller's future is dropped at every poll of every call, and with operations in the rings",
        runs: &[all("cancellation"), some("lifetime", ""), some("streaming", "drop")],
    },
    Row {
        name: "leaks",
        fault: "a cache is opened and closed, or dropped, again and again; streams of any length",
        runs: &[scaled("leaks", "", &[("DISK_CACHE_OPENS", 1_000)]), all("memory")],
    },
    Row {
        name: "no-io-uring",
        fault: "io_uring is denied by a filter of system calls, at set-up, submission or registration, its rings die, or no \
                memory may be locked",
        runs: &[all("denied"), all("fallback"), some("limits", "locked_memory")],
    },
    Row {
        name: "limits",
        fault: "the process has no descriptor left, or no more memory, under a cache at work; then there are some",
        runs: &[some("limits", "descriptors"), some("limits", "memory_allowed")],
    },
    Row {
        name: "sanitizer",
        fault: "memory that is not whose uses it: the ring bridge, streams and shutdown under AddressSanitizer",
        runs: &[
            sanitized("operations"),
            sanitized("lifetime"),
            sanitized("threads"),
            sanitized("fallback"),
            sanitized("conformance"),
            sanitized("streaming"),
            sanitized("shutdown"),
        ],
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
