//! Footers: the table of a sealed segment's records, at the end of its file.
//!
//! ```text
//! rows     64 bytes each, in log order
//! scopes   of the purges among them
//! head     bincode: uuid, segment, length of the data, segments without a footer, highest ids
//! trailer  magic "DCfoot1\0", rows (u32), length of scopes (u32), length of head (u32), zero (u32),
//!          keyed checksum of everything before it
//! ```

use super::{
    Secret, head,
    row::{ROW_LEN, Row},
    secret::Domain,
};
use cache_index::SegmentId;
use serde::{Deserialize, Serialize};
use std::hash::Hasher;

const MAGIC: &[u8; 8] = b"DCfoot1\0";
/// Bytes of the trailer.
pub(crate) const TRAILER_LEN: usize = 32;
/// Segments that one footer can name as being without.
pub(crate) const MAX_UNFOOTED: usize = 64;
/// Room that a segment keeps for head and trailer.
pub(crate) const FIXED_LEN: u64 = 76 + 4 * MAX_UNFOOTED as u64 + TRAILER_LEN as u64;

/// The part that is not rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FooterHead {
    pub(crate) uuid: [u8; 16],
    pub(crate) segment: u32,
    /// Where the footer begins: the records lie before.
    pub(crate) data_len: u64,
    /// Earlier segments that could not get a footer.
    pub(crate) unfooted: Vec<u32>,
    /// Highest version and entry id in use when this was written.
    pub(crate) version: u64,
    pub(crate) entry_id: u64,
}

/// A footer, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) head: FooterHead,
    pub(crate) rows: Vec<Row>,
    pub(crate) scopes: Vec<u8>,
}

/// Bytes that the footer of so many rows and bytes of scopes may take.
pub(crate) fn room(rows: u64, scopes: u64) -> u64 {
    rows * ROW_LEN + scopes + FIXED_LEN
}

/// Lays a footer out. `rows` are encoded rows.
pub(crate) fn encode(head: &FooterHead, rows: &[u8], scopes: &[u8], secret: &Secret) -> Vec<u8> {
    let head = head::encode(head);
    let mut out = Vec::with_capacity(rows.len() + scopes.len() + head.len() + TRAILER_LEN);
    out.extend_from_slice(rows);
    out.extend_from_slice(scopes);
    out.extend_from_slice(&head);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&((rows.len() as u64 / ROW_LEN) as u32).to_le_bytes());
    out.extend_from_slice(&(scopes.len() as u32).to_le_bytes());
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    let checksum = {
        let mut hasher = secret.hasher(Domain::Footer);
        hasher.write(&out);
        hasher.write(&[0; 4]);
        hasher.finish()
    };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The checksum a trailer carries, and how long its footer is, if it looks like a trailer at all.
pub(crate) fn trailer(bytes: &[u8]) -> Option<(u64, u64)> {
    let trailer = bytes.last_chunk::<TRAILER_LEN>()?;
    let mut f = super::fields::Fields::new(trailer);
    if &f.array::<8>()? != MAGIC {
        return None;
    }
    let (rows, scopes, head, zero) = (f.u32()?, f.u32()?, f.u32()?, f.u32()?);
    let len = u64::from(rows) * ROW_LEN + u64::from(scopes) + u64::from(head) + TRAILER_LEN as u64;
    (zero == 0).then_some((f.u64()?, len))
}

/// The head of the footer that `tail` ends in, not verified: enough to plan with.
pub(crate) fn head_of_tail(tail: &[u8]) -> Option<FooterHead> {
    let trailer = tail.last_chunk::<TRAILER_LEN>()?;
    let head_len = u32::from_le_bytes(*trailer.get(16..)?.first_chunk()?) as usize;
    let end = tail.len() - TRAILER_LEN;
    head::decode(tail.get(end.checked_sub(head_len)?..end)?)
}

/// The footer that `bytes` is, exactly, if it is one of this segment of this cache; `file_len` is the whole file's.
pub(crate) fn decode(
    bytes: &[u8],
    segment: SegmentId,
    file_len: u64,
    uuid: &[u8; 16],
    secret: &Secret,
) -> Option<Footer> {
    let (checksum, len) = trailer(bytes)?;
    if len != bytes.len() as u64 || checksum != secret.checksum(Domain::Footer, bytes.get(..bytes.len() - 8)?)
    {
        return None;
    }
    let mut tail = super::fields::Fields::new(bytes.last_chunk::<TRAILER_LEN>()?);
    tail.bytes(8)?;
    let (rows_len, scopes_len, head_len) =
        (tail.u32()? as usize * ROW_LEN as usize, tail.u32()? as usize, tail.u32()? as usize);
    let (row_bytes, rest) = bytes.split_at_checked(rows_len)?;
    let (scopes, rest) = rest.split_at_checked(scopes_len)?;
    let head: FooterHead = head::decode(rest.get(..head_len)?)?;
    if &head.uuid != uuid || head.segment != segment.get() || head.data_len.checked_add(len)? != file_len {
        return None;
    }
    let rows: Vec<Row> = row_bytes.chunks_exact(ROW_LEN as usize).map(Row::decode).collect::<Option<_>>()?;
    let inside = rows.iter().all(|r| r.offset + u64::from(r.len) <= head.data_len);
    inside.then(|| Footer { head, rows, scopes: scopes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Header, Kind};

    fn sample(secret: &Secret) -> (Vec<u8>, SegmentId, u64) {
        let mut rows = Vec::new();
        for n in 0..3u8 {
            Row::new(&Header::new(Kind::Tombstone, [n; 16]), u64::from(n) * 112, (0, 0)).encode(&mut rows);
        }
        let head = FooterHead {
            uuid: [9; 16],
            segment: 4,
            data_len: 336,
            unfooted: vec![2, 3],
            version: 1,
            entry_id: 2,
        };
        let bytes = encode(&head, &rows, b"xyz", secret);
        let file_len = 336 + bytes.len() as u64;
        (bytes, SegmentId::new(4), file_len)
    }

    #[test]
    fn a_footer_reads_back() {
        let secret = Secret::new(&[3; 32]);
        let (bytes, id, file_len) = sample(&secret);
        let footer = decode(&bytes, id, file_len, &[9; 16], &secret).unwrap();
        assert_eq!((footer.rows.len(), footer.scopes.as_slice()), (3, &b"xyz"[..]));
        assert_eq!(footer.head.unfooted, [2, 3]);
        assert!(bytes.len() as u64 <= room(3, 3));
    }

    #[test]
    fn a_footer_with_any_bit_flipped_or_any_byte_missing_is_refused() {
        let secret = Secret::new(&[3; 32]);
        let (bytes, id, file_len) = sample(&secret);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad, id, file_len, &[9; 16], &secret), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[bytes.len() - len..], id, file_len, &[9; 16], &secret), None);
        }
    }

    #[test]
    fn a_footer_of_another_segment_cache_or_file_length_is_refused() {
        let secret = Secret::new(&[3; 32]);
        let (bytes, id, file_len) = sample(&secret);
        assert_eq!(decode(&bytes, SegmentId::new(5), file_len, &[9; 16], &secret), None);
        assert_eq!(decode(&bytes, id, file_len + 8, &[9; 16], &secret), None);
        assert_eq!(decode(&bytes, id, file_len, &[8; 16], &secret), None);
    }
}
