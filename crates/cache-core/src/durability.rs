//! How far an operation has come when it returns.

use serde::{Deserialize, Serialize};

/// What an acknowledged operation survives. Ordered: each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Durability {
    /// In memory, visible to every reader, written within the flush interval.
    #[default]
    Buffered,
    /// Given to the kernel: survives the end of the process.
    Written,
    /// On stable storage: survives a power cut.
    Synced,
}
