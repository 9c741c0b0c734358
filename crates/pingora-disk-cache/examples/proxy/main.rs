//! A caching reverse proxy: Pingora in front of an origin, with a disk cache that lasts from run to run.
//!
//! ```sh
//! cargo run --release --example proxy -- --origin 127.0.0.1:8000
//! ```

pub(crate) mod caching;
mod purge;

use caching::CachingProxy;
use clap::Parser;
use disk_cache::{ByteSize, DiskCache, Durability};
use pingora_core::{
    server::{
        Server,
        configuration::{Opt, ServerConf},
    },
    services::background::background_service,
};
use pingora_disk_cache::{DiskCacheService, DiskCacheStorage};
use pingora_proxy::http_proxy_service;
use std::{
    net::{SocketAddr, ToSocketAddrs},
    num::NonZero,
    path::PathBuf,
    sync::OnceLock,
    thread::available_parallelism,
    time::Duration,
};

/// A caching reverse proxy in front of one origin.
#[derive(Parser)]
pub(crate) struct Args {
    /// Where it listens: an address and port, or `unix:` and a path.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// The origin's host and port, plain HTTP.
    #[arg(long, default_value = "127.0.0.1:8000", value_parser = resolve)]
    origin: SocketAddr,
    /// The cache's directory.
    #[arg(long, default_value = "pingora-cache")]
    dir: PathBuf,
    /// Bytes that the cache may take on the disk.
    #[arg(long, default_value = "1GiB")]
    capacity: ByteSize,
    /// What was stored survives the end of the process at once, not only after 10 ms.
    #[arg(long)]
    written: bool,
    /// Goes to the background, with its process id in this file.
    #[arg(long)]
    daemon: Option<String>,
    /// Threads that serve; as many as there are processors unless said.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Seconds for what is under way when it is told to end.
    #[arg(long, default_value_t = 2)]
    grace: u64,
}

/// Set by the service that opens the cache; until then, and where it does not open, requests go to the origin.
static STORAGE: OnceLock<DiskCacheStorage> = OnceLock::new();

fn main() {
    run(&Args::parse())
}

pub(crate) fn run(args: &Args) -> ! {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let builder = DiskCache::builder(&args.dir)
        .capacity(args.capacity)
        .durability(if args.written { Durability::Written } else { Durability::Buffered })
        // Entries that are past their windows can still be revalidated.
        .stale_window(Duration::from_secs(24 * 3600));

    let options = Opt { daemon: args.daemon.is_some(), ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(options, configuration(args));
    server.bootstrap();
    let cache =
        server.add_service(background_service("disk cache", DiskCacheService::new(&STORAGE, builder)));
    let mut proxy = http_proxy_service(&server.configuration, CachingProxy::new(args.origin, &STORAGE));
    match args.listen.strip_prefix("unix:") {
        #[cfg(unix)]
        Some(path) => proxy.add_uds(path, None),
        _ => proxy.add_tcp(&args.listen),
    }
    server.add_service(proxy).add_dependency(cache);
    server.run_forever()
}

fn configuration(args: &Args) -> ServerConf {
    let mut conf = ServerConf {
        // One unless told.
        threads: args.threads.or_else(|| available_parallelism().ok()).map_or(1, NonZero::get),
        grace_period_seconds: Some(args.grace),
        graceful_shutdown_timeout_seconds: Some(args.grace),
        ..ServerConf::default()
    };
    if let Some(pid_file) = &args.daemon {
        conf.pid_file.clone_from(pid_file);
    }
    conf
}

fn resolve(origin: &str) -> Result<SocketAddr, String> {
    let mut found = origin.to_socket_addrs().map_err(|e| e.to_string())?;
    found.next().ok_or_else(|| format!("{origin} has no address"))
}
