//! The superblock: which cache a directory is.
//!
//! ```text
//!      0    8 magic "DCcache\0"
//!      8    4 format version
//!     12    4 length of the body
//!     16      body, bincode: uuid, secret, segment size, created
//!    ...    8 checksum of all before (SipHash-1-3 with a zero key)
//! ```
//!
//! Magic and version stay where they are in every version to come, so that a newer one is told from damage.

use super::{Secret, fields::Fields, head};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

const MAGIC: &[u8; 8] = b"DCcache\0";
/// The format version written and the newest one read.
pub(crate) const VERSION: u32 = 1;

/// What a superblock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Superblock {
    pub(crate) uuid: [u8; 16],
    secret: [u8; 32],
    pub(crate) segment_size: u64,
    pub(crate) created_ms: u64,
}

/// Why a superblock does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Written by a newer version.
    Newer(u32),
    /// Not a superblock, or a damaged one.
    Damaged(&'static str),
}

impl Superblock {
    pub(crate) fn new(uuid: [u8; 16], secret: [u8; 32], segment_size: u64, created_ms: u64) -> Self {
        Self { uuid, secret, segment_size, created_ms }
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::new(&self.secret)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = head::encode(self);
        let mut out = Vec::with_capacity(body.len() + 24);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&body);
        out.extend_from_slice(&checksum(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |reason| Unreadable::Damaged(reason);
        let short = || damaged("it is too short");
        let mut f = Fields::new(bytes);
        if &f.array::<8>().ok_or_else(short)? != MAGIC {
            return Err(damaged("it does not begin like a superblock"));
        }
        let version = f.u32().ok_or_else(short)?;
        if version > VERSION {
            return Err(Unreadable::Newer(version));
        }
        let len = f.u32().ok_or_else(short)? as usize;
        let body = f.bytes(len).ok_or_else(short)?;
        let sum = f.u64().ok_or_else(short)?;
        if version != VERSION || !f.rest().is_empty() || bytes.get(..16 + len).map(checksum) != Some(sum) {
            return Err(damaged("its checksum does not fit"));
        }
        let block: Self = head::decode(body).ok_or_else(|| damaged("its body does not read"))?;
        let sane = (4096..=1 << 30).contains(&block.segment_size) && block.segment_size.is_multiple_of(4096);
        if sane { Ok(block) } else { Err(damaged("its segment size is out of bounds")) }
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_reads_back_and_no_flipped_bit_goes_unnoticed() {
        let block = Superblock::new([1; 16], [2; 32], 1 << 20, 3);
        let bytes = block.encode();
        assert_eq!(Superblock::decode(&bytes), Ok(block));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&bad).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Superblock::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = Superblock::new([1; 16], [2; 32], 1 << 20, 3).encode();
        bytes[8] = 2;
        assert_eq!(Superblock::decode(&bytes), Err(Unreadable::Newer(2)));
    }
}
