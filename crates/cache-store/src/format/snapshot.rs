//! The snapshot of a clean close: an accelerator, never the truth.
//!
//! ```text
//!      0    8 magic "DCsnap1\0"
//!      8    8 length of the head
//!     16      head, bincode: uuid, counts, segments, purges
//!    ...      rows, 48 bytes each, least recently used first
//!    ...    8 keyed checksum of all before
//!
//! row: tag (8), position (8), record length / 8 (4), flags (4), expires (8), object id (8), body length on disk (8)
//! ```

use super::{
    ALIGN, Secret,
    fields::Fields,
    head,
    record::{MAX_RECORD, flag, index_flags},
    secret::Domain,
};
use cache_index::{Entry, ObjectRef, Position, Tag};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

const MAGIC: &[u8; 8] = b"DCsnap1\0";
/// Bytes of one row.
pub(crate) const ROW_LEN: usize = 48;
/// Bytes before the head.
pub(crate) const PREFIX_LEN: usize = 16;

/// A segment as the snapshot saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentSeal {
    pub(crate) id: u32,
    pub(crate) file_len: u64,
    /// The checksum in its footer's trailer.
    pub(crate) checksum: u64,
}

/// A row of the purge table: a scope's hash, or a prefix in a namespace given by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PurgeSeal {
    /// 0: everything, a namespace or a path; 1: a tag; 2: a prefix.
    pub(crate) kind: u8,
    pub(crate) hash: u64,
    pub(crate) prefix: Vec<u8>,
    pub(crate) expires: bool,
    pub(crate) at: u64,
}

/// Everything but the entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    pub(crate) uuid: [u8; 16],
    pub(crate) entries: u64,
    pub(crate) version: u64,
    pub(crate) entry_id: u64,
    pub(crate) segments: Vec<SegmentSeal>,
    pub(crate) purges: Vec<PurgeSeal>,
}

impl SnapshotHead {
    /// Prefix and head as they are written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let head = head::encode(self);
        let mut out = Vec::with_capacity(PREFIX_LEN + head.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(head.len() as u64).to_le_bytes());
        out.extend_from_slice(&head);
        out
    }

    /// The head that `bytes` is.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        head::decode(bytes)
    }
}

/// The length of the head, from the first bytes of the file.
pub(crate) fn head_len(prefix: &[u8]) -> Option<usize> {
    let mut f = Fields::new(prefix);
    if &f.array::<8>()? != MAGIC {
        return None;
    }
    let len = usize::try_from(f.u64()?).ok()?;
    (len <= head::MAX_HEAD).then_some(len)
}

/// The checksum that runs over the whole file.
pub(crate) fn hasher(secret: &Secret) -> SipHasher13 {
    secret.hasher(Domain::Snapshot)
}

/// Appends one row.
pub(crate) fn encode_row(tag: Tag, entry: &Entry, out: &mut Vec<u8>) {
    let flags = u32::from(entry.flags.stale) * u32::from(flag::STALE)
        + u32::from(entry.flags.tagged) * u32::from(flag::TAGGED)
        + u32::from(entry.flags.labelled) * u32::from(flag::LABELLED)
        + u32::from(entry.flags.unproven) * u32::from(flag::UNPROVEN);
    let object = entry.object.unwrap_or(ObjectRef { id: 0, disk: 0 });
    out.extend_from_slice(&tag.0.to_le_bytes());
    out.extend_from_slice(&entry.position.raw().to_le_bytes());
    out.extend_from_slice(&((u64::from(entry.len) / ALIGN) as u32).to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&entry.expires_ms.to_le_bytes());
    out.extend_from_slice(&object.id.to_le_bytes());
    out.extend_from_slice(&object.disk.to_le_bytes());
}

/// One row.
pub(crate) fn decode_row(bytes: &[u8]) -> Option<(Tag, Entry)> {
    let mut f = Fields::new(bytes);
    let (tag, position, len, flags) = (f.u64()?, f.u64()?, u64::from(f.u32()?) * ALIGN, f.u32()?);
    let (expires_ms, id, disk) = (f.u64()?, f.u64()?, f.u64()?);
    // The rows are read before the checksum behind them.
    let position = Position::from_raw(position);
    (len < MAX_RECORD && position.offset() < Position::MAX_OFFSET).then(|| {
        let entry = Entry {
            position,
            len: len as u32,
            expires_ms,
            flags: index_flags(flags as u8),
            object: (id != 0).then_some(ObjectRef { id, disk }),
        };
        (Tag(tag), entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_index::{Flags, SegmentId};

    #[test]
    fn rows_read_back() {
        for object in [None, Some(ObjectRef { id: 5, disk: 8192 })] {
            let entry = Entry {
                position: Position::new(SegmentId::new(2), 80),
                len: 4208,
                expires_ms: 99,
                flags: Flags { stale: true, labelled: true, unproven: true, ..Flags::default() },
                object,
            };
            let mut bytes = Vec::new();
            encode_row(Tag(42), &entry, &mut bytes);
            assert_eq!(bytes.len(), ROW_LEN);
            assert_eq!(decode_row(&bytes), Some((Tag(42), entry)));
        }
    }

    #[test]
    fn a_head_reads_back_and_no_truncation_of_it_does() {
        let head = SnapshotHead {
            uuid: [1; 16],
            entries: 3,
            version: 4,
            entry_id: 5,
            segments: vec![SegmentSeal { id: 1, file_len: 2, checksum: 3 }],
            purges: vec![PurgeSeal { kind: 2, hash: 1, prefix: vec![7], expires: true, at: 9 }],
        };
        let bytes = head.encode();
        assert_eq!(head_len(&bytes), Some(bytes.len() - PREFIX_LEN));
        let body = &bytes[PREFIX_LEN..];
        assert_eq!(SnapshotHead::decode(body), Some(head));
        for len in 0..body.len() {
            assert_eq!(SnapshotHead::decode(&body[..len]), None);
        }
    }
}
