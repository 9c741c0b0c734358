//! Runs `linux/threads.rs`. A file that is empty elsewhere would have no `main`, and the workspace builds anywhere.

#[cfg(target_os = "linux")]
#[path = "linux/common.rs"]
mod common;
#[cfg(target_os = "linux")]
#[path = "linux/threads.rs"]
mod threads;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return threads::main();
    #[cfg(not(target_os = "linux"))]
    std::process::ExitCode::SUCCESS
}
