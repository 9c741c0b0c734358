//! Any backend, with planted failures.
//!
//! **Invariants**: an operation that is refused does not reach the backend inside; a torn write reaches it with its first
//! half; every operation is counted once, whatever becomes of it.

mod backend;
mod gate;
mod rule;

pub use backend::{FaultBackend, FaultFile};
pub use gate::Gate;
pub use rule::{Fault, Rule, Verb};
