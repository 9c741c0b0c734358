//! The command line, for the program with peers and for the one without.

use crate::{Result, load, naive::NaiveFiles, options::LoadOptions, part, report, store::Peer};
use clap::{Parser, Subcommand};

/// Measures disk-cache.
#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Load(LoadOptions),
    /// Writes the report from what was saved
    Report(report::ReportOptions),
    /// A part of a row that needs a process of its own
    #[command(subcommand, hide = true)]
    Part(part::Part),
}

/// Does what the command line says; plain files stand beside the cache in any case, `peers` too.
///
/// # Errors
/// Those of the command.
pub fn run(mut peers: Vec<Box<dyn Peer>>) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    peers.push(Box::new(NaiveFiles));
    match Command::parse().what {
        What::Load(options) => load::run(options, peers),
        What::Report(options) => report::run(&options),
        What::Part(part) => part::run(part, &peers),
    }
}
