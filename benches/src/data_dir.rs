//! Where a run keeps its files: on a real file system, and gone at the end, also after Ctrl-C.

use crate::Result;
use rustix::io::{Errno, ReadWriteFlags};
use std::{
    fs::{self, File},
    io::IoSliceMut,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// The directory of a run, removed when dropped.
#[derive(Debug)]
pub struct DataDir {
    dir: TempDir,
}

impl DataDir {
    /// Makes a directory in `parent`, or in `target/`, which unlike `/tmp` is seldom in memory.
    ///
    /// # Errors
    /// Where none can be made.
    pub fn new(parent: Option<&Path>) -> Result<Self> {
        let parent = match parent {
            Some(parent) => {
                fs::create_dir_all(parent)?;
                parent.to_owned()
            }
            None => target()?,
        };
        let dir = tempfile::Builder::new().prefix(".bench-data-").tempdir_in(parent)?;
        // It may lie in a work tree: what is in it is nobody's work.
        fs::write(dir.path().join(".gitignore"), "*\n")?;
        Ok(Self { dir })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes it when the process is interrupted or told to end, and ends the process.
    ///
    /// # Errors
    /// Where the signals cannot be listened to.
    pub fn remove_on_signal(&self) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let path = self.path().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let ended = runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                tokio::select! {
                    done = tokio::signal::ctrl_c() => done,
                    _ = terminate.recv() => Ok(()),
                }
            });
            if ended.is_ok() {
                crate::http::held::end_all();
                remove(&path);
                std::process::exit(130);
            }
        })?;
        Ok(())
    }

    /// What is wrong with measuring here, if anything.
    ///
    /// # Errors
    /// Where no file can be written.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        let path = self.path().join("trial");
        fs::write(&path, [7; 4096])?;
        let file = File::open(&path)?;
        let mut buf = [0; 4096];
        let read = rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut buf)], 0, ReadWriteFlags::NOWAIT);
        if matches!(read, Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)) {
            complaints.push(
                "this file system (tmpfs?) does not read without waiting: warm gets take the slow path and `bare` \
                 does not run. Choose another with --dir"
                    .to_owned(),
            );
        }
        if crate::device::open_direct(&path).is_err() {
            complaints.push("this file system has no O_DIRECT: no figures of the device itself".to_owned());
        }
        fs::remove_file(&path)?;
        Ok(complaints)
    }
}

/// The folder that this was built in; a container has it on a volume.
fn target() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().find(|a| a.file_name().is_some_and(|n| n == "target"));
    match target {
        Some(target) => Ok(target.to_owned()),
        None => Ok(std::env::current_dir()?),
    }
}

/// The process still makes files meanwhile, so one sweep may not be enough.
fn remove(path: &Path) {
    for _ in 0..50 {
        if fs::remove_dir_all(path).is_ok() || !path.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
