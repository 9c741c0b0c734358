//! A caching HTTP reverse proxy on disk-cache.
//!
//! `cargo run --release --example proxy` serves the current folder on <http://127.0.0.1:8080/>; `--help` names the options.
//! Answers say in `X-Cache` what the cache had to do with them, `PURGE` removes a URL, and the cache outlives the process.
#![forbid(unsafe_code)]

mod args;
mod body;
mod conditions;
mod counters;
mod entry;
mod error_log;
mod file_server;
mod fill;
mod following;
mod headers;
mod http_origin;
mod job;
mod listing;
mod origin;
mod plan;
mod proxy;
mod purge;
mod range;
mod selection;
mod server;
mod stored;
#[cfg(test)]
mod tests;
mod vary;
mod verdict;

use crate::{
    args::Args,
    file_server::FileServer,
    http_origin::{HttpOrigin, Timeouts},
    origin::Origin,
    proxy::Proxy,
};
use clap::Parser as _;
use disk_cache::DiskCache;
use std::{
    error::Error,
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Opens the cache. The one place that knows which cache it is.
async fn open(place: &Path, args: &Args) -> disk_cache::Result<DiskCache> {
    DiskCache::builder(place).capacity(args.capacity).backend(args.backend).open().await
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let origin = match &args.origin {
        Some(url) => Origin::Http(HttpOrigin::new(url, Timeouts::default())?),
        None => Origin::Files(
            FileServer::new(&args.root)
                .map_err(|e| format!("--root {} cannot be served: {e}", args.root.display()))?,
        ),
    };
    let place = args.cache_place()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|e| format!("cannot listen on {}: {e}; --listen chooses another address", args.listen))?;
    let cache = open(&place, &args).await?;
    // The handlers first: a signal that comes while the address is being read must not be lost.
    let stop = stop()?;
    tracing::info!(
        listen = %listener.local_addr()?,
        origin = %origin.namespace(),
        cache = %place.display(),
        "serving"
    );
    let proxy = Arc::new(Proxy::new(cache, origin));
    let reporter = tokio::spawn(report(Arc::clone(&proxy)));
    server::serve(listener, Arc::clone(&proxy), stop).await;
    reporter.abort();
    proxy.log_counters();
    proxy.cache().close().await?;
    tracing::info!("closed");
    Ok(())
}

/// Logs one line a second.
async fn report(proxy: Arc<Proxy>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        proxy.log_counters();
    }
}

/// Ctrl-C or SIGTERM.
#[cfg(unix)]
fn stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ctrl-C.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "fails elsewhere")]
fn stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
