//! What can go wrong, and what to do about it.

use crate::BackendKind;
use std::{io, path::PathBuf, sync::Arc};

/// The result of a cache operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation. A miss is not an error, and neither is a damaged entry, which is counted and answered as a miss.
///
/// `Clone`, because group commit, flush and close hand one failure to all that wait for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation. Reads go on; look at the device, the permissions and the free space.
    #[error("{op} of {} failed: {source}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A superblock that does not read (open with `on_damage(OnDamage::Recreate)` to start over), or a piece of a large
    /// body found bad after its hit was handed out (the entry is dropped: fetch it again).
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Larger than the cache takes: for bodies, `max_entry_size`. Where it was to be stored, an older value of the key is gone as
    /// well.
    #[error("{what} has {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// Which part of the entry.
        what: &'static str,
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// There is no room: the disk is full (free some, or lower `min_free_space`), or what occupies the quota is still held by
    /// readers or writers (or raise `capacity`). Works again when there is room.
    #[error("no room for {needed} more bytes in the cache: {reason}")]
    StorageFull {
        /// Bytes wanted.
        needed: u64,
        /// Who has the room.
        reason: String,
    },
    /// Another process, or another handle of this one, has the directory open: close it or choose another directory.
    #[error("{} is in use by another cache: close it or choose another directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory was written by a version of disk-cache that this one does not understand. Nothing was touched: use
    /// the newer version, or another directory.
    #[error("{} has format version {found}, this version reads up to {supported}: upgrade or use another directory", path.display())]
    UnsupportedFormat {
        /// The superblock.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// The backend asked for does not work here: allow it, or choose `BackendChoice::Auto` or `Tokio`.
    #[error(
        "the {backend} backend cannot be used here ({reason}): allow it, or choose BackendChoice::Auto or Tokio"
    )]
    BackendUnavailable {
        /// Which one.
        backend: BackendKind,
        /// The step that failed and how.
        reason: String,
    },
    /// A configuration value is out of bounds.
    #[error("{field}: {reason}")]
    InvalidConfig {
        /// The field.
        field: &'static str,
        /// What is wrong and what would do.
        reason: String,
    },
    /// A range that is not inside the body.
    #[error("range {start}..{end} is outside a body of {len} bytes")]
    InvalidRange {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
        /// Length of the body.
        len: u64,
    },
    /// The writer of a body that was being followed went away: never a short body that looks whole.
    #[error("the writer of this body gave up before its end")]
    WriterAborted,
    /// What the fetch of a missing entry returned; shared, because every waiter gets it.
    #[error("fetching the missing entry failed: {0}")]
    Fetch(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The cache was closed: open it again.
    #[error("the cache is closed: open it again")]
    Closed,
}

impl Error {
    /// An [`Error::Io`] with its context.
    pub fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { op, path: path.into(), source: Arc::new(source) }
    }
}
