//! Drives the project's checks: `cargo xtask ci` runs all of them, `cargo xtask tidy` those on the shape of the code.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks on its standard streams"
)]

mod ci;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci      everything that has to be green before anything lands, with a table of what ran
  tidy    crate edges, manifests, module docs, leftovers";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let done = match (args.next().as_deref(), args.next()) {
        (Some("ci"), None) => ci::run(),
        (Some("tidy"), None) => tidy::run(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
