//! A disk that really is full: a small tmpfs. Without the right to mount one, this is ignored, with the reason.
#![cfg(target_os = "linux")]

#[path = "../examples/proxy/main.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod example;
mod support;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use support::{
    body,
    client::get,
    origin::{Origin, with},
    proxy::{self, Proxy},
};
use tempfile::{TempDir, tempdir};

fn main() -> ExitCode {
    let test = || -> Result<Completion, Failed> {
        let mounted = match Mounted::new("16m") {
            Ok(mounted) => mounted,
            Err(reason) => return Ok(Completion::ignored_with(format!("needs to mount a tmpfs: {reason}"))),
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(clients_get_everything(&mounted.path()));
        drop(runtime);
        Ok(Completion::Completed)
    };
    let name = "a_disk_that_fills_up_in_the_middle_of_a_body_fails_no_client";
    libtest_mimic::run(&Arguments::from_args(), vec![Trial::ignorable_test(name, test)]).exit_code()
}

/// The capacity is 64 MiB, the disk has 16.
async fn clients_get_everything(dir: &Path) {
    let origin = Origin::start(|asked| {
        let len = asked.path.trim_start_matches('/').parse().expect("a length");
        with("max-age=600", body(1, len))
    })
    .await;
    let proxy = Proxy::with(proxy::builder(dir), origin.addr).await;
    for len in [30 << 20, 100_000, 30 << 20, 5 << 20, 8 << 20, 30 << 20] {
        for _ in 0..2 {
            let answer = get(&format!("/{len}")).of(proxy.addr).await;
            assert_eq!(answer.status, 200);
            assert!(answer.whole() == &body(1, len), "other bytes of {len}");
        }
    }
    let too_large = origin.asked().iter().filter(|asked| asked.path == format!("/{}", 30 << 20)).count();
    assert_eq!(too_large, 6, "there is no room for any of them");
    // What a full disk refused does not stay refused: there is room for this one.
    get("/1000").of(proxy.addr).await;
    assert_eq!(get("/1000").of(proxy.addr).await.cache(), "hit");
}

/// A tmpfs of its own, gone with the test.
struct Mounted(TempDir);

impl Mounted {
    fn new(size: &str) -> Result<Self, String> {
        let dir = tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        let out = mount.output().map_err(|e| format!("mount does not start: {e}"))?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
        }
        Ok(Self(dir))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the cache's files may be open for a moment more.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.path().display());
    }
}
