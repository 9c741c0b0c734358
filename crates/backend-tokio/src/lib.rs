//! The disk backend for every platform: each operation is one blocking call on a thread of a tokio runtime's pool.
//!
//! **Invariants**
//! - One `spawn_blocking` per operation, never a chain of them; the closure owns the file, the buffers and the paths, so
//!   a dropped future detaches the operation and frees nothing under it.
//! - Nothing is zeroed before the kernel fills it; the unsafe code that this takes is in `read.rs` alone.
//! - Linux gives what the trait offers; elsewhere hints and page-cache reads do nothing, and a reservation only sets the
//!   length.
//!
//! **Concurrency**: the backend has no state but the runtime's handle and, on Unix, the directories it has synced, which it
//! keeps open behind a lock that is never held across a call of the system. Every file remembers for itself whether its file
//! system reads without waiting.

#[cfg(target_os = "linux")]
mod advise;
mod backend;
mod file;
mod fill;
mod open;
#[cfg(unix)]
mod open_dirs;
mod read;
mod write;

pub use backend::TokioBackend;
pub use file::{DiskFile, check_range};
