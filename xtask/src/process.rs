//! Child processes: run to the end, with one line about what went wrong.

use crate::interrupt;
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The folder of the workspace.
pub(crate) fn repo() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A command that runs in the workspace's folder.
pub(crate) fn command<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(repo());
    command
}

/// Whether a program is there and starts.
pub(crate) fn found(program: &str) -> bool {
    let mut command = command(program, ["--version"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Runs on this process's own streams.
///
/// # Errors
/// One line: the command and how it ended.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    interrupt::check()?;
    let status = command.status().map_err(|e| unstarted(command, &e))?;
    ended(command, status)
}

/// Runs and gives what it wrote to its standard output.
///
/// # Errors
/// One line: the command and the last thing that it complained of.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    interrupt::check()?;
    let out = command.stdin(Stdio::null()).output().map_err(|e| unstarted(command, &e))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&out.stderr);
    let complaint = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word of why");
    Err(format!("{}: {complaint}", name(command)))
}

/// Runs, handing on each line of its standard output as it comes.
///
/// # Errors
/// That it did not start. How it ended is the caller's to judge.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus, String> {
    interrupt::check()?;
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| unstarted(command, &e))?;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).split(b'\n') {
            let line = line.map_err(|e| format!("{}: {e}", name(command)))?;
            each(String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
    }
    child.wait().map_err(|e| format!("{}: {e}", name(command)))
}

/// Runs in a process group of its own, and ends all of it where it takes longer than that.
///
/// # Errors
/// That it did not start, or was ended. How it ended by itself is the caller's to judge.
pub(crate) fn limited(command: &mut Command, limit: Duration) -> Result<ExitStatus, String> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    interrupt::check()?;
    let mut child = command.stdin(Stdio::null()).spawn().map_err(|e| unstarted(command, &e))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(e) => return Err(format!("{}: {e}", name(command))),
        }
        let interrupted = interrupt::check();
        if interrupted.is_err() || begun.elapsed() > limit {
            end(&mut child);
            interrupted?;
            return Err(format!("{} was still running after {} s", name(command), limit.as_secs()));
        }
    }
}

/// Ends a child with all that it started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status());
    // Gone already where the group was ended.
    drop(child.kill());
    drop(child.wait());
}

/// How a command ended, as a result.
pub(crate) fn ended(command: &Command, status: ExitStatus) -> Result<(), String> {
    interrupt::check()?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", name(command))) }
}

fn unstarted(command: &Command, error: &std::io::Error) -> String {
    format!("{} does not start: {error}", name(command))
}

/// The program with the start of its arguments.
fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args().take(3));
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
