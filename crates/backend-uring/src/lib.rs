//! The disk backend on io_uring, for Linux: reads, writes and data syncs go to rings, everything else to the portable
//! backend inside.
//!
//! **Invariants**
//! - What the kernel works on (file, buffers, vectors, the operation's slot) is owned by the ring's task until the
//!   completion, and by the driver where the task dies before that. A caller that goes away drops only a receiver.
//! - Fewer operations are in flight on a ring than its queue has entries.
//! - A ring's runtime is dropped only when nothing is in flight on it; where that cannot be had, it is leaked.
//! - An operation whose fate is unknown is an error. Only what never reached the kernel is done again elsewhere; a sync that
//!   may have failed is never repeated into success.
//! - Whatever goes wrong with a ring moves the whole backend to the portable one, once, with one warning.
//!
//! **Concurrency**: a ring lives on a thread of its own, which parks when there is nothing to do. Requests reach it over a
//! channel and are taken in batches; each batch ends with a no-op that is waited for before the next one is taken. That
//! makes sure the batch was submitted: tokio flushes the queue only before it parks, and it does not park while its root
//! task has been woken, which a steady stream of requests would do all the time.
//!
//! Source: `io_uring(7)`, `io_uring_enter(2)`, and the sources of tokio-uring 0.5, whose drop of a driver with live
//! operations frees their buffers.
#![cfg(target_os = "linux")]

mod backend;
mod flight;
mod options;
mod parts;
mod probe;
mod request;
mod retry;
mod ring;
mod serve;
mod shared;
mod submit;

pub use backend::{Sabotage, UringBackend};
pub use options::UringOptions;
pub use probe::{ProbeError, ProbeStep};
