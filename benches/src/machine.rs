//! The machine and the versions that figures belong to.

use serde::{Deserialize, Serialize};
use std::{fs, process::Command};

/// What a reader has to know to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, and how many there are.
    pub processor: String,
    /// Memory.
    pub memory: String,
    /// The kernel.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// fio, where it is installed.
    pub fio: String,
    /// What was measured.
    pub commit: String,
    /// When, in UTC.
    pub date: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = field("/proc/meminfo", "MemTotal:");
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
        Self {
            processor: format!("{cores} x {}", field("/proc/cpuinfo", "model name")),
            memory: format!("{:.0} GiB", kib / f64::from(1 << 20)),
            kernel: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
            fio: said("fio", &["--version"]),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M"]),
        }
    }
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_default().trim_start_matches([' ', '\t', ':']).trim().to_owned()
}

/// Nothing where the program is missing.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
