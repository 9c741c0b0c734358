//! The one place that knows bincode: heads of the superblock, of footers and of the snapshot.
//!
//! Fixed-width integers and a length limit, so that a decoder never allocates more than the limit. The crate is
//! unmaintained and pinned; nothing outside this module names it.

use serde::{Serialize, de::DeserializeOwned};

/// No head is longer than this many bytes.
pub(super) const MAX_HEAD: usize = 64 << 20;

/// Encodes a head. The heads of this crate are plain structs of integers, arrays and vectors, which always encode.
pub(super) fn encode<T: Serialize>(head: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(head, bincode::config::standard().with_fixed_int_encoding())
        .unwrap_or_default()
}

/// Decodes a head that fills `bytes` exactly.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let config = bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_HEAD>();
    let (head, used) = bincode::serde::decode_from_slice(bytes, config).ok()?;
    (used == bytes.len()).then_some(head)
}
