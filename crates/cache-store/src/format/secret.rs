//! The cache's own key, and the checksums made with it.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Keys every header checksum of one cache directory. Not a defence against who can write the directory: it keeps bytes
/// of cached bodies and files of other caches from passing for our own.
#[derive(Clone, Copy)]
pub(crate) struct Secret {
    checksums: [u8; 16],
    purges: [u8; 16],
}

/// What a checksum is for, so that one structure never passes for another.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Domain {
    Record = 1,
    Footer = 2,
    Snapshot = 3,
    ObjectHead = 4,
    ObjectChunk = 5,
}

impl Secret {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let (mut checksums, mut purges) = ([0; 16], [0; 16]);
        checksums.copy_from_slice(&bytes[..16]);
        purges.copy_from_slice(&bytes[16..]);
        Self { checksums, purges }
    }

    /// The key of the purge table's hashes: it outlives a restart, so that a snapshot can hold hashes.
    pub(crate) fn purge_key(&self) -> [u8; 16] {
        self.purges
    }

    /// A keyed 64-bit checksum (SipHash-1-3) that grows piece by piece.
    pub(crate) fn hasher(&self, domain: Domain) -> SipHasher13 {
        let mut hasher = SipHasher13::new_with_key(&self.checksums);
        hasher.write_u8(domain as u8);
        hasher
    }

    /// The keyed checksum of one slice.
    pub(crate) fn checksum(&self, domain: Domain, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher(domain);
        hasher.write(bytes);
        hasher.finish()
    }

    /// Where the checksum of one chunk of an object starts, so that chunks never pass for one another.
    pub(crate) fn chunk_seed(&self, object: u64, chunk: u64) -> u32 {
        let mut hasher = self.hasher(Domain::ObjectChunk);
        hasher.write_u64(object);
        hasher.write_u64(chunk);
        hasher.finish() as u32
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
