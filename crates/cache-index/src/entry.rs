//! What the index knows about one stored body.
//!
//! **Invariants**: an [`Entry`] goes into a slot of the index and comes out equal, as long as its record is shorter than
//! 1 MiB, everything is a multiple of 8, and the expiry lies below 2^48 ms (the year 10889; later ones saturate).

use crate::Position;
use cache_core::Digest;
use std::fmt;

/// The short name of a key: the first 8 bytes of its SHA-256. The whole key is in the record and compared there, so a
/// collision is a miss, never a wrong body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// The tag of a key's digest.
    pub fn of(digest: &Digest) -> Self {
        let (head, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Self(u64::from_le_bytes(*head))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What an entry's record says beyond its place, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Expired by a purge or by `expire`, whatever the time says.
    pub stale: bool,
    /// The record has tags, so that a purge by tag may hit it.
    pub tagged: bool,
    /// The record has a label, which a purge by prefix looks at in place of the path.
    pub labelled: bool,
    /// A crash may have kept the record and not its large body.
    pub unproven: bool,
}

/// A body in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Names the file.
    pub id: u64,
    /// Bytes of the file on disk, rounded up to blocks.
    pub disk: u64,
}

/// One entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the record begins.
    pub position: Position,
    /// Length of the record in bytes: a multiple of 8 below [`Entry::MAX_LEN`].
    pub len: u32,
    /// When it expires, in Unix milliseconds; 0 means never, and what exceeds [`Entry::MAX_EXPIRES_MS`] is kept as that.
    pub expires_ms: u64,
    /// The record's flags.
    pub flags: Flags,
    /// Where the body is, if not in the record.
    pub object: Option<ObjectRef>,
}

impl Entry {
    /// Records are shorter than this many bytes: the index keeps 17 bits of `len / 8`.
    pub const MAX_LEN: u32 = 1 << 20;

    /// The last expiry that is kept exactly.
    pub const MAX_EXPIRES_MS: u64 = (1 << 48) - 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_little_endian_head_of_the_digest() {
        let mut digest = [0xFF; 32];
        digest[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Tag::of(&digest), Tag(0x0807_0605_0403_0201));
        assert_eq!(Tag(0x0A).to_string(), "000000000000000a");
    }
}
