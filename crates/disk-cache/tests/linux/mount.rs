//! File systems of the tests' own, in images, seen by this process and its children alone.

use crate::common::Skip;
use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// `EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN`, which are one: `_IOR('X', 125, u32)`.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;

/// What a file system that goes down does with its journal. Pages that were not synced are lost either way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Journal {
    Flushed = 1,
    Lost = 2,
}

/// Gives this process mounts of its own, which go with it. To be called before there are threads.
///
/// # Errors
/// Why it cannot have any: it is not root, as a rule.
pub(crate) fn own_mounts() -> Result<(), String> {
    // SAFETY: takes a number and touches no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(format!("no mounts of its own, which need root: {}", io::Error::last_os_error()));
    }
    run("mount", &["--make-rprivate", "/"]).map_err(|Skip(reason)| reason)
}

/// Runs a program; what it lacks is a reason to skip.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), Skip> {
    let skip = |why: String| Skip(format!("{program} {}: {why}", arguments.join(" ")));
    let out = Command::new(program).args(arguments).output().map_err(|e| skip(e.to_string()))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(skip(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
    }
}

/// A file system in an image.
pub(crate) struct Disk {
    image: PathBuf,
    pub(crate) at: PathBuf,
    kind: &'static str,
}

impl Disk {
    /// Makes one of that many MiB, the image in `folder`, and mounts it.
    pub(crate) fn make(folder: &Path, kind: &'static str, mib: u64) -> Result<Self, Skip> {
        let (image, at) = (folder.join(format!("{kind}.image")), folder.join(kind));
        fs::create_dir_all(&at).unwrap();
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let image_name = image.to_str().unwrap();
        match kind {
            "xfs" => run("mkfs.xfs", &["-q", image_name])?,
            _ => run("mkfs.ext4", &["-q", "-F", image_name])?,
        }
        let disk = Self { image, at, kind };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), Skip> {
        run(
            "mount",
            &["-o", "loop", "-t", self.kind, self.image.to_str().unwrap(), self.at.to_str().unwrap()],
        )
    }

    /// The power goes: what is not on the device by now never gets there.
    pub(crate) fn cut(&self, journal: Journal) {
        let root = File::open(&self.at).unwrap();
        let how = journal as u32;
        // SAFETY: the call reads four bytes at the pointer, which is valid for it.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    /// Finds an error in itself, and turns read-only for it.
    pub(crate) fn turn_read_only(&self) -> Result<(), Skip> {
        let at = fs::read_to_string("/proc/self/mounts").unwrap();
        let mine = at.lines().find(|line| line.split(' ').nth(1) == self.at.to_str()).unwrap();
        let device = Path::new(mine.split(' ').next().unwrap()).file_name().unwrap().to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        run("mount", &["-o", "remount,errors=remount-ro", self.at.to_str().unwrap()])?;
        fs::write(&trigger, "planted").map_err(|e| Skip(format!("{}: {e}", trigger.display())))
    }

    /// What the next boot does: unmounted, its journal replayed, an error in it repaired, mounted again.
    pub(crate) fn again(&self, repair: bool) {
        let begun = Instant::now();
        // Operations that were under way still hold their files for a moment.
        while let Err(Skip(why)) = run("umount", &[self.at.to_str().unwrap()]) {
            assert!(begun.elapsed() < Duration::from_secs(300), "{why}");
            std::thread::sleep(Duration::from_millis(2));
        }
        if repair {
            // 1: it was repaired.
            let status = Command::new("e2fsck").args(["-f", "-y"]).arg(&self.image).output().unwrap().status;
            assert!(status.code().is_some_and(|code| code <= 1), "{status}");
        }
        if let Err(Skip(why)) = self.mount() {
            panic!("{why}");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(run("umount", &["-l", self.at.to_str().unwrap()]));
    }
}
