//! `cargo run --release -p benches -- load`: the table that the README quotes.

#[cfg(target_os = "linux")]
mod command {
    use clap::{Parser, Subcommand};

    /// Measures disk-cache.
    #[derive(Debug, Parser)]
    pub(crate) struct Command {
        #[command(subcommand)]
        pub(crate) what: What,
    }

    #[derive(Debug, Subcommand)]
    pub(crate) enum What {
        Load(benches::options::LoadOptions),
    }
}

#[cfg(target_os = "linux")]
fn main() -> benches::Result<()> {
    use clap::Parser;
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    let command::What::Load(options) = command::Command::parse().what;
    benches::load::run(options)
}

#[cfg(not(target_os = "linux"))]
fn main() {
    #[expect(clippy::print_stderr, reason = "it is a program that prints")]
    {
        eprintln!("the references are Linux's system calls: run this on Linux");
    }
}
