//! The example's proxy, which is a real Pingora, between a client and an origin.
#![cfg(unix)]

#[path = "../../examples/proxy/main.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod example;
#[path = "../support/mod.rs"]
mod support;

mod failures;
mod freshness;
mod purges;
mod serving;

/// Below and above the length from which bodies lie in files of their own.
const LENGTHS: [usize; 2] = [10_000, 3 << 20];
