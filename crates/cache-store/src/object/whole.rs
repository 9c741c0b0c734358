//! A large body that is there whole: its file is made as long as it will be, and written past the page cache.
//!
//! What a client has just been sent is not read again at once by rule, so that it need not push out what is; and copying it into
//! memory that is used again and again costs the processor a fraction of what fresh pages of the page cache do. What is
//! left of the last block goes through the page cache, and so does everything where the file system knows no other way.

use super::{ObjectFile, blocks, room::Reserved};
use crate::{
    direct::is_refusal,
    format::{
        BLOCK, Secret,
        object::{self as format, CHUNK, disk_size},
    },
    roll::full_disk,
    shared::Shared,
    space::Lease,
    sync::Ordering,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use cache_core::{Advice, DiskBackend, Error, OpenMode, Result};
use cache_index::Position;
use std::{io, path::Path, sync::Arc};

/// Bytes written at once through the page cache.
const WRITE: usize = 8 << 20;

/// A body that is written and not yet published; dropped, it leaves nothing.
pub(crate) struct Unpublished<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    object: Option<Arc<ObjectFile<B>>>,
    _room: Reserved<B>,
}

impl<B: DiskBackend> Unpublished<B> {
    pub(crate) fn object(&self) -> Option<Arc<ObjectFile<B>>> {
        self.object.clone()
    }

    /// The record that names the body has its place.
    pub(crate) fn published(mut self) {
        self.object = None;
    }
}

impl<B: DiskBackend> Drop for Unpublished<B> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.shared.objects.doom(object.id, Position::ZERO);
            self.shared.signals.unlink.notify_one();
        }
    }
}

/// A file that takes a body.
type Made<B> = (Unpublished<B>, Arc<ObjectFile<B>>, <B as DiskBackend>::File);

impl<B: DiskBackend> Shared<B> {
    /// Writes a body to a file of its own.
    ///
    /// # Errors
    /// [`Error::StorageFull`], or those of the device. Nothing is left then.
    ///
    /// # Cancellation
    /// The making of the file goes on as a task, which then has it removed: a file that is only being made cannot be.
    pub(crate) async fn write_object(
        self: &Arc<Self>,
        id: u64,
        digest: &[u8; 16],
        body: &Bytes,
    ) -> Result<Unpublished<B>> {
        let len = body.len() as u64;
        let room = self.lease_object(disk_size(len)).await?;
        let path = self.layout.object(id);
        let making = self.handle.spawn(self.clone().make_object(id, len, room));
        let (unpublished, object, file) = match making.await {
            Ok(made) => made?,
            Err(died) => return Err(Error::io("create", path, io::Error::other(died))),
        };
        let checksums = checksums_of(&self.secret, id, body);
        let failed = |e| {
            self.counters.write_errors.one();
            full_disk(disk_size(len), &path, e)
        };
        let head = Bytes::from(format::encode_head(&self.uuid, id, digest, &self.secret));
        let whole = || head.clone().chain(body.clone()).chain(checksums.clone());
        let past =
            if body.len() >= blocks::LEN { self.write_past_cache(&path, whole()).await } else { Ok(0) };
        let past = past.map_err(failed)?;
        let mut rest = whole();
        rest.advance(past as usize);
        self.write_through_cache(&file, rest, past).await.map_err(failed)?;
        self.counters.bytes_written.add(format::file_len(len));
        *object.open.lock() = Some(self.objects.open(file, Some(checksums)));
        self.objects.keep_open(id);
        Ok(unpublished)
    }

    /// Writes as many bytes as whole blocks hold. Gives their number: none where this cannot be done here.
    async fn write_past_cache(&self, path: &Path, mut bytes: impl Buf) -> io::Result<u64> {
        if self.objects.cached_only.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let refused = |e: &io::Error| {
            let refuses = is_refusal(e);
            self.objects.cached_only.fetch_or(refuses, Ordering::Relaxed);
            refuses
        };
        let file = match self.backend.open(path, OpenMode { direct: true, ..OpenMode::WRITE }).await {
            Ok(file) => file,
            Err(error) => {
                // The page cache will do, where descriptors run out too.
                refused(&error);
                return Ok(0);
            }
        };
        let mut offset = 0;
        loop {
            let len = bytes.remaining().min(blocks::LEN) / BLOCK as usize * BLOCK as usize;
            if len == 0 {
                return Ok(offset);
            }
            let block = self.objects.blocks.filled(|memory| memory.put((&mut bytes).take(len)));
            match self.backend.write_at(&file, vec![block], offset).await {
                Ok(()) => offset += len as u64,
                Err(error) if offset == 0 && refused(&error) => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what is left, without a copy, and has the device begin with it.
    async fn write_through_cache(
        &self,
        file: &B::File,
        mut bytes: impl Buf,
        mut offset: u64,
    ) -> io::Result<()> {
        let begin = offset;
        while bytes.has_remaining() {
            let (mut bufs, mut len) = (Vec::new(), 0);
            while bytes.has_remaining() && len < WRITE {
                let next = bytes.chunk().len().min(WRITE - len);
                bufs.push(bytes.copy_to_bytes(next));
                len += next;
            }
            self.backend.write_at(file, bufs, offset).await?;
            offset += len as u64;
        }
        self.backend.advise(file, begin, offset - begin, Advice::StartWriteback);
        Ok(())
    }

    /// Makes the file of a body of this length. What was made and is dropped is doomed, and so is what a failure leaves.
    async fn make_object(self: Arc<Self>, id: u64, len: u64, room: (Lease, Reserved<B>)) -> Result<Made<B>> {
        let (lease, room) = room;
        let object = Arc::new(ObjectFile::new(id, self.layout.object(id), lease));
        self.objects.all.lock().insert(id, object.clone());
        let unpublished = Unpublished { shared: self.clone(), object: Some(object.clone()), _room: room };
        let file = self.create_file(&object, Some(format::file_len(len)), disk_size(len)).await?;
        Ok((unpublished, object, file))
    }
}

pub(super) fn checksums_of(secret: &Secret, id: u64, body: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(format::chunks(body.len() as u64) as usize * 4);
    for (n, chunk) in body.chunks(CHUNK as usize).enumerate() {
        out.extend_from_slice(&format::chunk_crc(secret, id, n as u64, chunk).to_le_bytes());
    }
    out.freeze()
}
