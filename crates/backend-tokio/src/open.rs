//! Opens a file and reserves its room.

use crate::DiskFile;
use cache_core::OpenMode;
use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// How often a name may come and go between two looks at it before that is an error.
const CREATE_TRIES: usize = 16;

/// Opens `path` as `mode` says. A file that this call made and could not reserve room for is removed again.
///
/// # Errors
/// Those of the file system; `InvalidInput` for a reservation in a file that is opened to read only; `Unsupported` where
/// the platform has no direct files.
pub(crate) fn open(path: &Path, mode: OpenMode) -> io::Result<DiskFile> {
    let writable = mode.write || mode.create || mode.create_new;
    if mode.preallocate.is_some() && !writable {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "room is reserved only in a file opened to write",
        ));
    }
    if mode.direct && cfg!(not(target_os = "linux")) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "files bypass the page cache on Linux only"));
    }
    let (file, made) = open_or_make(path, mode, options(mode, writable))?;
    if let Some(len) = mode.preallocate
        && let Err(failed) = reserve(&file, len)
    {
        if made && let Err(e) = fs::remove_file(path) {
            return Err(io::Error::new(failed.kind(), format!("{failed}; the new file is still there: {e}")));
        }
        return Err(failed);
    }
    Ok(DiskFile::new(file, mode.direct))
}

fn options(mode: OpenMode, writable: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(writable);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
        #[cfg(target_os = "linux")]
        if mode.direct {
            options.custom_flags(libc::O_DIRECT);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = mode;
    options
}

/// The file and whether this call made it. Creation and opening are told apart, because only a file made here may be
/// removed here.
fn open_or_make(path: &Path, mode: OpenMode, mut options: OpenOptions) -> io::Result<(File, bool)> {
    if mode.create_new {
        return Ok((options.create_new(true).open(path)?, true));
    }
    let mut made = options.clone();
    made.create_new(true);
    for _ in 0..CREATE_TRIES {
        match options.open(path) {
            Err(e) if mode.create && e.kind() == io::ErrorKind::NotFound => {}
            other => return Ok((other?, false)),
        }
        match made.open(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return Ok((other?, true)),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the name comes and goes"))
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::{fs::FallocateFlags, io::Errno};
    if len == 0 {
        return Ok(());
    }
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len)) {
        // No reservations here: the length at least is what the caller asked for.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => extend(file, len),
        other => Ok(other?),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    extend(file, len)
}

/// Makes the file `len` long unless it is longer.
fn extend(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_extended_and_never_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File::create_new(dir.path().join("file")).expect("made");
        for (ask, have) in [(100, 100), (50, 100), (200, 200), (0, 200)] {
            extend(&file, ask).expect("extended");
            assert_eq!(file.metadata().expect("metadata").len(), have);
        }
    }

    #[test]
    fn a_file_that_was_there_is_not_removed_when_its_reservation_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, b"old").expect("written");
        let mode = OpenMode { create: true, preallocate: Some(i64::MAX as u64), ..OpenMode::READ };
        open(&path, mode).expect_err("no disk has that much room");
        assert_eq!(fs::read(&path).expect("still there"), b"old");
    }

    #[test]
    fn a_reservation_needs_a_file_opened_to_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, b"old").expect("written");
        let refused =
            open(&path, OpenMode { preallocate: Some(10), ..OpenMode::READ }).expect_err("read only");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
