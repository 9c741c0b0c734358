//! The emulated machine: a kernel, an initial file system and a disk. It speaks on its serial line.

use crate::{
    interrupt,
    process::{command, output},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

const INIT: &str = include_str!("init.sh");
/// What the disk needs; a kernel that has one of them built in has no such file.
const MODULES: &[&str] =
    &["virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"];
/// A machine that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(300);

pub(crate) struct Machine {
    kernel: PathBuf,
    initial: PathBuf,
    disk: PathBuf,
    /// Where the test binaries were built to put their files; the disk is mounted there.
    folder: PathBuf,
}

impl Machine {
    /// Puts the files together, with an empty disk.
    ///
    /// # Errors
    /// A file that is missing, or a full disk here.
    pub(crate) fn assemble(
        folder: &Path,
        series: &str,
        root: &Path,
        tests: &[(String, PathBuf)],
        survivor: &Path,
    ) -> Result<Self, String> {
        let place = folder.join(series);
        let files = place.join("files");
        drop(fs::remove_dir_all(&files));
        for part in ["bin", "modules", "tests"] {
            fs::create_dir_all(files.join(part)).map_err(|e| format!("{}: {e}", files.display()))?;
        }
        let busybox = root.join("bin/busybox");
        copy(&busybox, &files.join("bin/busybox"))?;
        copy(survivor, &files.join("survivor"))?;
        for (name, path) in tests {
            copy(path, &files.join("tests").join(name))?;
        }
        let all = output(command("find", ["-name", "virtio*.ko"]).current_dir(root))?;
        for module in MODULES {
            if let Some(path) = all.lines().find(|path| path.ends_with(&format!("/{module}.ko"))) {
                copy(&root.join(path), &files.join("modules").join(format!("{module}.ko")))?;
            }
        }
        fs::write(files.join("init"), INIT).map_err(|e| format!("{}: {e}", files.display()))?;
        output(command("chmod", ["755", "init"]).current_dir(&files))?;
        let (initial, disk) = (place.join("initial.cpio"), place.join("disk"));
        pack(&busybox, &files, &initial)?;
        drop(fs::remove_file(&disk));
        let image = fs::File::create(&disk).and_then(|file| file.set_len(1 << 30));
        image.map_err(|e| format!("{}: {e}", disk.display()))?;
        output(command("mkfs.ext4", ["-q", "-F"]).arg(&disk))?;
        let boot = fs::read_dir(root.join("boot")).map_err(|e| format!("{}: {e}", root.display()))?.flatten();
        let kernel = boot.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/vmlinuz-"));
        let kernel = kernel.ok_or_else(|| format!("{}: no kernel", root.display()))?;
        Ok(Self { kernel, initial, disk, folder: folder.join(super::TARGET).join("tmp") })
    }

    /// Runs every test binary; gives how many tests passed.
    ///
    /// # Errors
    /// The binaries that failed, or whose tests did not run.
    pub(crate) fn run_tests(&self, binaries: usize) -> Result<u64, String> {
        let (mut passed, mut good, mut bad) = (0, 0, Vec::new());
        self.run("phase=tests", |line| {
            if let Some(counts) = line.strip_prefix("test result: ok. ") {
                passed += counts.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
                if !counts.contains("; 0 ignored") {
                    bad.push(format!("tests did not run: {counts}"));
                }
            }
            match line.strip_prefix("machine: ").and_then(|line| line.split_once(" ended with ")) {
                Some((_, "0")) => good += 1,
                Some((name, code)) => bad.push(format!("{name} ended with {code}")),
                None => {}
            }
            true
        })?;
        if bad.is_empty() && good == binaries && passed > 0 {
            Ok(passed)
        } else {
            Err(format!("{good} of {binaries} test binaries passed; {}", bad.join("; ")))
        }
    }

    /// Inserts until so many are acknowledged, then kills the machine; gives how many were by then.
    ///
    /// # Errors
    /// That it ended by itself.
    pub(crate) fn fill_until(&self, count: u64) -> Result<u64, String> {
        let mut acknowledged = 0;
        self.run("phase=fill", |line| {
            if let Some(number) = line.strip_prefix("survivor: acknowledged ") {
                acknowledged = number.parse().unwrap_or(acknowledged);
            }
            acknowledged < count
        })?;
        if acknowledged >= count {
            Ok(acknowledged)
        } else {
            Err(format!("only {acknowledged} of {count} inserts"))
        }
    }

    /// Boots after the kill and looks for what was acknowledged.
    ///
    /// # Errors
    /// What is lost.
    pub(crate) fn check(&self, count: u64) -> Result<(), String> {
        let (mut found, mut last) = (false, String::new());
        self.run(&format!("phase=check disk_cache.count={count}"), |line| {
            found |= line == format!("survivor: found {count}");
            if line.starts_with("Error: ") {
                line.clone_into(&mut last);
            }
            true
        })?;
        if found { Ok(()) } else { Err(format!("after the kill: {last}")) }
    }

    /// Boots and hands on each line until the machine turns itself off, or `each` answers false: then it is killed.
    fn run(&self, order: &str, mut each: impl FnMut(&str) -> bool) -> Result<(), String> {
        interrupt::check()?;
        let line = format!(
            "console=ttyS0 quiet panic=-1 disk_cache.folder={} disk_cache.{order}",
            self.folder.display()
        );
        let mut qemu = command(
            "qemu-system-x86_64",
            ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
        );
        qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-serial", "stdio"]);
        // What the machine has flushed is in the file; what it has not dies with it.
        let drive = format!("file={},format=raw,if=virtio,cache=writeback", self.disk.display());
        qemu.arg("-drive").arg(drive).arg("-append").arg(line);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initial);
        let mut qemu = Killed::start(&mut qemu)?;
        let out = qemu.0.stdout.take().ok_or("qemu has no output")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(out).split(b'\n').map_while(Result::ok);
            lines.map(|line| send.send(line)).find(Result::is_err)
        });
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    let line = String::from_utf8_lossy(&line);
                    let line = line.trim_end();
                    if !line.starts_with("survivor: acknowledged") {
                        println!("{line}");
                    }
                    if !each(line) {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return interrupt::check(),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the machine says nothing for {SILENCE:?}"));
                }
            }
        }
    }
}

/// A child that does not outlive this.
struct Killed(Child);

impl Killed {
    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        child.map(Self).map_err(|e| format!("qemu does not start: {e}"))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|e| format!("{}: {e}", from.display()))
}

/// An initial file system of all that is in a folder.
fn pack(busybox: &Path, files: &Path, to: &Path) -> Result<(), String> {
    let names = output(command("find", ["."]).current_dir(files))?;
    let archive = fs::File::create(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let mut cpio = Command::new(busybox);
    cpio.args(["cpio", "-o", "-H", "newc", "-R", "0:0"]).current_dir(files).stdin(Stdio::piped());
    let mut cpio =
        cpio.stdout(archive).stderr(Stdio::null()).spawn().map_err(|e| format!("busybox cpio: {e}"))?;
    let fed = cpio.stdin.take().map(|mut input| input.write_all(names.as_bytes()));
    let ended = cpio.wait().map_err(|e| format!("busybox cpio: {e}"))?;
    match fed {
        Some(Ok(())) if ended.success() => Ok(()),
        _ => Err(format!("busybox cpio failed ({ended})")),
    }
}
