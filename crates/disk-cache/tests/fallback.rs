//! Runs `linux/fallback.rs`: off Linux there is nothing to fall back from.

#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
#[path = "../../backend-uring/tests/linux/deny.rs"]
mod deny;
#[cfg(target_os = "linux")]
#[path = "linux/fallback.rs"]
mod fallback;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return fallback::main();
    #[cfg(not(target_os = "linux"))]
    std::process::ExitCode::SUCCESS
}
