//! Runs `linux/real_disks.rs`: file systems that fail under a cache. They are mounted from images, which needs Linux and root.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test may panic, print its seed and box nothing"
)]

#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
#[path = "linux/mount.rs"]
mod mount;
#[cfg(target_os = "linux")]
#[path = "linux/real_disks.rs"]
mod real_disks;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return real_disks::main();
    #[cfg(not(target_os = "linux"))]
    {
        println!("skipped: the file systems are Linux's");
        std::process::ExitCode::SUCCESS
    }
}
