//! Right checksums for wrong bytes, made with a secret that every input shares.

use crate::format::{
    Secret, crc,
    footer::TRAILER_LEN,
    object::{BODY_AT, CHUNK, chunk_crc},
    record::{HEADER_LEN, Header},
    row::ROW_LEN,
    secret::Domain,
    snapshot::{PREFIX_LEN, SegmentSeal, SnapshotHead, head_len},
};
use cache_index::{Position, SegmentId};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

pub(super) const UUID: [u8; 16] = [9; 16];
pub(super) const SECRET: [u8; 32] = [7; 32];

pub(super) fn secret() -> Secret {
    Secret::new(&SECRET)
}

/// Ends `bytes` in the checksum of what comes before.
fn seal(domain: Domain, bytes: &mut [u8]) {
    if let Some((fields, sum)) = bytes.split_last_chunk_mut::<8>() {
        *sum = secret().checksum(domain, fields).to_le_bytes();
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b) as usize)
}

/// Makes a record of what `bytes` begins with, at home at this place.
pub(super) fn record(bytes: &mut [u8], at: Position) {
    let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
    header[..4].copy_from_slice(b"DCr1");
    header[88..92].copy_from_slice(&at.segment().get().to_le_bytes());
    header[92..96].copy_from_slice(&((at.offset() / 8) as u32).to_le_bytes());
    seal(Domain::Record, header);
    let Some(mut header) = Header::decode(bytes, at, &secret()) else { return };
    let fixed = usize::from(header.key_len) + header.attributes_len as usize + header.meta_len as usize;
    if let Some(payload) = bytes[HEADER_LEN..].get(..fixed + header.inline_len() as usize) {
        header.crc = crc::of(payload);
        bytes[..HEADER_LEN].copy_from_slice(&header.encode(at, &secret()));
    }
}

/// Makes a footer of what a segment's file ends in.
pub(super) fn footer(file: &mut [u8], id: SegmentId) {
    let len = file.len();
    let Some(trailer) = len.checked_sub(TRAILER_LEN) else { return };
    file[trailer..trailer + 8].copy_from_slice(b"DCfoot1\0");
    file[trailer + 20..trailer + 24].fill(0);
    let (rows, scopes, head) =
        (u32_at(file, trailer + 8), u32_at(file, trailer + 12), u32_at(file, trailer + 16));
    let footer_len = rows * ROW_LEN as usize + scopes + head + TRAILER_LEN;
    let Some(start) = len.checked_sub(footer_len) else { return };
    if head >= 28 {
        let head = trailer - head;
        file[head..head + 16].copy_from_slice(&UUID);
        file[head + 16..head + 20].copy_from_slice(&id.get().to_le_bytes());
        file[head + 20..head + 28].copy_from_slice(&(start as u64).to_le_bytes());
    }
    seal(Domain::Footer, &mut file[start..]);
}

/// Makes a snapshot of the file, of a directory with these segments where its head reads.
pub(super) fn snapshot(file: &mut Vec<u8>, segments: &[SegmentSeal]) {
    let Some(magic) = file.first_chunk_mut::<8>() else { return };
    *magic = *b"DCsnap1\0";
    let end = head_len(file).map_or(0, |len| PREFIX_LEN.saturating_add(len));
    if let Some(mut head) = file.get(PREFIX_LEN..end).and_then(SnapshotHead::decode) {
        head.uuid = UUID;
        head.segments = segments.to_vec();
        file.splice(..end, head.encode());
    }
    seal(Domain::Snapshot, file);
}

/// Makes a superblock of the file.
pub(super) fn superblock(file: &mut [u8]) {
    let Some(body) = file.len().checked_sub(24) else { return };
    file[..8].copy_from_slice(b"DCcache\0");
    file[12..16].copy_from_slice(&(body as u32).to_le_bytes());
    if let Some((fields, sum)) = file.split_last_chunk_mut::<8>() {
        let mut hasher = SipHasher13::new();
        hasher.write(fields);
        *sum = hasher.finish().to_le_bytes();
    }
}

/// Makes the head of a large body of the file, and checksums of what it ends in. Its id and half of its key's digest.
pub(super) fn object(file: &mut [u8]) -> Option<(u64, [u8; 16])> {
    let head = file.first_chunk_mut::<56>()?;
    head[..8].copy_from_slice(b"DCobj1\0\0");
    head[8..24].copy_from_slice(&UUID);
    seal(Domain::ObjectHead, head);
    let (id, digest) = (u64::from_le_bytes(*head[24..].first_chunk()?), *head[32..].first_chunk()?);
    if let Some((body, sums)) = file.get_mut(BODY_AT as usize..).and_then(split_sums) {
        for (n, (chunk, sum)) in body.chunks(CHUNK as usize).zip(sums.as_chunks_mut::<4>().0).enumerate() {
            *sum = chunk_crc(&secret(), id, n as u64, chunk).to_le_bytes();
        }
    }
    Some((id, digest))
}

/// Body and checksums of an object's file, from where the body begins.
fn split_sums(rest: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let chunks = rest.len().div_ceil(CHUNK as usize + 4);
    let at = rest.len().checked_sub(chunks * 4)?;
    Some(rest.split_at_mut(at))
}
