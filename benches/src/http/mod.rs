//! Proxies as their clients see them: bodies by URL, the origin they come from, proxies as processes, and a client that costs
//! little beside them.
//!
//! **Invariants**: all proxies stand before the same origin, which sends the same bytes for the same URL for ever; a body is
//! verified by its length always and by its bytes in a sample; no process outlives the run, however it ends.

pub mod bodies;
pub mod client;
pub mod held;
pub mod origin;
pub mod proxy;
