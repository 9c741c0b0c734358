//! When an entry turns stale.

use std::time::{Duration, SystemTime};

/// When an entry turns stale. An `Option<Duration>` could not tell "as configured", "as it was" and "never" apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// The cache's default.
    #[default]
    Default,
    /// What the entry had (for an insert: the cache's default).
    Keep,
    /// Never.
    Never,
    /// After this long; at once for zero.
    After(Duration),
    /// At this time.
    At(SystemTime),
}
