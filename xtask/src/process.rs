//! Child processes: run to the end, with one line about what went wrong.

use crate::interrupt;
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Sender},
    thread,
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
    told(command, &out)
}

fn told(command: &Command, out: &Output) -> Result<String, String> {
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&out.stderr);
    let complaint = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word of why");
    Err(format!("{}: {complaint}", name(command)))
}

/// [`output`], for a command that may wait for ever; what it writes is short.
///
/// # Errors
/// Those of [`output`], and that the time is up.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Result<String, String> {
    interrupt::check()?;
    let begun = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| unstarted(command, &e))?;
    let failed = |e: std::io::Error| format!("{}: {e}", name(command));
    while child.try_wait().map_err(failed)?.is_none() {
        if begun.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Err(format!("{}: no answer in {limit:?}", name(command)));
        }
        thread::sleep(Duration::from_millis(20));
    }
    told(command, &child.wait_with_output().map_err(failed)?)
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Output,
    Complaints,
}

/// Runs, handing on each line of both its streams as it comes.
///
/// # Errors
/// That it did not start. How it ended is the caller's to judge.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(Stream, &str)) -> Result<ExitStatus, String> {
    interrupt::check()?;
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| unstarted(command, &e))?;
    let (send, both) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        hand_on(Stream::Output, out, send.clone());
    }
    if let Some(err) = child.stderr.take() {
        hand_on(Stream::Complaints, err, send);
    }
    for (stream, line) in both {
        each(stream, String::from_utf8_lossy(&line).trim_end_matches('\r'));
    }
    child.wait().map_err(|e| format!("{}: {e}", name(command)))
}

/// Sends lines until the stream ends or nobody listens.
fn hand_on(stream: Stream, pipe: impl Read + Send + 'static, to: Sender<(Stream, Vec<u8>)>) {
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe).split(b'\n').map_while(Result::ok);
        lines.try_for_each(|line| to.send((stream, line))).ok()
    });
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
            Ok(None) => thread::sleep(Duration::from_millis(50)),
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn both_streams_of_a_child_are_handed_on() {
        let mut lines_seen = Vec::new();
        let mut shell = command("sh", ["-c", "echo out; echo err >&2; exit 3"]);
        let status =
            lines(&mut shell, |stream, line| lines_seen.push((stream, line.to_owned()))).expect("it starts");
        lines_seen.sort();
        let expected = vec![(Stream::Output, "out".to_owned()), (Stream::Complaints, "err".to_owned())];
        assert_eq!((status.code(), lines_seen), (Some(3), expected));
    }

    #[test]
    fn a_command_that_waits_for_ever_is_given_up() {
        let mut for_ever = command("cat", ["/dev/zero"]);
        let given_up = output_within(&mut for_ever, Duration::from_millis(50));
        assert!(given_up.is_err_and(|why| why.contains("no answer in 50ms")));
        let quick = output_within(&mut command("echo", ["here"]), Duration::from_secs(60));
        assert_eq!(quick, Ok("here\n".to_owned()));
    }
}
