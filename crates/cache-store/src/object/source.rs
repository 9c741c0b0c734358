//! Reading a large body.
//!
//! **Invariant**: a piece is verified before it is handed out.

use super::ObjectFile;
use crate::{
    fairness::let_others_run,
    format::object::{self as format, BODY_AT, CHUNK, disk_size},
    io::read,
    shared::Shared,
    sync::Ordering,
};
use bytes::{Bytes, BytesMut};
use cache_core::{BodySource, BoxFuture, DiskBackend, Error, OpenMode, Result};
use cache_index::Tag;
use std::{io, ops::Range, sync::Arc};

/// Bytes read and verified at once.
const SPAN: u64 = 1 << 20;
/// Bytes that a reader is given at once: each of a thousand slow ones holds that many.
const PIECE: u64 = 2 * CHUNK;
/// Bytes after which who reads all lets others run.
const TURN: u64 = 16 * SPAN;

impl<B: DiskBackend> Shared<B> {
    /// Opens a large body for reading. `Ok(None)`: it is missing or damaged.
    pub(crate) async fn open_object(
        self: &Arc<Self>,
        tag: Tag,
        id: u64,
        digest: &[u8; 16],
        body_len: u64,
    ) -> Result<Option<ObjectSource<B>>> {
        let Some(object) = self.objects.get(id) else { return Ok(None) };
        let opened = {
            let open = object.open.lock();
            open.as_ref().and_then(|o| o.checksums.clone().map(|c| (o.file.clone(), c)))
        };
        let (file, checksums) = if let Some(both) = opened {
            both
        } else {
            let Some((file, checksums)) = self.read_checksums(&object, digest, body_len).await? else {
                return Ok(None);
            };
            *object.open.lock() = Some(self.objects.open(file.clone(), Some(checksums.clone())));
            self.objects.keep_open(id);
            (file, checksums)
        };
        let source = ObjectSource { shared: self.clone(), object, file, checksums, len: body_len, tag };
        if source.object.unproven.load(Ordering::Acquire) {
            let mut at = 0;
            while at < body_len {
                match source.read_verified(at..body_len).await {
                    Ok(piece) => at += piece.len() as u64,
                    Err(Error::Corrupt { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            source.object.unproven.store(false, Ordering::Release);
        }
        Ok(Some(source))
    }

    async fn read_checksums(
        &self,
        object: &ObjectFile<B>,
        digest: &[u8; 16],
        body_len: u64,
    ) -> Result<Option<(B::File, Bytes)>> {
        // The memory for the checksums is as long as the record says, so it must not say more than is on disk.
        if disk_size(body_len) > object.lease.bytes() {
            return Ok(None);
        }
        let io = |e: io::Error| {
            self.counters.read_errors.one();
            Error::io("read", &object.path, e)
        };
        let file = match self.backend.open(&object.path, OpenMode::READ).await {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        let (head, _) = read(&self.backend, &file, BytesMut::new(), 64, 0, true).await.map_err(io)?;
        if !format::head_fits(&head, &self.uuid, object.id, digest, &self.secret) {
            return Ok(None);
        }
        let want = format::chunks(body_len) as usize * 4;
        let (sums, _) =
            read(&self.backend, &file, BytesMut::new(), want, BODY_AT + body_len, true).await.map_err(io)?;
        Ok((sums.len() == want).then(|| (file, sums.freeze())))
    }
}

/// A large body being read. Holds its file, and with it its place in the quota.
pub(crate) struct ObjectSource<B: DiskBackend> {
    pub(super) shared: Arc<Shared<B>>,
    pub(super) object: Arc<ObjectFile<B>>,
    pub(super) file: B::File,
    pub(super) checksums: Bytes,
    pub(super) len: u64,
    pub(super) tag: Tag,
}

impl<B: DiskBackend> ObjectSource<B> {
    /// A verified prefix of `range`, at most [`PIECE`] long.
    async fn read_verified(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.len);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let first = range.start / CHUNK;
        let from = first * CHUNK;
        let to = end.min(from + PIECE);
        let_others_run(to - from).await;
        let buf = BytesMut::with_capacity((self.len.min(to.next_multiple_of(CHUNK)) - from) as usize);
        let buf = self.append_chunks(buf, first, self.len.min(to.next_multiple_of(CHUNK))).await?;
        let (skip, take) = ((range.start - from) as usize, (to - from) as usize);
        Ok(buf.freeze().slice(skip..take))
    }

    /// Reads and verifies whole chunks from chunk `first` on, up to byte `to` of the body.
    async fn append_chunks(&self, buf: BytesMut, first: u64, to: u64) -> Result<BytesMut> {
        let from = first * CHUNK;
        let start = buf.len();
        let len = (to - from) as usize;
        let done = read(&self.shared.backend, &self.file, buf, len, BODY_AT + from, true).await;
        let (buf, _) = done.map_err(|e| {
            self.shared.counters.read_errors.one();
            Error::io("read", &self.object.path, e)
        })?;
        let whole = buf.len() == start + len;
        let bytes = buf.get(start..).unwrap_or_default();
        let fits = |(n, chunk): (usize, &[u8])| {
            let number = first + n as u64;
            let at = number as usize * 4;
            let crc = format::chunk_crc(&self.shared.secret, self.object.id, number, chunk);
            self.checksums.get(at..at + 4) == Some(&crc.to_le_bytes()[..])
        };
        if whole && bytes.chunks(CHUNK as usize).enumerate().all(fits) {
            return Ok(buf);
        }
        self.shared.counters.corruptions.one();
        self.shared.drop_object_entry(self.tag, self.object.id);
        let reason =
            format!("a chunk in bytes {from}..{to} does not fit its checksum; fetch the entry again");
        Err(Error::Corrupt { path: self.object.path.clone(), reason })
    }
}

impl<B: DiskBackend> BodySource for ObjectSource<B> {
    fn len(&self) -> Option<u64> {
        Some(self.len)
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.read_verified(range))
    }

    fn read_all(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            if range.start >= range.end {
                return Ok(Bytes::new());
            }
            let first = range.start / CHUNK;
            let end = self.len.min(range.end.next_multiple_of(CHUNK));
            let mut at = first * CHUNK;
            let mut turn_ends = end.min(at + TURN);
            // Before there is memory for the body: that of one that was just read is still in the processor's cache.
            let_others_run(turn_ends - at).await;
            let mut buf = BytesMut::with_capacity((end - at) as usize);
            while at < end {
                if at == turn_ends {
                    turn_ends = end.min(at + TURN);
                    let_others_run(turn_ends - at).await;
                }
                let to = end.min(at + SPAN);
                buf = self.append_chunks(buf, at / CHUNK, to).await?;
                at = to;
            }
            let skip = (range.start - first * CHUNK) as usize;
            Ok(buf.freeze().slice(skip..skip + (range.end - range.start) as usize))
        })
    }
}
