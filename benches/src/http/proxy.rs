//! The proxies under measurement: nginx, and the two examples of this repository, each before the same origin with the same
//! capacity on the same file system, on as many threads as there are processors, without an access log.

use crate::{Result, bench::Bench, http::held::Held, table};
use disk_cache::ByteSize;
use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// A proxy that runs, with an empty cache of its own.
#[derive(Debug)]
pub struct Proxy {
    /// As the table shows it.
    pub name: String,
    /// Its process.
    pub held: Held,
    dir: PathBuf,
}

/// A proxy that can be had here.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    kind: Kind,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nginx,
    /// The example of `disk-cache`, on hyper.
    Example,
    /// That of `pingora-disk-cache`.
    Pingora,
}

impl Program {
    /// All that can be had; says aloud which cannot, and why. nginx comes first: the others are held against it.
    pub fn all(bench: &Bench) -> Vec<Self> {
        let options = &bench.options;
        let built = |kind, name: &str, path: &Option<PathBuf>, option: &str| {
            let Some(path) = path.clone() else {
                let why = format!("{option} does not say where it is (cargo xtask bench builds it)");
                table::line(&format!("SKIPPED: {name}: {why}"));
                return None;
            };
            Some(Self { name: name.to_owned(), kind, path })
        };
        let nginx = nginx_version().map(|version| Self {
            name: format!("nginx {version}"),
            kind: Kind::Nginx,
            path: "nginx".into(),
        });
        if nginx.is_none() {
            table::line("SKIPPED: nginx, which is not installed (apt-get install nginx-light)");
        }
        let example = built(Kind::Example, "example proxy", &options.example_proxy, "--example-proxy");
        let pingora = built(Kind::Pingora, "Pingora example", &options.pingora_proxy, "--pingora-proxy");
        [nginx, example, pingora].into_iter().flatten().collect()
    }

    /// As the table shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the example of `disk-cache`.
    pub fn is_example(&self) -> bool {
        self.kind == Kind::Example
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(&self, bench: &Bench, origin: SocketAddr, capacity: ByteSize) -> Result<Proxy> {
        let dir = bench.path(format!("proxy-{:?}", self.kind).to_lowercase());
        fs::create_dir(&dir)?;
        // Where it cannot be, nginx says so itself.
        let dir = dir.canonicalize().unwrap_or(dir);
        let log = dir.join("log");
        let cache = dir.join("cache");
        let held = match self.kind {
            Kind::Nginx => Held::start(&self.path, &log, |addr| nginx(&dir, addr, origin, capacity)),
            Kind::Example => Held::start(&self.path, &log, |addr| {
                let words = [
                    "--listen".to_owned(),
                    addr.to_string(),
                    "--origin".to_owned(),
                    format!("http://{origin}"),
                    "--capacity".to_owned(),
                    format!("{}B", capacity.bytes()),
                    "--cache-dir".to_owned(),
                ];
                words.into_iter().map(OsString::from).chain([cache.into()]).collect()
            }),
            Kind::Pingora => Held::start(&self.path, &log, |addr| {
                let words = [
                    "--listen".to_owned(),
                    addr.to_string(),
                    "--origin".to_owned(),
                    origin.to_string(),
                    "--capacity".to_owned(),
                    format!("{}B", capacity.bytes()),
                    "--dir".to_owned(),
                ];
                words.into_iter().map(OsString::from).chain([cache.into()]).collect()
            }),
        }?;
        Ok(Proxy { name: self.name.clone(), held, dir })
    }
}

impl Proxy {
    /// Bytes that its cache takes on the disk.
    ///
    /// # Errors
    /// Where the files cannot be read.
    pub fn disk_bytes(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let mut sum = 0;
        let mut folders = vec![self.dir.join("cache")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                // A file may be evicted meanwhile.
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    folders.push(entry.path());
                }
                sum += meta.blocks() * 512;
            }
        }
        Ok(sum)
    }

    /// Ends it, and removes its cache.
    ///
    /// # Errors
    /// Where files stay behind.
    pub fn end(self) -> Result<()> {
        drop(self.held);
        Ok(fs::remove_dir_all(self.dir)?)
    }
}

fn nginx_version() -> Option<String> {
    let output = Command::new("nginx").arg("-v").output().ok()?;
    let said = String::from_utf8(output.stderr).ok()?;
    Some(said.trim().rsplit_once('/')?.1.to_owned())
}

/// Writes the configuration into the folder; the arguments that go with it.
fn nginx(dir: &Path, addr: SocketAddr, origin: SocketAddr, capacity: ByteSize) -> Vec<OsString> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (files, capacity) = (dir.display(), capacity.bytes());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {files}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off; {user} worker_processes {workers}; worker_rlimit_nofile 20000;
pid {files}/pid; error_log {files}/log error;
events {{ worker_connections 8192; }}
http {{
access_log off; sendfile on; tcp_nopush on;
keepalive_timeout 600; keepalive_requests 1000000000;
open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s;
{temporary}
proxy_cache_path {files}/cache levels=1:2 keys_zone=bench:64m max_size={capacity} inactive=1d use_temp_path=off;
upstream origin {{ server {origin}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600; }}
server {{
listen {addr} backlog=4096;
location / {{
proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
proxy_cache bench; proxy_cache_lock on; proxy_cache_lock_timeout 600s; proxy_cache_lock_age 600s;
add_header X-Cache $upstream_cache_status;
}}
}}
}}
"
    );
    let conf = dir.join("nginx.conf");
    // Without it nginx does not start, and says so.
    drop(fs::write(&conf, text));
    [OsString::from("-c"), conf.into(), "-e".into(), dir.join("log").into()].into()
}
