//! Runs `linux/limits.rs`: what the system grants a process runs out. The limits are set and read as on Linux.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test may panic, print, and box nothing"
)]

#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
#[path = "linux/limits.rs"]
mod limits;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return limits::main();
    #[cfg(not(target_os = "linux"))]
    {
        println!("skipped: the limits are set as on Linux");
        std::process::ExitCode::SUCCESS
    }
}
