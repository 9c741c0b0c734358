//! The operations that change a disk, for logs and hooks.

use super::MemoryBackend;
use std::path::PathBuf;

/// An operation that changes what is, or what is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryOp {
    /// A file was made.
    Create(PathBuf),
    /// Room was reserved: the file is at least that long now.
    Preallocate(PathBuf, u64),
    /// Bytes were written to the file opened by that name.
    Write {
        /// The name it was opened by.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// The file was cut or extended.
    SetLen(PathBuf, u64),
    /// The file's writes so far became durable.
    SyncData(PathBuf),
    /// A name moved.
    Rename(PathBuf, PathBuf),
    /// A name went.
    Remove(PathBuf),
    /// A directory was made, with its missing parents.
    CreateDir(PathBuf),
    /// A directory's names became durable.
    SyncDir(PathBuf),
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has changed yet.
    Before,
    /// The operation succeeded.
    After,
}

/// One operation of a recorded run and the disk right after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was done.
    pub op: MemoryOp,
    /// A copy of the disk as the operation left it; crash it, or open a cache on it as after a kill.
    pub after: MemoryBackend,
}
