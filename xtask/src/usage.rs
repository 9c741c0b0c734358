//! The command line.

use crate::{
    bench, ci,
    docker::{
        base_image::Source,
        linux::{IoUring, Where},
    },
    fuzz, soak,
};
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Drives the project's checks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Usage {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything that has to be green before anything lands, with a table of what ran
    Ci(ci::Options),
    /// Crate edges, manifests, module docs, leftovers, commands in the documents
    Tidy,
    /// The areas of the test plan and how many distinct tests each has
    TestPlan,
    /// Every fault that a cache has to survive, a line for each: what was tried, how many cases, violations
    Faults {
        /// Rows to run, all without a name; with --saboteurs, parts of their names
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// A fiftieth of the full counts
        #[arg(long, conflicts_with = "saboteurs")]
        ci: bool,
        /// The seed of everything that is random
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// Only print the rows and their commands
        #[arg(long, conflicts_with = "saboteurs")]
        list: bool,
        /// Instead, take one safeguard away at a time in a copy of the tree, and see that a test notices
        #[arg(long)]
        saboteurs: bool,
    },
    /// Each decoder, and whole directories, under libFuzzer; inputs that are found go to target/fuzz
    Fuzz(fuzz::Options),
    /// A cache under a steady load, or a long stream: descriptors, threads, memory and disk sampled, drawn and judged
    Soak(soak::Options),
    /// Type-check with the lowest Rust that the manifest promises
    LowestRust,
    /// The packages outside the workspace: format, lints, tests and licences of each
    Adapters {
        /// The package to check, all without a name
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Type-check for Windows and macOS
    CheckTargets,
    /// The suite in a Linux container, with io_uring allowed and denied
    TestLinux {
        #[arg(long, value_enum, default_value = "both")]
        io_uring: IoUring,
        #[command(flatten)]
        place: Where,
        /// Instead of running, remove this checkout's image and volumes
        #[arg(long)]
        clean: bool,
        /// Arguments for `cargo test`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// What the cache does beside what the machine allows and what its peers do, row by row
    Bench(bench::Options),
    /// The load command of the benches in a Linux container
    BenchLinux {
        #[command(flatten)]
        place: Where,
        /// Arguments instead of `load --quick`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// A release build in a Linux container
    BuildLinux {
        #[command(flatten)]
        place: Where,
        /// More arguments for `cargo build`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Make a base image for the above without a registry
    BaseImage {
        /// Where its files come from; without, the mirror where it works and this machine where not
        #[arg(long, value_enum)]
        from: Option<Source>,
    },
    /// Print an engine's seccomp profile with io_uring allowed
    Seccomp { file: PathBuf },
    /// The backends on an old kernel, in an emulated machine that is killed
    TestKernel {
        /// Debian's kernel of this series: 5.10 (which has the io_uring of 5.15) or 6.1; both without it
        #[arg(value_parser = ["5.10", "6.1"])]
        kernel: Option<String>,
    },
    /// On every change under crates/: the tests here, then in the container
    Watch {
        #[command(flatten)]
        place: Where,
        /// Arguments for `cargo test`, here and there
        #[arg(last = true)]
        args: Vec<String>,
    },
}

/// Whether there is such a command.
pub(crate) fn is_command(name: &str) -> bool {
    Usage::command().find_subcommand(name).is_some()
}
