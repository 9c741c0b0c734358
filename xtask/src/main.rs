//! Drives the project's checks: `cargo xtask ci --all` runs all of them, `cargo xtask help` lists them.
//!
//! A check that this machine cannot run is skipped aloud, with the reason; it never counts as passed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks on its standard streams"
)]

mod adapters;
mod bench;
mod ci;
mod deny;
mod docker;
mod faults;
mod fuzz;
mod interrupt;
mod kernel;
mod lowest;
mod outcome;
mod plan;
mod process;
mod soak;
mod targets;
mod tidy;
mod usage;
mod watch;

use clap::Parser;
use faults::Scale;
use outcome::{Outcome, Ran};
use std::process::ExitCode;
use usage::{Command, Usage};

fn main() -> ExitCode {
    match interrupt::install().and_then(|()| run(Usage::parse().command)) {
        Ok(Outcome::Done(_)) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped(reason)) => {
            println!("SKIPPED: {reason}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Ran {
    match command {
        Command::Ci(options) => ci::run(&options).map(Outcome::from),
        Command::Tidy => tidy::run().map(Outcome::Done),
        Command::TestPlan => plan::run().map(Outcome::Done),
        Command::Faults { list: true, .. } => {
            faults::list();
            Ok(Outcome::Done(String::new()))
        }
        Command::Faults { names, saboteurs: true, .. } => faults::saboteurs(&names),
        Command::Faults { names, ci, seed, .. } => {
            faults::run(&names, if ci { Scale::Fiftieth } else { Scale::Full }, seed)
        }
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::LowestRust => lowest::run(),
        Command::Adapters { name } => adapters::run(name.as_deref()),
        Command::CheckTargets => targets::run_all(),
        Command::TestLinux { clean: true, .. } => docker::linux::clean().map(Outcome::from),
        Command::TestLinux { io_uring, place, args, .. } => {
            let image = docker::linux::ready(&place)?;
            docker::linux::test(&image, &place, io_uring, &args).map(Outcome::Done)
        }
        Command::Bench(options) => bench::run(&options),
        Command::BenchLinux { place, args } => docker::linux::bench(&place, &args).map(Outcome::from),
        Command::BuildLinux { place, args } => docker::linux::build(&place, &args).map(Outcome::from),
        Command::BaseImage { from } => docker::base_image::make(from).map(Outcome::from),
        Command::Seccomp { file } => docker::seccomp::print(&file).map(Outcome::from),
        Command::TestKernel { kernel } => kernel::test(kernel.as_deref()),
        Command::Watch { place, args } => watch::run_forever(&place, &args).map(Outcome::from),
    }
}
