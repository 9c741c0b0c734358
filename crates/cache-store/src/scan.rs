//! Reads a segment record by record, where there is no footer to tell.
//!
//! **Invariants**: a hole does not end the scan; a valid header is passed by its full length even if its payload is bad;
//! a bad header: on at the next 8-byte boundary. Memory is bounded by one window, whatever the file says.

use crate::{
    format::{
        ALIGN, Secret,
        record::{self, HEADER_LEN, Header, Kind, MAX_RECORD, Record, flag},
        row::Row,
    },
    io,
};
use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, Error, Result};
use cache_index::{Position, SegmentId};

/// Bytes read at once.
const WINDOW: u64 = 4 << 20;
/// What every record begins with.
const MAGIC: [u8; 4] = record::MAGIC.to_le_bytes();

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Rows of the valid records, in order; encoded in `table`.
    pub(crate) rows: Vec<Row>,
    pub(crate) encoded: Vec<u8>,
    pub(crate) scopes: Vec<u8>,
    /// Where the last valid record ends.
    pub(crate) end: u64,
    /// Records whose payload does not verify.
    pub(crate) damaged: u64,
    pub(crate) max_version: u64,
}

/// Where the bytes come from.
pub(crate) struct Source<'a, B: DiskBackend> {
    pub(crate) backend: &'a B,
    pub(crate) secret: &'a Secret,
    pub(crate) file: &'a B::File,
    pub(crate) path: &'a std::path::Path,
    pub(crate) id: SegmentId,
    /// Whether this is a recovery. Then every valid record is written again in its place: after a failed sync its pages may
    /// be marked clean without being on the device, and a later sync would prove nothing. And what it says of a large body
    /// is marked as unproven.
    pub(crate) recovery: bool,
}

impl<B: DiskBackend> Source<'_, B> {
    /// Scans the whole file.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) async fn scan(&self) -> Result<Scan> {
        let io = |e| Error::io("scan", self.path, e);
        let len = self.backend.len(self.file).await.map_err(io)?;
        let mut scan = Scan::default();
        let (mut start, mut window) = (0u64, Bytes::new());
        let mut at = 0u64;
        while at + HEADER_LEN as u64 <= len {
            let held = start + window.len() as u64;
            // A record may be as long as this; the window covers it or reaches the file's end.
            if at + MAX_RECORD > held && held < len {
                let want = (len - at).min(WINDOW) as usize;
                let read = io::read(self.backend, self.file, BytesMut::new(), want, at, false).await;
                (start, window) = (at, read.map_err(io)?.0.freeze());
                if window.is_empty() {
                    break;
                }
            }
            let from = (at - start) as usize;
            let Some(rest) = window.get(from..).filter(|rest| !rest.is_empty()) else { break };
            // Most of what has no record is the empty rest of a segment.
            let empty =
                rest.chunks_exact(ALIGN as usize).take_while(|at| !at.starts_with(&MAGIC)).count() as u64;
            if empty > 0 {
                at += empty * ALIGN;
                continue;
            }
            let here = window.slice(from..);
            let step = self.step(&mut scan, &here, at).await?;
            at += step;
        }
        Ok(scan)
    }

    /// Looks at one place; returns how far to go on.
    async fn step(&self, scan: &mut Scan, here: &Bytes, at: u64) -> Result<u64> {
        let position = Position::new(self.id, at);
        let Some(mut header) = Header::decode(here, position, self.secret) else { return Ok(ALIGN) };
        let len = header.record_len();
        let Some(record) = Record::decode(here.clone(), position, self.secret) else {
            scan.damaged += 1;
            return Ok(len);
        };
        if here.len() < len as usize {
            // Cut off within its padding.
            return Ok(len);
        }
        if self.recovery {
            let bytes = here.slice(..len as usize);
            let io = |e| Error::io("rewrite", self.path, e);
            self.backend.write_at(self.file, vec![bytes], at).await.map_err(io)?;
        }
        if self.recovery && header.object != 0 {
            header.flags |= flag::UNPROVEN;
        }
        let scope = if header.kind == Kind::Purge { record.into_meta_and_body().0 } else { Bytes::new() };
        let row = Row::new(&header, at, (scan.scopes.len() as u64, scope.len() as u32));
        row.encode(&mut scan.encoded);
        scan.scopes.extend_from_slice(&scope);
        scan.rows.push(row);
        scan.end = at + len;
        scan.max_version = scan.max_version.max(header.version);
        Ok(len)
    }
}
