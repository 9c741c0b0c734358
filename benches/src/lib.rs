//! Measures disk-cache: the load command and what the criterion benches share with it.
//!
//! **Invariants**: every figure stands beside what the machine allows, measured in the same run; candidates take turns,
//! round after round, and medians are shown; hits are counted, not calls; keys' names and bodies are made before a clock
//! starts; what a run writes is gone at its end.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod backing;
pub mod bench;
pub mod candidate;
pub mod client;
pub mod command;
pub mod data_dir;
pub mod dataset;
pub mod device;
pub mod fd_limit;
pub mod filled;
pub mod finding;
pub mod fio;
pub mod http;
pub mod load;
pub mod lru;
pub mod machine;
pub mod measure;
pub mod naive;
pub mod options;
mod ours;
pub mod part;
pub mod peer_process;
pub mod records;
pub mod report;
pub mod rng;
pub mod rows;
pub mod s3_fifo;
pub mod saved;
pub mod store;
pub mod table;
pub mod zipf;

/// Any error: a bench only prints it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of a part of a bench.
pub type Result<T, E = Error> = std::result::Result<T, E>;
