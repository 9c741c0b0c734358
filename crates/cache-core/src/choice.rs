//! Choices made once, when a cache is opened.

use serde::{Deserialize, Serialize};

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackendChoice {
    /// `io_uring` where it works, otherwise the tokio backend with one warning.
    #[default]
    Auto,
    /// `io_uring`, or [`crate::Error::BackendUnavailable`].
    IoUring,
    /// Positional I/O on a pool of threads, on every platform.
    Tokio,
}

/// What to do about a superblock that does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnDamage {
    /// Refuse with [`crate::Error::Corrupt`]; nothing is touched.
    #[default]
    Refuse,
    /// Start over with an empty cache: the cache's own files in the directory are removed. A newer format version is still
    /// refused.
    Recreate,
}
