//! The in-memory half of disk-cache: where each entry lies, which one was used least recently, what a purge hits, which
//! segments a recovery keeps. Rows in, decisions out.
//!
//! **Invariants**
//! - No I/O, no clock, no runtime and no bytes on disk: time, rows and segment handles are arguments.
//! - Position in the log is the only order. A later position wins; nothing here compares times.
//! - Sizes are exact at every moment, and [`Index::check_invariants`] recounts them from scratch.
//! - An entry costs at most 48 bytes with everything: a slot of 36, and five per bucket of the hash tables, which are
//!   between 7/16 and 7/8 full. `examples/index_memory.rs` measures it: 44.6 counted and 44.9 resident at 10 million, 47.0
//!   and 47.9 at 7.4 million, where all tables have just doubled. Below some two million, the last chunk of slots of each
//!   of the 256 shards shows, and so does what the smaller tables left behind: 47.2 and 48.3 at one million.
//!
//! **Concurrency**: every type is shared by reference. A look-up takes one short mutex of 256; nothing is awaited or
//! allocated under it. Lock order: segment table, then shards in ascending order, then the purge table. All locks and
//! atomics come from the module `sync`.
#![forbid(unsafe_code)]

mod entry;
mod index;
#[cfg(all(test, shuttle))]
mod interleavings;
mod invariants;
mod lru;
mod marks;
mod plan;
mod position;
mod prefixes;
mod purge;
mod replay;
mod scope_hash;
mod segments;
mod shard;
mod shards;
mod slab;
mod slot;
pub mod sync;

pub use entry::{Entry, Flags, ObjectRef, Tag};
pub use index::{Index, Touch};
pub use plan::{Plan, PlannedSegment, SegmentFacts, plan};
pub use position::{Position, SegmentId};
pub use purge::{MAX_HASHED_ROWS, MAX_PREFIX_ROWS, PurgeRow, Purges, Verdict};
pub use replay::{Replay, Replayed, Row};
pub use segments::MAX_SEGMENTS;
