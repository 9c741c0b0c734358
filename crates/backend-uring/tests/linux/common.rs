//! What the tests on rings share. They have no usual harness: where io_uring is denied each of them is reported as ignored,
//! by name and with the reason, and never as passed.
#![allow(dead_code, unused_imports, unused_macros, reason = "not every test binary uses all of it")]

use backend_tokio::DiskFile;
use backend_uring::{UringBackend, UringOptions};
use bytes::BytesMut;
use cache_core::{DiskBackend, OpenMode};
use libtest_mimic::Trial;
use std::{
    fs::File,
    future::Future,
    io::{self, Write},
    os::fd::{FromRawFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A directory on the file system that the build uses.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test")
}

/// Why io_uring cannot be used, if so.
pub(crate) fn denied() -> Option<String> {
    let runtime = runtime();
    let opened = UringBackend::open(runtime.handle().clone(), UringOptions::default(), directory().path());
    opened.map(|backend| backend.shutdown()).err().map(|e| e.to_string())
}

/// Ignores every test where io_uring is denied; with `DISK_CACHE_REQUIRE_IO_URING=1` they fail there.
pub(crate) fn needing_io_uring(trials: Vec<Trial>) -> Vec<Trial> {
    cache_testkit::log_to_file();
    match denied() {
        None => trials,
        Some(_) if std::env::var_os("DISK_CACHE_REQUIRE_IO_URING").is_some_and(|v| v == "1") => trials,
        Some(reason) => {
            trials.into_iter().map(|t| t.with_ignored_flag(true).with_kind(reason.clone())).collect()
        }
    }
}

/// Functions as tests under their own names.
macro_rules! tests {
    ($($name:ident)*) => {
        vec![$(libtest_mimic::Trial::test(stringify!($name), || { $name(); Ok(()) }),)*]
    };
}
pub(crate) use tests;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime")
}

/// A backend with its runtime and a directory.
pub(crate) struct Rig {
    pub(crate) backend: Arc<UringBackend>,
    pub(crate) runtime: Runtime,
    pub(crate) dir: TempDir,
}

impl Rig {
    pub(crate) fn new(rings: usize, depth: u32) -> Self {
        let (runtime, dir) = (runtime(), directory());
        let options = UringOptions { rings, depth };
        let backend = UringBackend::open(runtime.handle().clone(), options, dir.path()).expect("io_uring");
        Self { backend: Arc::new(backend), runtime, dir }
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A new file with these bytes, written past the rings.
    pub(crate) fn file(&self, bytes: &[u8]) -> Arc<DiskFile> {
        let name = format!("file-{}", std::fs::read_dir(self.dir.path()).expect("listed").count());
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        self.run(self.backend.open(&path, OpenMode::WRITE)).expect("opened")
    }

    /// A read that goes on by itself.
    pub(crate) fn reading(
        &self,
        file: &Arc<DiskFile>,
        len: usize,
    ) -> tokio::task::JoinHandle<io::Result<BytesMut>> {
        let (backend, file) = (self.backend.clone(), file.clone());
        self.runtime.spawn(async move {
            let (read, buf) = backend.read_at(&file, BytesMut::new(), len, 0).await;
            assert_eq!(read?, buf.len());
            Ok(buf)
        })
    }

    pub(crate) fn read(&self, file: &Arc<DiskFile>, len: usize, offset: u64) -> io::Result<BytesMut> {
        self.run(async {
            let (read, buf) = self.backend.read_at(file, BytesMut::new(), len, offset).await;
            assert_eq!(read?, buf.len());
            Ok(buf)
        })
    }
}

/// A pipe: a read of its end lasts until bytes come, so a test says when an operation completes.
pub(crate) fn pipe() -> (Arc<DiskFile>, File) {
    let mut fds = [0; 2];
    // SAFETY: the array has room for both descriptors.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both are open and owned by nobody else.
    let [reader, writer] = fds.map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
    (Arc::new(DiskFile::new(reader, false)), writer)
}

pub(crate) fn put(mut writer: &File, bytes: &[u8]) {
    writer.write_all(bytes).expect("the pipe takes it");
}

/// Waits for something that another thread brings about, and that nothing tells of.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "still waiting until {what}");
        std::thread::yield_now();
    }
}
