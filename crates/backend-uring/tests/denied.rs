//! Runs `linux/denied.rs`. A file that is empty elsewhere would have no `main`, and the workspace builds anywhere.

#[cfg(target_os = "linux")]
#[path = "linux/common.rs"]
mod common;
#[cfg(target_os = "linux")]
#[path = "linux/denied.rs"]
mod denied;
#[cfg(target_os = "linux")]
#[path = "linux/deny.rs"]
mod deny;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return denied::main();
    #[cfg(not(target_os = "linux"))]
    std::process::ExitCode::SUCCESS
}
