//! Programs that run as long as this process does, and not a moment longer.
//!
//! **Invariant**: a program and all that it starts are one process group, led by a holder that ends the group when the pipe from
//! this process closes: by a drop, an interrupt, or a kill -9 alike.
//!
//! Source: `proc_pid_stat(5)`.

use crate::Result;
use rustix::process::{Pid, Signal, getpgrp, kill_process_group};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Groups that an interrupt has to end before it removes their files.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A program that listens at an address; ended when dropped.
#[derive(Debug)]
pub struct Held {
    addr: SocketAddr,
    holder: Child,
    log: PathBuf,
}

impl Held {
    /// Starts a program, told by `args` where to listen, and waits until it does. What it says goes to `log`.
    ///
    /// # Errors
    /// Where it ends, or does not listen in time, with the last thing that it said.
    pub fn start(program: &Path, log: &Path, args: impl FnOnce(SocketAddr) -> Vec<OsString>) -> Result<Self> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let said = File::create(log)?;
        let holder = Command::new(std::env::current_exe()?)
            .args(["part", "hold", "--"])
            .arg(program)
            .args(args(addr))
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(said.try_clone()?)
            .stderr(said)
            .process_group(0)
            .spawn()?;
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).push(holder.id());
        let mut held = Self { addr, holder, log: log.to_owned() };
        let begun = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if held.holder.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(&held.log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(format!("{} does not listen: {last}", program.display()).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(held)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// User and system time of the program and all that it started, to a hundredth of a second.
    pub fn cpu_time(&self) -> Duration {
        let ticks: u64 = self.members().filter_map(|(_, stat)| Some(stat.get(11)? + stat.get(12)?)).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory of the program and all that it started, now and at most, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let of = |pid: u32, name: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        let both = |(pid, _)| (of(pid, "VmRSS:"), of(pid, "VmHWM:"));
        self.members().map(both).fold((0, 0), |(now, most), (n, m)| (now + n, most + m))
    }

    /// The processes of the group without the holder, and the numbers in their `stat` from the parent's id on.
    fn members(&self) -> impl Iterator<Item = (u32, Vec<u64>)> {
        let (leader, all) = (self.holder.id(), fs::read_dir("/proc"));
        let pids =
            all.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(move |&pid: &u32| pid != leader).filter_map(move |pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // Behind the name, which may contain anything, and the state.
            let numbers = stat.rsplit_once(") ")?.1.split(' ').skip(1);
            let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap_or(0)).collect();
            (numbers.get(1) == Some(&u64::from(leader))).then_some((pid, numbers))
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let id = self.holder.id();
        end(id);
        // Killed with its group.
        drop(self.holder.wait());
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|group| *group != id);
    }
}

/// Ends a group with its leader, which this process has not waited for: the id is nobody else's.
fn end(group: u32) {
    let pid = i32::try_from(group).ok().and_then(Pid::from_raw);
    // Nobody is there any more, at worst.
    pid.and_then(|pid| kill_process_group(pid, Signal::KILL).ok());
}

/// Ends all programs, because this process is about to end.
pub fn end_all() {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().for_each(end);
}

/// Is the holder: runs the program, and ends the group, itself too, when its standard input does.
///
/// # Errors
/// Where the program does not start, or ends by itself.
pub fn hold(command: &[OsString]) -> Result<()> {
    let (program, args) = command.split_first().ok_or("a program to hold")?;
    let mut child = Command::new(program).args(args).stdin(Stdio::null()).spawn()?;
    thread::spawn(|| {
        let mut pipe = std::io::stdin();
        // Nothing is ever sent.
        while pipe.read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
        kill_process_group(getpgrp(), Signal::KILL).ok();
    });
    let ended = child.wait()?;
    Err(format!("{} ended: {ended}", program.display()).into())
}
