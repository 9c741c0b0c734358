//! The engine of disk-cache: a log-structured store over any `DiskBackend`.
//!
//! **Invariants**: the log is the only truth and position in it is the only order; what is handed out was verified on this
//! very read; bytes on disk never exceed the capacity; what an acknowledged operation promised holds after any crash.
//! Every file of this crate opens with the part it keeps.
#![forbid(unsafe_code)]

mod buffer;
mod checkpoint;
mod claim;
mod commit;
mod counters;
mod debt;
mod direct;
mod engine;
mod failure;
mod fairness;
mod fetch;
mod flush;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod growth;
mod inflight;
mod insert;
#[cfg(all(test, shuttle))]
mod interleavings;
mod io;
mod layout;
mod log;
mod object;
mod publish;
mod purge;
mod reclaim;
mod recover;
mod roll;
mod scan;
mod seal;
mod segment;
mod sequencer;
mod shared;
mod shutdown;
mod space;
mod stats;
mod survivors;
mod sync;
mod turns;
mod writer;

pub use engine::Engine;
pub use fetch::Fill;
pub use writer::EntryWriter;
