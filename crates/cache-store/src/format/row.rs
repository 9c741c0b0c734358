//! Footer rows: what recovery needs to know of a record without reading it.
//!
//! ```text
//! offset size field
//!      0    4 offset of the record, divided by 8
//!      4    4 length of the record, divided by 8
//!      8    1 kind
//!      9    1 flags
//!     10    2 zero
//!     12    4 purge: length of the scope
//!     16   16 first half of the key's SHA-256
//!     32    8 expires, Unix milliseconds
//!     40    8 object id; purge: offset of the scope among the footer's scopes
//!     48    8 body length
//!     56    8 as of
//! ```

use super::{
    ALIGN,
    fields::Fields,
    object,
    record::{Header, Kind, MAX_RECORD, flag, index_flags, tag_of},
    scope,
};
use cache_core::{PurgeMode, PurgeScope};
use cache_index::{Entry, ObjectRef, Position, SegmentId};

/// Bytes of one row.
pub(crate) const ROW_LEN: u64 = 64;

/// One row, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) digest: [u8; 16],
    pub(crate) expires_ms: u64,
    pub(crate) object: u64,
    pub(crate) body_len: u64,
    pub(crate) as_of: u64,
    /// Where the scope lies among the scopes, for a purge.
    pub(crate) scope: (u64, u32),
}

impl Row {
    /// The row of a record at `offset`; a purge's scope lies at `scope`.
    pub(crate) fn new(header: &Header, offset: u64, scope: (u64, u32)) -> Self {
        Self {
            offset,
            len: header.record_len() as u32,
            kind: header.kind,
            flags: header.flags,
            digest: header.digest,
            expires_ms: header.expires_ms,
            object: header.object,
            body_len: header.body_len,
            as_of: header.as_of,
            scope,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let purge = self.kind == Kind::Purge;
        out.extend_from_slice(&((self.offset / ALIGN) as u32).to_le_bytes());
        out.extend_from_slice(&((u64::from(self.len) / ALIGN) as u32).to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, self.flags, 0, 0]);
        out.extend_from_slice(&(if purge { self.scope.1 } else { 0 }).to_le_bytes());
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.expires_ms.to_le_bytes());
        out.extend_from_slice(&(if purge { self.scope.0 } else { self.object }).to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.extend_from_slice(&self.as_of.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut f = Fields::new(bytes);
        let (offset, len) = (u64::from(f.u32()?) * ALIGN, u64::from(f.u32()?) * ALIGN);
        let (kind, flags, _zero) = (Kind::from_byte(f.u8()?)?, f.u8()?, f.u16()?);
        let scope_len = f.u32()?;
        let (digest, expires_ms, third, body_len, as_of) =
            (f.array()?, f.u64()?, f.u64()?, f.u64()?, f.u64()?);
        let purge = kind == Kind::Purge;
        (len < MAX_RECORD && offset < Position::MAX_OFFSET).then_some(Self {
            offset,
            len: len as u32,
            kind,
            flags,
            digest,
            expires_ms,
            object: if purge { 0 } else { third },
            body_len,
            as_of,
            scope: if purge { (third, scope_len) } else { (0, 0) },
        })
    }

    /// Where the record lies.
    pub(crate) fn position(&self, segment: SegmentId) -> Position {
        Position::new(segment, self.offset)
    }

    /// The position up to which the record applies.
    pub(crate) fn effective(&self, segment: SegmentId) -> Position {
        if self.as_of == 0 { self.position(segment) } else { Position::from_raw(self.as_of) }
    }

    /// The index entry of an insert.
    pub(crate) fn entry(&self, segment: SegmentId) -> Entry {
        Entry {
            position: self.position(segment),
            len: self.len,
            expires_ms: self.expires_ms,
            flags: index_flags(self.flags),
            object: (self.object != 0)
                .then(|| ObjectRef { id: self.object, disk: object::disk_size(self.body_len) }),
        }
    }

    /// What a purge is aimed at and does.
    pub(crate) fn purge(&self, scopes: &[u8]) -> Option<(PurgeScope, PurgeMode)> {
        let start = usize::try_from(self.scope.0).ok()?;
        let bytes = scopes.get(start..start.checked_add(self.scope.1 as usize)?)?;
        let mode = if self.flags & flag::PURGE_EXPIRES == 0 { PurgeMode::Remove } else { PurgeMode::Expire };
        Some((scope::decode(bytes)?, mode))
    }

    /// The row as recovery replays it; `None` for a purge whose scope does not read.
    pub(crate) fn replay(&self, segment: SegmentId, scopes: &[u8]) -> Option<cache_index::Row> {
        let (tag, as_of) = (tag_of(&self.digest), self.effective(segment));
        Some(match self.kind {
            Kind::Insert => cache_index::Row::Insert { tag, entry: self.entry(segment) },
            Kind::Tombstone => cache_index::Row::Tombstone { tag, as_of },
            Kind::Expire => cache_index::Row::Expire { tag, as_of },
            Kind::Purge => {
                let (scope, mode) = self.purge(scopes)?;
                cache_index::Row::Purge { scope, mode, as_of }
            }
        })
    }
}
