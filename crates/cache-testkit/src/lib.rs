//! What the tests of disk-cache share.
//!
//! - [`MemoryBackend`]: files in memory with a volatile and a durable state. It makes the states that a power cut or a kill
//!   may leave, by plan and repeatable by seed.
//! - [`FaultBackend`]: any backend, with planted failures, short and torn operations, and operations held at a gate.
//! - [`Model`]: what each key may hold, whatever happened.
//! - [`conformance`]: the cases that every backend passes.
//! - [`on_all_cores`]: numbered cases, spread over the cores.
//! - [`log_to_file`]: what the caches under test say, for `cargo xtask test-linux` to count.
//! - [`tried()`]: how many cases a test tried, for `cargo xtask faults` to add up.
//!
//! **Invariant**: nothing here looks at a clock or at the system's randomness; the same seed gives the same run.
#![forbid(unsafe_code)]

pub mod conformance;
mod cores;
mod fault;
mod log;
mod memory;
mod model;
mod rng;
mod tried;

pub use cores::on_all_cores;
pub use fault::{Fault, FaultBackend, FaultFile, Gate, Rule, Verb};
pub use log::log_to_file;
pub use memory::{CrashPlan, Fate, MemoryBackend, MemoryFile, MemoryOp, Phase, Step, Unsynced};
pub use model::{Loss, Model, Permitted, Seen, Stored, Ticket};
pub use rng::Rng;
pub use tried::tried;
