//! What the fuzz targets do with an input, and what holds whatever it is. The package `fuzz` beside this crate runs them under
//! libFuzzer; the tests here go through the inputs that it keeps, and need nothing for it.
//!
//! **Invariants**: an input is decoded as it is, and once more behind right checksums, so that a fuzzer gets past them. What
//! was decoded is laid out and decoded again, and is the same.

mod directory;
#[cfg(test)]
mod seeds;
mod sign;
#[cfg(test)]
mod tests;

use crate::format::{
    footer, object,
    record::{Attributes, HEADER_LEN, Header, Kind, Record, encode_attributes},
    scope, snapshot,
    snapshot::{PREFIX_LEN, SnapshotHead},
    superblock::Superblock,
};
use bytes::Bytes;
use cache_index::{Position, SegmentId};
use sign::{UUID, secret};

pub use directory::directory;

/// Where an input stands in for bytes of a segment.
const SEGMENT: SegmentId = SegmentId::new(3);

/// A record with its key, attributes, meta and body.
pub fn record(data: &[u8]) {
    let at = Position::new(SEGMENT, 4096);
    let mut signed = data.to_vec();
    sign::record(&mut signed, at);
    for bytes in [data, &signed] {
        let Some(record) = Record::decode(Bytes::copy_from_slice(bytes), at, &secret()) else { continue };
        let header = record.header.clone();
        assert_eq!(Header::decode(&header.encode(at, &secret()), at, &secret()), Some(header.clone()));
        let (key, found) = (record.key().to_vec(), record.attributes().to_vec());
        let meta_and_body = record.clone().into_meta_and_body();
        let (_, parts) = record.into_parts();
        assert_eq!((&parts.key[..], &parts.attributes[..]), (&key[..], &found[..]));
        assert_eq!((parts.meta.clone(), parts.body.clone()), meta_and_body);
        let payload = [&parts.key[..], &parts.attributes, &parts.meta, &parts.body].concat();
        assert_eq!(payload, bytes[HEADER_LEN..HEADER_LEN + payload.len()]);
        attributes(&parts.attributes);
        if header.kind == Kind::Purge {
            scope(&parts.meta);
        }
    }
}

/// Tags and label of a record.
pub fn attributes(data: &[u8]) {
    let Some(found) = Attributes::decode(data) else { return };
    let tags: Vec<_> = found.tags.iter().map(|tag| Bytes::copy_from_slice(tag)).collect();
    let label = found.label.map(Bytes::copy_from_slice);
    assert_eq!(Attributes::decode(&encode_attributes(&tags, label.as_ref())), Some(found));
}

/// The scope of a purge.
pub fn scope(data: &[u8]) {
    if let Some(found) = scope::decode(data) {
        assert_eq!(scope::encode(&found), data);
    }
}

/// A segment's file that ends in a footer.
pub fn footer(data: &[u8]) {
    let mut signed = data.to_vec();
    sign::footer(&mut signed, SEGMENT);
    for file in [data, &signed] {
        let Some((_, len)) = footer::trailer(file) else { continue };
        drop(footer::head_of_tail(file));
        let Some(start) = (file.len() as u64).checked_sub(len) else { continue };
        let decode =
            |bytes: &[u8]| footer::decode(bytes, SEGMENT, start + bytes.len() as u64, &UUID, &secret());
        let Some(found) = decode(&file[start as usize..]) else { continue };
        let mut rows = Vec::new();
        for row in &found.rows {
            row.replay(SEGMENT, &found.scopes);
            row.encode(&mut rows);
        }
        let again = footer::encode(&found.head, &rows, &found.scopes, &secret());
        assert_eq!(decode(&again), Some(found));
    }
}

/// Head and rows of a snapshot.
pub fn snapshot(data: &[u8]) {
    let mut signed = data.to_vec();
    sign::snapshot(&mut signed, &[]);
    for file in [data, &signed] {
        let Some(len) = snapshot::head_len(file) else { continue };
        let Some((head, rest)) = file.get(PREFIX_LEN..).and_then(|rest| rest.split_at_checked(len)) else {
            continue;
        };
        if let Some(found) = SnapshotHead::decode(head) {
            assert_eq!(found.encode()[PREFIX_LEN..], *head);
        }
        for row in rest.chunks_exact(snapshot::ROW_LEN) {
            let Some((tag, entry)) = snapshot::decode_row(row) else { continue };
            let mut again = Vec::new();
            snapshot::encode_row(tag, &entry, &mut again);
            assert_eq!(snapshot::decode_row(&again), Some((tag, entry)));
        }
    }
}

/// The superblock.
pub fn superblock(data: &[u8]) {
    let mut signed = data.to_vec();
    sign::superblock(&mut signed);
    for file in [data, &signed] {
        if let Ok(found) = Superblock::decode(file) {
            assert_eq!(found.encode(), file);
        }
    }
}

/// The head of a large body's file.
pub fn object(data: &[u8]) {
    let mut signed = data.to_vec();
    let Some((id, digest)) = sign::object(&mut signed) else { return };
    assert!(object::head_fits(&signed, &UUID, id, &digest, &secret()));
    assert!(!object::head_fits(&signed, &UUID, id ^ 1, &digest, &secret()));
    assert_eq!(object::encode_head(&UUID, id, &digest, &secret())[..56], signed[..56]);
    object::head_fits(data, &UUID, id, &digest, &secret());
}
