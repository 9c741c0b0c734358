//! The rows of the table, a file for each group that is measured in turns.

pub mod backends;
pub mod cold;
pub mod direct;
pub mod get_or_insert;
pub mod growth;
pub mod herd;
pub mod hit_ratio;
pub mod idle;
pub mod insert;
pub mod large;
pub mod memory;
pub mod proxies;
pub mod reopen;
pub mod scaling;
pub mod warm;
pub mod while_inserting;
