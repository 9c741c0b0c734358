//! Files in memory with a volatile and a durable state.
//!
//! **Invariants**
//! - What a reader sees is what was written; what a power cut leaves is what was synced, and any choice of the rest.
//! - `sync_data` makes a file's bytes and length durable and never its name; `sync_dir` makes the names of one directory
//!   durable and never any bytes.
//! - A copy ([`MemoryBackend::fork`]) costs a pointer per file, so that a harness can keep one for every operation of a run.
//!
//! The model is harsher than file systems with a journal: it may lose an older name and keep a newer one, and it may lose
//! one of two writes to the same sector. Nobody promises otherwise.

mod backend;
mod content;
mod fate;
mod file;
mod inode;
mod names;
mod op;
mod world;

pub use backend::MemoryBackend;
pub use fate::{CrashPlan, Fate, Unsynced};
pub use file::MemoryFile;
pub use op::{MemoryOp, Phase, Step};
