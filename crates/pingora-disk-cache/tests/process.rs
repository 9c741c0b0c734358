//! The example as a process of its own: killed, ended in order, in the background.
//!
//! The suite runs itself as that process, which listens on a Unix socket: a path is never taken, as a port may be.
#![cfg(unix)]

#[path = "../examples/proxy/main.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod example;
mod support;

use clap::Parser as _;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use support::{
    body,
    client::{Answer, Ask, get, purge},
    origin::{Origin, builder, pieces, with},
    until,
};
use tempfile::{TempDir, tempdir};
use tokio::net::UnixStream;

/// Set for the process that is the proxy, to its arguments, one a line.
const ARGS: &str = "PINGORA_DISK_CACHE_PROXY";
/// The test that is the proxy where that is set: not on a runtime, because a server has its own.
const PROXY: &str = "a_daemon_has_its_cache";

/// A directory for a cache, the proxy's socket and its process id.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempdir().expect("a directory"))
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("socket")
    }

    fn pid_file(&self) -> PathBuf {
        self.0.path().join("pid")
    }

    /// Starts a proxy in front of an origin and waits until it listens.
    async fn start(&self, origin: &Origin, more: &[&str]) -> Proxy {
        drop(std::fs::remove_file(self.socket()));
        let socket = format!("unix:{}", self.socket().display());
        let (origin, cache) = (origin.addr.to_string(), self.cache());
        let cache = cache.to_str().expect("text");
        let mut args = vec!["--listen", &socket, "--origin", &origin, "--dir", cache, "--capacity", "64MiB"];
        args.extend(["--written", "--grace", "60"]);
        args.extend(more);
        let child = Command::new(std::env::current_exe().expect("this test"))
            // On its main thread, which is the one that a fork takes along.
            .args([PROXY, "--exact", "--nocapture", "--test-threads", "1"])
            .env(ARGS, args.join("\n"))
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let proxy = Proxy { child, socket: self.socket() };
        until("it listens", || async { UnixStream::connect(&proxy.socket).await.ok() }).await;
        proxy
    }
}

struct Proxy {
    child: Child,
    socket: PathBuf,
}

impl Proxy {
    async fn ask(&self, ask: Ask) -> Answer {
        ask.over(UnixStream::connect(&self.socket).await.expect("it listens")).await
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end in order. It goes on for as long as is its grace.
    fn end(&self) {
        assert!(signal("-TERM", &self.child.id().to_string()), "it runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended, as the test wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(which: &str, pid: &str) -> bool {
    Command::new("kill").args([which, pid]).stderr(Stdio::null()).status().expect("there is a kill").success()
}

fn by_path() -> impl Fn(&support::origin::Asked) -> hyper::Response<support::origin::Body> {
    |asked| with("max-age=600", body(asked.path.len() as u64, asked.path.len() << 17))
}

fn snapshot(cache: &Path) -> bool {
    cache.join("index.snapshot").exists()
}

/// The last thing that a cache does when it is closed.
async fn closed(cache: &Path) {
    until("it closes", || async { snapshot(cache).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_and_what_was_purged_survive_a_kill() {
    let (place, origin) = (Place::new(), Origin::start(by_path()).await);
    let paths = ["/a", "/large-enough-for-a-file", "/purged"];
    let proxy = place.start(&origin, &[]).await;
    for path in paths {
        assert_eq!(proxy.ask(get(path)).await.cache(), "miss");
    }
    assert_eq!(proxy.ask(purge("/purged")).await.status, 200);
    proxy.kill();
    assert!(!snapshot(&place.cache()), "it was not closed");
    let proxy = place.start(&origin, &[]).await;
    for (path, expected) in paths.into_iter().zip(["hit", "hit", "miss"]) {
        let answer = proxy.ask(get(path)).await;
        assert_eq!(answer.cache(), expected, "{path}");
        assert!(answer.whole() == &body(path.len() as u64, path.len() << 17), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_of_a_body_leaves_nothing_of_it() {
    let place = Place::new();
    let (sender, first) = pieces();
    sender.send(Ok(body(1, 3 << 20))).expect("held by the body");
    let first = std::sync::Mutex::new(Some(first));
    let origin = Origin::start(move |_| match first.lock().expect("no panic").take() {
        Some(first) => builder("max-age=600").body(first).expect("a response"),
        None => with("max-age=600", body(2, 4 << 20)),
    })
    .await;
    let proxy = place.start(&origin, &[]).await;
    let mut begun = get("/a").begin(UnixStream::connect(&proxy.socket).await.expect("it listens")).await;
    let mut got = 0;
    while got < 3 << 20 {
        got += begun.piece().await.len();
    }
    proxy.kill();
    assert!(begun.rest().await.body.is_err(), "an end that looks whole");
    let proxy = place.start(&origin, &[]).await;
    for expected in ["miss", "hit"] {
        let answer = proxy.ask(get("/a")).await;
        assert_eq!(answer.cache(), expected);
        assert!(answer.whole() == &body(2, 4 << 20));
    }
    let objects = std::fs::read_dir(place.cache().join("objects")).expect("a folder").count();
    assert_eq!(objects, 1, "of the body that was killed nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_in_order_closes_the_cache() {
    let (place, origin) = (Place::new(), Origin::start(by_path()).await);
    let proxy = place.start(&origin, &[]).await;
    proxy.ask(get("/a")).await;
    proxy.end();
    closed(&place.cache()).await;
    drop(proxy);
    let proxy = place.start(&origin, &[]).await;
    assert_eq!(proxy.ask(get("/a")).await.cache(), "hit");
}

#[test]
fn a_daemon_has_its_cache() {
    if let Ok(args) = std::env::var(ARGS) {
        let args = std::iter::once("proxy").chain(args.lines());
        example::run(&example::Args::parse_from(args))
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(in_the_background());
}

async fn in_the_background() {
    let (place, origin) = (Place::new(), Origin::start(by_path()).await);
    let pid_file = place.pid_file();
    let proxy = place.start(&origin, &["--daemon", pid_file.to_str().expect("text")]).await;
    let answers = [proxy.ask(get("/a")).await, proxy.ask(get("/a")).await];
    let pid = std::fs::read_to_string(&pid_file).expect("written by the daemon");
    assert!(signal("-TERM", pid.trim()), "it runs in the background");
    closed(&place.cache()).await;
    assert!(signal("-KILL", pid.trim()), "it has a minute's grace");
    assert_eq!(answers.each_ref().map(Answer::cache), ["miss", "hit"]);
}
