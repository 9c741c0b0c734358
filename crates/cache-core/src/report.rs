//! What an open found.

use std::time::Duration;

/// Where the index came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoverySource {
    /// The directory was new or empty.
    #[default]
    Fresh,
    /// The snapshot of a clean close.
    Snapshot,
    /// The log itself: footers of sealed segments, records of the others.
    Log,
}

/// What was left behind, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Segments before a gap in the ids, or before a sealed segment whose footer does not read.
    pub segments_after_damage: u64,
    /// Segments given up because the capacity is smaller than before.
    pub segments_over_capacity: u64,
    /// Records whose body or key does not verify.
    pub damaged_records: u64,
    /// Entries whose large body is missing or has another length.
    pub missing_objects: u64,
    /// Files of large bodies that no entry refers to, and temporary files.
    pub orphan_files: u64,
}

/// What an open found in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Where the index came from.
    pub source: RecoverySource,
    /// Entries in the index now.
    pub entries: u64,
    /// Bytes on disk that they take.
    pub live_bytes: u64,
    /// Segments kept.
    pub segments: u64,
    /// Of those, how many had no footer and were read record by record.
    pub scanned_segments: u64,
    /// What was left behind.
    pub dropped: Dropped,
    /// Whether the order of use is the one from before; otherwise it is the order of writing.
    pub recency_known: bool,
    /// Whether a snapshot was there that did not fit and was ignored.
    pub snapshot_ignored: bool,
    /// How long the open took.
    pub elapsed: Duration,
}
