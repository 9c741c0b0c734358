//! What operations cost, counted and not timed, so that a regression shows on a noisy machine too: `cargo xtask bench --check`.
//!
//! **Invariants**: one thread, fixed data, a backend whose calls are counted; nothing waits for a timer. Each workload runs in a
//! process of its own: plainly for allocations, calls and bytes, under `strace` for system calls, under `valgrind` for
//! instructions. What the machine lacks is skipped aloud.

#[cfg(target_os = "linux")]
mod allocator;
#[cfg(target_os = "linux")]
mod baseline;
#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod counting;
#[cfg(target_os = "linux")]
mod environment;
#[cfg(target_os = "linux")]
mod rig;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod workload;

#[cfg(target_os = "linux")]
mod command {
    use crate::workload::Workload;
    use clap::{Parser, Subcommand};
    use std::path::PathBuf;

    /// Counts what operations cost.
    #[derive(Debug, Parser)]
    pub(crate) struct Command {
        #[command(subcommand)]
        pub(crate) what: What,
    }

    #[derive(Debug, Subcommand)]
    pub(crate) enum What {
        /// Counts everything and compares it with the kept baseline
        Check {
            /// Keep what is counted as the new baseline
            #[arg(long)]
            bless: bool,
            /// The baseline
            #[arg(long, default_value = "benches/baseline.toml")]
            baseline: PathBuf,
            /// Only these workloads; all unless said
            #[arg(value_enum)]
            workloads: Vec<Workload>,
        },
        /// Runs one workload and prints its counts
        Run {
            #[arg(value_enum)]
            workload: Workload,
        },
    }
}

#[cfg(target_os = "linux")]
fn main() -> benches::Result<()> {
    use clap::Parser;
    match command::Command::parse().what {
        command::What::Check { bless, baseline, workloads } => check::run(&baseline, bless, &workloads),
        command::What::Run { workload } => workload::run(workload),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    #[expect(clippy::print_stderr, reason = "it is a program that prints")]
    {
        eprintln!("what is counted are Linux's system calls: run this on Linux");
    }
}
