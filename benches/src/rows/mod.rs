//! The rows of the table, a file for each group that is measured in turns.

pub mod cold;
pub mod get_or_insert;
pub mod insert;
pub mod large;
pub mod warm;
