//! The identity of a stored body, and what an operation is aimed at.

use crate::CacheKey;
use std::fmt;

/// Names one stored body: given when its write starts, kept by moves and by `update_meta`, never used twice, not even
/// across a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One key, or one exact entry of it: `remove_entry(&key)`, `remove_entry((&key, id))`.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The key.
    pub key: &'a CacheKey,
    /// Only this entry of it.
    pub id: Option<EntryId>,
}

impl<'a> From<&'a CacheKey> for Target<'a> {
    fn from(key: &'a CacheKey) -> Self {
        Self { key, id: None }
    }
}

impl<'a> From<(&'a CacheKey, EntryId)> for Target<'a> {
    fn from((key, id): (&'a CacheKey, EntryId)) -> Self {
        Self { key, id: Some(id) }
    }
}
