//! Whether io_uring can be used here: not by version, but by doing what will be done.

use crate::{flight::Flights, serve};
use backend_tokio::DiskFile;
use bytes::{Bytes, BytesMut};
use io_uring::{IoUring, Probe, opcode};
use std::{
    fmt,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Semaphore;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeStep {
    /// Starting a thread for the ring.
    Thread,
    /// Setting the ring up.
    Setup,
    /// Asking which operations the kernel has.
    Opcodes,
    /// Submitting an operation that does nothing.
    Submit,
    /// Making the file to try them on.
    File,
    /// A write.
    Write,
    /// A read of what was written.
    Read,
    /// A data sync.
    Sync,
}

impl fmt::Display for ProbeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "starting a thread for a ring",
            Self::Setup => "setting up a ring",
            Self::Opcodes => "asking for the operations",
            Self::Submit => "submitting to a ring",
            Self::File => "making a file to try a ring on",
            Self::Write => "a write on a ring",
            Self::Read => "a read on a ring",
            Self::Sync => "a sync on a ring",
        })
    }
}

/// Why io_uring cannot be used here.
#[derive(Debug, thiserror::Error)]
#[error("io_uring cannot be used here: {step} failed: {source}")]
pub struct ProbeError {
    /// What failed.
    pub step: ProbeStep,
    /// How. `PermissionDenied` is a seccomp filter (a container's) or the sysctl `kernel.io_uring_disabled`; `Unsupported` a
    /// kernel without it; `OutOfMemory` a low limit of locked memory before Linux 5.12.
    pub source: io::Error,
}

impl ProbeError {
    /// For `map_err`.
    pub(crate) fn at(step: ProbeStep) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { step, source }
    }
}

/// Checks that the kernel has every operation that is used and takes submissions. On a ring of its own: the runtime's driver
/// hides the error of a submission and would wait for ever.
pub(crate) fn opcodes() -> Result<(), ProbeError> {
    let mut ring = IoUring::new(2).map_err(ProbeError::at(ProbeStep::Setup))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(ProbeError::at(ProbeStep::Opcodes))?;
    let wanted = [
        ("NOP", opcode::Nop::CODE),
        ("READ", opcode::Read::CODE),
        ("WRITEV", opcode::Writev::CODE),
        ("FSYNC", opcode::Fsync::CODE),
    ];
    if let Some((name, _)) = wanted.iter().find(|(_, code)| !probe.is_supported(*code)) {
        let source = io::Error::new(io::ErrorKind::Unsupported, format!("the kernel has no {name}"));
        return Err(ProbeError { step: ProbeStep::Opcodes, source });
    }
    // SAFETY: a no-op points to nothing.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    let submitted = pushed.map_err(io::Error::other).and_then(|()| ring.submit_and_wait(1));
    submitted.map(|_| ()).map_err(ProbeError::at(ProbeStep::Submit))
}

/// Writes, reads and syncs a file in `dir` on this thread's ring. The file has lost its name before anything is tried, so
/// nothing is left of it whatever happens.
pub(crate) async fn round_trip(dir: &Path) -> Result<(), ProbeError> {
    let text = Bytes::from_static(b"disk-cache tries io_uring");
    let file = nameless_file(dir).map_err(ProbeError::at(ProbeStep::File))?;
    let (flights, slots) = (Rc::new(Flights::default()), Arc::new(Semaphore::new(1)));
    let flight = async || match slots.clone().acquire_owned().await {
        Ok(slot) => Ok(flights.start(slot)),
        Err(e) => Err(io::Error::other(e)),
    };
    let wrote = async { serve::write(file.clone(), vec![text.clone()], 0, flight().await?).await };
    wrote.await.map_err(ProbeError::at(ProbeStep::Write))?;
    let read = async {
        let (result, buf) =
            serve::read(file.clone(), BytesMut::new(), text.len() + 1, 0, flight().await?).await;
        match result? {
            n if n == text.len() && buf == text => Ok(()),
            n => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{n} other bytes came back"))),
        }
    };
    read.await.map_err(ProbeError::at(ProbeStep::Read))?;
    let synced = async { serve::sync(file.clone(), flight().await?).await };
    synced.await.map_err(ProbeError::at(ProbeStep::Sync))
}

fn nameless_file(dir: &Path) -> io::Result<Arc<DiskFile>> {
    let path = probe_path(dir);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(Arc::new(DiskFile::new(file, false)))
}

/// A name that no other probe has, in this process or another.
fn probe_path(dir: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    dir.join(format!(".io-uring-probe-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_step_and_the_error() {
        let error = ProbeError::at(ProbeStep::Setup)(io::Error::from_raw_os_error(libc::EPERM));
        let text = error.to_string();
        assert!(text.contains("setting up a ring") && text.contains("not permitted"), "{text}");
        assert_eq!(error.source.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn the_file_has_no_name_and_no_two_share_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let files: Vec<_> = (0..3).map(|_| nameless_file(dir.path()).expect("a file")).collect();
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
        assert_eq!(files.len(), 3);
        assert_ne!(probe_path(dir.path()), probe_path(dir.path()));
    }
}
