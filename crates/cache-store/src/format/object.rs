//! Object files: one large body each.
//!
//! ```text
//!      0    8 magic "DCobj1\0\0"
//!      8   16 uuid of the cache
//!     24    8 object id
//!     32   16 first half of the key's SHA-256
//!     48    8 keyed checksum of the 48 bytes before
//!     56      zeros
//!   4096      the body
//!    ...      CRC-32C of each 64 KiB chunk (u32), seeded with secret, object id and chunk number
//! ```
//!
//! The length of the body is in the record that publishes the object, so that a body can be written before its length is
//! known.

use super::{BLOCK, Secret, crc, fields::Fields, round_up, secret::Domain};

const MAGIC: &[u8; 8] = b"DCobj1\0\0";
/// Where the body begins.
pub(crate) const BODY_AT: u64 = BLOCK;
/// Bytes that one checksum covers.
pub(crate) const CHUNK: u64 = 64 << 10;

/// Chunks of a body.
pub(crate) const fn chunks(body_len: u64) -> u64 {
    body_len.div_ceil(CHUNK)
}

/// Bytes of the file.
pub(crate) const fn file_len(body_len: u64) -> u64 {
    BODY_AT.saturating_add(body_len).saturating_add(chunks(body_len) * 4)
}

/// Bytes the file takes on disk.
pub(crate) const fn disk_size(body_len: u64) -> u64 {
    round_up(file_len(body_len), BLOCK)
}

/// The head block.
pub(crate) fn encode_head(uuid: &[u8; 16], object: u64, digest: &[u8; 16], secret: &Secret) -> Vec<u8> {
    let mut out = Vec::with_capacity(BODY_AT as usize);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(uuid);
    out.extend_from_slice(&object.to_le_bytes());
    out.extend_from_slice(digest);
    out.extend_from_slice(&secret.checksum(Domain::ObjectHead, &out).to_le_bytes());
    out.resize(BODY_AT as usize, 0);
    out
}

/// Whether `bytes` begins with the head of this object of this key of this cache.
pub(crate) fn head_fits(
    bytes: &[u8],
    uuid: &[u8; 16],
    object: u64,
    digest: &[u8; 16],
    secret: &Secret,
) -> bool {
    let read = || {
        let mut f = Fields::new(bytes);
        let fits = &f.array::<8>()? == MAGIC
            && &f.array::<16>()? == uuid
            && f.u64()? == object
            && &f.array::<16>()? == digest
            && f.u64()? == secret.checksum(Domain::ObjectHead, bytes.get(..48)?);
        Some(fits)
    };
    read().unwrap_or(false)
}

/// The checksum of one chunk.
pub(crate) fn chunk_crc(secret: &Secret, object: u64, chunk: u64, bytes: &[u8]) -> u32 {
    crc::append(secret.chunk_seed(object, chunk), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_fits_only_its_own_object_key_and_cache() {
        let secret = Secret::new(&[1; 32]);
        let head = encode_head(&[2; 16], 7, &[3; 16], &secret);
        assert!(head_fits(&head, &[2; 16], 7, &[3; 16], &secret));
        assert!(!head_fits(&head, &[9; 16], 7, &[3; 16], &secret));
        assert!(!head_fits(&head, &[2; 16], 8, &[3; 16], &secret));
        assert!(!head_fits(&head, &[2; 16], 7, &[4; 16], &secret));
        assert!(!head_fits(&head, &[2; 16], 7, &[3; 16], &Secret::new(&[5; 32])));
        assert!(!head_fits(&head[..55], &[2; 16], 7, &[3; 16], &secret));
    }

    #[test]
    fn equal_chunks_have_unequal_checksums_at_other_places() {
        let secret = Secret::new(&[1; 32]);
        let of = |object, chunk| chunk_crc(&secret, object, chunk, b"same");
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
        assert_eq!(of(1, 0), of(1, 0));
    }

    #[test]
    fn the_file_holds_head_body_and_a_checksum_per_chunk() {
        assert_eq!(file_len(0), 4096);
        assert_eq!(file_len(1), 4096 + 1 + 4);
        assert_eq!(file_len(CHUNK + 1), 4096 + CHUNK + 1 + 8);
    }
}
