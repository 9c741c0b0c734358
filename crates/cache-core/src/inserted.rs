//! What became of an insert.

use crate::EntryId;

/// What became of an insert that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inserted {
    /// Stored.
    Stored {
        /// Identity of the body.
        id: EntryId,
        /// Bytes it takes on disk.
        disk_size: u64,
    },
    /// The write queue was full and the insert had asked not to wait. An older value of the key is gone.
    Shed,
    /// An insert, remove or purge of the key came while the body was being written: nothing was stored.
    Superseded,
    /// The admission policy did not think it worth a write. An older value of the key is gone.
    NotAdmitted,
    /// The fetch said that what it got must not be stored (`Fill::uncacheable`).
    Uncacheable,
}
