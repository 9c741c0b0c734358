//! Records: what the log is a run of.
//!
//! ```text
//! offset size field
//!      0    4 magic "DCr1"
//!      4    1 kind: 1 insert, 2 tombstone, 3 purge, 4 expire
//!      5    1 flags: 1 stale, 2 tagged, 4 labelled, 8 moved by reclaim, 16 purge makes stale, 32 large body unproven
//!      6    2 key length
//!      8    4 attributes length (tags and label)
//!     12    4 meta length (the scope, for a purge)
//!     16    8 body length
//!     24    8 object id; 0: the body is inline
//!     32    8 version
//!     40    8 entry id
//!     48    8 created, Unix milliseconds
//!     56    8 expires, Unix milliseconds; 0: never
//!     64    8 as of: the log position up to which a tombstone, purge or expire applies; 0: its own
//!     72   16 first half of the key's SHA-256
//!     88    4 segment id it was written for
//!     92    4 offset it was written for, divided by 8
//!     96    4 CRC-32C of key, attributes, meta and inline body
//!    100    4 zero
//!    104    8 keyed checksum of the 104 bytes before
//!    112      key, attributes, meta, inline body, zeros up to a multiple of 8
//! ```

use super::{ALIGN, Secret, crc, fields::Fields, round_up, secret::Domain};
use bytes::{Buf as _, Bytes};
use cache_core::{CacheKey, MAX_KEY_LEN, MAX_LABEL_LEN, MAX_META_LEN, MAX_TAG_LEN, MAX_TAGS};
use cache_index::{Flags, Position, Tag};

/// Bytes of the fixed header.
pub(crate) const HEADER_LEN: usize = 112;
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"DCr1");
/// The longest inline body.
pub(crate) const MAX_INLINE: u64 = 512 << 10;
/// The longest record: what its packed length in the index can say.
pub(crate) const MAX_RECORD: u64 = 1 << 20;
const MAX_ATTRIBUTES: usize = 4 + 2 * MAX_TAGS + MAX_TAGS * MAX_TAG_LEN + 4 + MAX_LABEL_LEN;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A body under a key.
    Insert = 1,
    /// Earlier records of a key are void.
    Tombstone = 2,
    /// Earlier records of a scope are void, or stale.
    Purge = 3,
    /// Earlier records of a key are stale.
    Expire = 4,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Insert, Self::Tombstone, Self::Purge, Self::Expire].into_iter().find(|k| *k as u8 == byte)
    }
}

/// The flag bits of a record.
pub(crate) mod flag {
    pub(crate) const STALE: u8 = 1;
    pub(crate) const TAGGED: u8 = 2;
    pub(crate) const LABELLED: u8 = 4;
    pub(crate) const MOVED: u8 = 8;
    pub(crate) const PURGE_EXPIRES: u8 = 16;
    /// A recovery found the record in a segment without a footer, and nobody has read its large body since: a power cut may
    /// have kept the record and not the body.
    pub(crate) const UNPROVEN: u8 = 32;
    pub(super) const ALL: u8 = 63;
}

/// The index's flags of a record's flag bits.
pub(crate) fn index_flags(bits: u8) -> Flags {
    Flags {
        stale: bits & flag::STALE != 0,
        tagged: bits & flag::TAGGED != 0,
        labelled: bits & flag::LABELLED != 0,
        unproven: bits & flag::UNPROVEN != 0,
    }
}

/// The fixed header, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) key_len: u16,
    pub(crate) attributes_len: u32,
    pub(crate) meta_len: u32,
    pub(crate) body_len: u64,
    pub(crate) object: u64,
    pub(crate) version: u64,
    pub(crate) entry_id: u64,
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) as_of: u64,
    pub(crate) digest: [u8; 16],
    pub(crate) crc: u32,
}

impl Header {
    /// A header of this kind for a key's digest, everything else zero.
    pub(crate) fn new(kind: Kind, digest: [u8; 16]) -> Self {
        Self {
            kind,
            flags: 0,
            key_len: 0,
            attributes_len: 0,
            meta_len: 0,
            body_len: 0,
            object: 0,
            version: 0,
            entry_id: 0,
            created_ms: 0,
            expires_ms: 0,
            as_of: 0,
            digest,
            crc: 0,
        }
    }

    /// What the index finds the key by.
    pub(crate) fn tag(&self) -> Tag {
        tag_of(&self.digest)
    }

    /// Bytes of body that follow in the record itself.
    pub(crate) fn inline_len(&self) -> u64 {
        if self.object == 0 { self.body_len } else { 0 }
    }

    /// Bytes of the whole record, padding included.
    pub(crate) fn record_len(&self) -> u64 {
        let payload = u64::from(self.key_len) + u64::from(self.attributes_len) + u64::from(self.meta_len);
        round_up((HEADER_LEN as u64 + payload).saturating_add(self.inline_len()), ALIGN)
    }

    /// Lays the header out for one place in the log.
    pub(crate) fn encode(&self, at: Position, secret: &Secret) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut put = {
            let mut rest = out.as_mut_slice();
            move |bytes: &[u8]| {
                let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
                head.copy_from_slice(bytes);
                rest = tail;
            }
        };
        put(&MAGIC.to_le_bytes());
        put(&[self.kind as u8, self.flags]);
        put(&self.key_len.to_le_bytes());
        put(&self.attributes_len.to_le_bytes());
        put(&self.meta_len.to_le_bytes());
        put(&self.body_len.to_le_bytes());
        put(&self.object.to_le_bytes());
        put(&self.version.to_le_bytes());
        put(&self.entry_id.to_le_bytes());
        put(&self.created_ms.to_le_bytes());
        put(&self.expires_ms.to_le_bytes());
        put(&self.as_of.to_le_bytes());
        put(&self.digest);
        put(&at.segment().get().to_le_bytes());
        put(&((at.offset() / ALIGN) as u32).to_le_bytes());
        put(&self.crc.to_le_bytes());
        put(&[0; 4]);
        let (fields, checksum) = out.split_at_mut(HEADER_LEN - 8);
        checksum.copy_from_slice(&secret.checksum(Domain::Record, fields).to_le_bytes());
        out
    }

    /// The header at the start of `bytes`, if it is one and was written for this place of this cache.
    pub(crate) fn decode(bytes: &[u8], at: Position, secret: &Secret) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let (fields, checksum) = header.split_last_chunk::<8>()?;
        let mut f = Fields::new(fields);
        if f.u32()? != MAGIC || u64::from_le_bytes(*checksum) != secret.checksum(Domain::Record, fields) {
            return None;
        }
        let header = Self {
            kind: Kind::from_byte(f.u8()?)?,
            flags: f.u8()?,
            key_len: f.u16()?,
            attributes_len: f.u32()?,
            meta_len: f.u32()?,
            body_len: f.u64()?,
            object: f.u64()?,
            version: f.u64()?,
            entry_id: f.u64()?,
            created_ms: f.u64()?,
            expires_ms: f.u64()?,
            as_of: f.u64()?,
            digest: f.array()?,
            crc: {
                let (segment, offset) = (f.u32()?, f.u32()?);
                if segment != at.segment().get() || u64::from(offset) * ALIGN != at.offset() {
                    return None;
                }
                f.u32()?
            },
        };
        let fits = header.flags & !flag::ALL == 0
            && usize::from(header.key_len) <= MAX_KEY_LEN
            && header.attributes_len as usize <= MAX_ATTRIBUTES
            && header.meta_len as usize <= MAX_META_LEN
            && header.inline_len() <= MAX_INLINE;
        fits.then_some(header)
    }
}

/// The tag of a stored half digest.
pub(crate) fn tag_of(digest: &[u8; 16]) -> Tag {
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    Tag(u64::from_le_bytes(head))
}

/// The half of a key's digest that is stored.
pub(crate) fn half_digest(key: &CacheKey) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key.digest()[..16]);
    half
}

/// A record that was verified. A get takes only meta and body out of it, so the parts are cut when they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    /// Key, attributes, meta and inline body.
    payload: Bytes,
}

/// The parts of a record, which share one allocation.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) key: Bytes,
    pub(crate) attributes: Bytes,
    pub(crate) meta: Bytes,
    /// The inline body; empty for an object.
    pub(crate) body: Bytes,
}

impl Record {
    /// Decodes and verifies the record that `bytes` begins with.
    pub(crate) fn decode(mut bytes: Bytes, at: Position, secret: &Secret) -> Option<Self> {
        let header = Header::decode(&bytes, at, secret)?;
        let payload_len = usize::from(header.key_len)
            + header.attributes_len as usize
            + header.meta_len as usize
            + usize::try_from(header.inline_len()).ok()?;
        if bytes.len() < HEADER_LEN + payload_len {
            return None;
        }
        bytes.truncate(HEADER_LEN + payload_len);
        bytes.advance(HEADER_LEN);
        (crc::of(&bytes) == header.crc).then_some(Self { header, payload: bytes })
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.payload[..usize::from(self.header.key_len)]
    }

    pub(crate) fn attributes(&self) -> &[u8] {
        let (from, to) = (usize::from(self.header.key_len), self.meta_at());
        &self.payload[from..to]
    }

    /// Meta and inline body.
    pub(crate) fn into_meta_and_body(self) -> (Bytes, Bytes) {
        let at = self.meta_at();
        let mut payload = self.payload;
        payload.advance(at);
        let meta = payload.split_to(self.header.meta_len as usize);
        (meta, payload)
    }

    pub(crate) fn into_parts(self) -> (Header, Parts) {
        let Self { header, mut payload } = self;
        let key = payload.split_to(usize::from(header.key_len));
        let attributes = payload.split_to(header.attributes_len as usize);
        let meta = payload.split_to(header.meta_len as usize);
        (header, Parts { key, attributes, meta, body: payload })
    }

    fn meta_at(&self) -> usize {
        usize::from(self.header.key_len) + self.header.attributes_len as usize
    }
}

/// The checksum of a record's payload.
pub(crate) fn payload_crc(parts: [&[u8]; 4]) -> u32 {
    parts.iter().fold(0, |crc, part| crc::append(crc, part))
}

/// Lays tags and label out: count of tags (`u16`), each behind its length (`u16`), then the label to the end, behind a
/// byte that tells whether there is one. Nothing at all where there are neither.
pub(crate) fn encode_attributes(tags: &[Bytes], label: Option<&Bytes>) -> Vec<u8> {
    let mut out = Vec::new();
    if tags.is_empty() && label.is_none() {
        return out;
    }
    out.extend_from_slice(&(tags.len() as u16).to_le_bytes());
    for tag in tags {
        out.extend_from_slice(&(tag.len() as u16).to_le_bytes());
        out.extend_from_slice(tag);
    }
    if let Some(label) = label {
        out.push(1);
        out.extend_from_slice(label);
    }
    out
}

/// Tags and label of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    pub(crate) tags: Vec<&'a [u8]>,
    pub(crate) label: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let mut f = Fields::new(bytes);
        let count = usize::from(f.u16()?);
        if count > MAX_TAGS {
            return None;
        }
        let mut tags = Vec::with_capacity(count);
        for _ in 0..count {
            let len = usize::from(f.u16()?);
            tags.push(f.bytes(len)?);
        }
        let label = match f.rest() {
            [] => None,
            [1, label @ ..] => Some(label),
            _ => return None,
        };
        Some(Self { tags, label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_index::SegmentId;

    fn sample() -> (Header, Position, Secret) {
        let header = Header {
            flags: flag::TAGGED,
            key_len: 13,
            meta_len: 3,
            body_len: 100,
            version: 7,
            entry_id: 9,
            created_ms: 11,
            expires_ms: 13,
            crc: 17,
            ..Header::new(Kind::Insert, [5; 16])
        };
        (header, Position::new(SegmentId::new(3), 4096), Secret::new(&[1; 32]))
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let (header, at, secret) = sample();
        assert_eq!(Header::decode(&header.encode(at, &secret), at, &secret), Some(header));
    }

    #[test]
    fn a_header_with_any_bit_flipped_is_refused() {
        let (header, at, secret) = sample();
        let bytes = header.encode(at, &secret);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad, at, &secret), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_another_place_or_another_cache_is_refused() {
        let (header, at, secret) = sample();
        let bytes = header.encode(at, &secret);
        let elsewhere = Position::new(SegmentId::new(3), 4104);
        let other_file = Position::new(SegmentId::new(4), 4096);
        assert_eq!(Header::decode(&bytes, elsewhere, &secret), None);
        assert_eq!(Header::decode(&bytes, other_file, &secret), None);
        assert_eq!(Header::decode(&bytes, at, &Secret::new(&[2; 32])), None);
    }

    #[test]
    fn a_truncated_record_is_refused_at_every_length() {
        let (mut header, at, secret) = sample();
        let (key, meta, body) = ([1u8; 13], [2u8; 3], [3u8; 100]);
        header.crc = payload_crc([&key, &[], &meta, &body]);
        let mut bytes = header.encode(at, &secret).to_vec();
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&meta);
        bytes.extend_from_slice(&body);
        let bytes = Bytes::from(bytes);
        let record = Record::decode(bytes.clone(), at, &secret).expect("whole");
        assert_eq!((record.key(), record.attributes()), (&key[..], &[][..]));
        let (_, parts) = record.clone().into_parts();
        assert_eq!((&parts.key[..], &parts.meta[..], &parts.body[..]), (&key[..], &meta[..], &body[..]));
        assert_eq!(record.into_meta_and_body(), (parts.meta, parts.body));
        for len in 0..bytes.len() {
            assert!(Record::decode(bytes.slice(..len), at, &secret).is_none());
        }
    }

    #[test]
    fn attributes_read_back_with_and_without_a_label() {
        let tags = [Bytes::from_static(b"a"), Bytes::new()];
        for label in [None, Some(Bytes::new()), Some(Bytes::from_static(b"/x"))] {
            let bytes = encode_attributes(&tags, label.as_ref());
            let read = Attributes::decode(&bytes).unwrap();
            assert_eq!(read.tags, [&b"a"[..], b""]);
            assert_eq!(read.label, label.as_deref());
        }
        assert!(encode_attributes(&[], None).is_empty());
    }
}
