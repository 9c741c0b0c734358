//! Directories that are kept open.
//!
//! **Invariants**: a sync of a directory that was synced before needs no descriptor; one that has taken the place of another
//! under its name is opened anew; at most [`MOST`] are open.

use parking_lot::Mutex;
use rustix::fs::{OFlags, fstat, stat};
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A cache has four.
const MOST: usize = 16;

/// See the module text.
#[derive(Debug, Default)]
pub(crate) struct OpenDirs(Mutex<VecDeque<(PathBuf, Arc<File>)>>);

impl OpenDirs {
    /// Takes the names in a directory to stable storage.
    ///
    /// # Errors
    /// Those of the file system; `NotADirectory` where a file has the name.
    pub(crate) fn sync(&self, dir: &Path) -> io::Result<()> {
        self.opened(dir)?.sync_all()
    }

    fn opened(&self, dir: &Path) -> io::Result<Arc<File>> {
        let kept = self.0.lock().iter().find(|(path, _)| path == dir).map(|(_, file)| file.clone());
        if let Some(file) = kept {
            let (there, here) = (stat(dir)?, fstat(&file)?);
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) {
                return Ok(file);
            }
        }
        // O_DIRECTORY: a file of that name must not pass for its directory.
        let flags = i32::try_from(OFlags::DIRECTORY.bits()).map_err(io::Error::other)?;
        let file = Arc::new(OpenOptions::new().read(true).custom_flags(flags).open(dir)?);
        let mut kept = self.0.lock();
        kept.retain(|(path, _)| path != dir);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((dir.to_owned(), file.clone()));
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_is_opened_once_and_again_when_another_has_its_name() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = base.path().join("dir");
        fs::create_dir(&dir).expect("made");
        let dirs = OpenDirs::default();
        let first = dirs.opened(&dir).expect("opened");
        assert!(Arc::ptr_eq(&first, &dirs.opened(&dir).expect("kept")));
        // Still there, so that the next one gets another inode.
        fs::rename(&dir, base.path().join("moved")).expect("moved");
        dirs.sync(&dir).expect_err("it has gone");
        fs::create_dir(&dir).expect("made again");
        let second = dirs.opened(&dir).expect("opened");
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &dirs.opened(&dir).expect("kept")));
    }

    #[test]
    fn no_more_than_so_many_stay_open() {
        let base = tempfile::tempdir().expect("a directory");
        let dirs = OpenDirs::default();
        for n in 0..2 * MOST {
            let dir = base.path().join(n.to_string());
            fs::create_dir(&dir).expect("made");
            dirs.sync(&dir).expect("synced");
        }
        assert_eq!(dirs.0.lock().len(), MOST);
    }
}
