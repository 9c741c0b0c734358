//! Everything that lies on disk, byte by byte; ARCHITECTURE.md draws the same tables.
//!
//! **Invariants**: integers are little-endian and of fixed width. A decoder takes any bytes: it never panics, and never
//! allocates more than a small multiple of the bytes it was given. What is decoded is behind a checksum keyed with the
//! cache's own secret, so that bytes inside a cached body, or a file of another cache, never pass.

pub(crate) mod crc;
mod fields;
pub(crate) mod footer;
mod head;
pub(crate) mod object;
pub(crate) mod record;
pub(crate) mod row;
pub(crate) mod scope;
pub(crate) mod secret;
pub(crate) mod snapshot;
pub(crate) mod superblock;

pub(crate) use secret::Secret;

/// Records, objects and what is counted on disk as a block.
pub(crate) const ALIGN: u64 = 8;
/// Files are counted in blocks of this many bytes.
pub(crate) const BLOCK: u64 = 4096;

/// The next multiple of `to`, a power of two. Saturates.
pub(crate) const fn round_up(n: u64, to: u64) -> u64 {
    n.saturating_add(to - 1) & !(to - 1)
}
