//! A large body of unknown length: its file grows with it.
//!
//! **Invariants**: a byte is leased from the quota before it is written; what streams have leased and not published takes at
//! most half of the capacity, and past that a stream gets [`Error::StorageFull`] at once, so that none waits for the bytes of
//! another; dropped before it is published, the file goes and its bytes come back. Whole chunks are written until the end,
//! so that what is in the file can be verified while it grows.

use super::{ObjectFile, ObjectSource};
use crate::{
    format::{
        Secret, crc,
        object::{self as format, BODY_AT, CHUNK, disk_size},
    },
    roll::{full_disk, is_full},
    shared::Shared,
    sync::{AtomicU64, Ordering},
};
use bytes::{Bytes, BytesMut};
use cache_core::{Advice, DiskBackend, Error, Result};
use cache_index::{Position, Tag};
use std::{io, sync::Arc};

/// A file that takes a body, and later its trailer.
pub(crate) struct GrowingObject<B: DiskBackend> {
    part: FilePart<B>,
    digest: [u8; 16],
    /// Its head block is there.
    begun: bool,
    reserved: Uncommitted<B>,
    published: bool,
}

/// What reads a file that still grows.
pub(crate) struct FilePart<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    object: Arc<ObjectFile<B>>,
    file: B::File,
    tag: Tag,
}

impl<B: DiskBackend> Clone for FilePart<B> {
    fn clone(&self) -> Self {
        let Self { shared, object, file, tag } = self;
        Self { shared: shared.clone(), object: object.clone(), file: file.clone(), tag: *tag }
    }
}

impl<B: DiskBackend> FilePart<B> {
    /// Reads the first `len` bytes of the body, whose chunks have these checksums.
    pub(crate) fn source(&self, len: u64, checksums: Bytes) -> ObjectSource<B> {
        let Self { shared, object, file, tag } = self.clone();
        ObjectSource { shared, object, file, checksums, len, tag }
    }
}

/// Bytes counted as uncommitted until dropped.
struct Uncommitted<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    bytes: u64,
}

impl<B: DiskBackend> Uncommitted<B> {
    fn reserve(shared: &Arc<Shared<B>>, bytes: u64) -> Result<Self> {
        let half = shared.space.capacity() / 2;
        let count = &shared.inflight.uncommitted;
        let grown = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            n.checked_add(bytes).filter(|after| *after <= half)
        });
        if grown.is_err() {
            let reason = "bodies that are still being written take half of the capacity".to_owned();
            return Err(Error::StorageFull { needed: bytes, reason });
        }
        Ok(Self { shared: shared.clone(), bytes })
    }

    fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl<B: DiskBackend> Drop for Uncommitted<B> {
    fn drop(&mut self) {
        self.shared.inflight.uncommitted.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl<B: DiskBackend> Drop for GrowingObject<B> {
    fn drop(&mut self) {
        if !self.published {
            let FilePart { shared, object, .. } = &self.part;
            shared.objects.doom(object.id, Position::ZERO);
            shared.signals.unlink.notify_one();
        }
    }
}

impl<B: DiskBackend> Shared<B> {
    /// Makes the file of a body whose length is not known.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Closed`], those of the device. Nothing is left then.
    ///
    /// # Cancellation
    /// Goes on as a task, whose file is then removed: a file that is only being made cannot be.
    pub(crate) async fn start_object(
        self: &Arc<Self>,
        id: u64,
        digest: [u8; 16],
        tag: Tag,
    ) -> Result<GrowingObject<B>> {
        let shared = self.clone();
        let started = self.handle.spawn(async move { shared.create_growing(id, digest, tag).await });
        match started.await {
            Ok(started) => started,
            Err(died) => Err(Error::io("create", self.layout.object(id), io::Error::other(died))),
        }
    }

    async fn create_growing(
        self: Arc<Self>,
        id: u64,
        digest: [u8; 16],
        tag: Tag,
    ) -> Result<GrowingObject<B>> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let head = disk_size(0);
        let reserved = Uncommitted::reserve(&self, head)?;
        let lease = self.lease_stream(head).await?;
        let object = Arc::new(ObjectFile::new(id, self.layout.object(id), lease));
        let file = self.create_file(&object, None, head).await?;
        self.objects.all.lock().insert(id, object.clone());
        let part = FilePart { shared: self.clone(), object, file, tag };
        Ok(GrowingObject { part, digest, begun: false, reserved, published: false })
    }
}

impl<B: DiskBackend> GrowingObject<B> {
    pub(crate) fn part(&self) -> FilePart<B> {
        self.part.clone()
    }

    pub(crate) fn object(&self) -> Arc<ObjectFile<B>> {
        self.part.object.clone()
    }

    /// The record that names the body has its place.
    pub(crate) fn published(mut self) {
        self.published = true;
    }

    /// Writes `len` bytes of the body at `at`; with `trailer`, the body ends there.
    ///
    /// # Errors
    /// [`Error::StorageFull`], those of the device. The body may not go on then.
    ///
    /// # Cancellation
    /// Safe to call again with the same bytes: a write that goes on by itself writes nothing else.
    pub(crate) async fn write(
        &mut self,
        at: u64,
        body: Vec<Bytes>,
        len: u64,
        trailer: Option<Bytes>,
    ) -> Result<()> {
        let FilePart { shared, object, file, .. } = &self.part;
        let size = disk_size(at + len);
        let more = size.saturating_sub(object.lease.bytes());
        if more > 0 {
            let reserved = Uncommitted::reserve(shared, more)?;
            let lease = shared.lease_stream(more).await?;
            object.lease.absorb(&lease);
            self.reserved.absorb(reserved);
        }
        let mut bufs = Vec::with_capacity(body.len() + 2);
        let mut offset = BODY_AT + at;
        if !self.begun {
            bufs.push(Bytes::from(format::encode_head(
                &shared.uuid,
                object.id,
                &self.digest,
                &shared.secret,
            )));
            offset = 0;
        }
        bufs.extend(body);
        let last = trailer.clone();
        bufs.extend(trailer);
        let written: u64 = bufs.iter().map(|b| b.len() as u64).sum();
        let mut done = shared.backend.write_at(file, bufs.clone(), offset).await;
        if let Err(error) = &done
            && is_full(error)
            && shared.drop_oldest().await?
        {
            done = shared.backend.write_at(file, bufs, offset).await;
        }
        done.map_err(|e| {
            shared.counters.write_errors.one();
            full_disk(written, &object.path, e)
        })?;
        shared.backend.advise(file, offset, written, Advice::StartWriteback);
        shared.counters.bytes_written.add(written);
        self.begun = true;
        if last.is_some() {
            shared.objects.keep_open(object.id);
        }
        Ok(())
    }

    /// The body is written to its end: readers of the entry find its checksums at hand.
    pub(crate) fn whole(&self, checksums: Bytes) {
        let FilePart { shared, object, file, .. } = &self.part;
        *object.open.lock() = Some(shared.objects.open(file.clone(), Some(checksums)));
    }
}

/// The checksums of the chunks that `bytes` consists of, the first of them chunk `first`.
pub(crate) fn checksums_from(secret: &Secret, id: u64, first: u64, bytes: &[Bytes]) -> BytesMut {
    let mut out = BytesMut::new();
    let (mut chunk, mut left) = (first, CHUNK as usize);
    let mut crc = secret.chunk_seed(id, chunk);
    for piece in bytes {
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(left));
            crc = crc::append(crc, now);
            (rest, left) = (later, left - now.len());
            if left == 0 {
                out.extend_from_slice(&crc.to_le_bytes());
                (chunk, left) = (chunk + 1, CHUNK as usize);
                crc = secret.chunk_seed(id, chunk);
            }
        }
    }
    if left < CHUNK as usize {
        out.extend_from_slice(&crc.to_le_bytes());
    }
    out
}

/// Bytes of all streams together that are leased and not published.
pub(crate) type UncommittedBytes = AtomicU64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_pieces_has_the_checksums_of_the_whole() {
        let secret = Secret::new(&[7; 32]);
        let body: Bytes = (0..3 * CHUNK as usize + 100).map(|n| n as u8).collect::<Vec<_>>().into();
        let whole = super::super::whole::checksums_of(&secret, 9, &body);
        for step in [1000, CHUNK as usize, CHUNK as usize + 1] {
            let pieces: Vec<_> = body.chunks(step).map(Bytes::copy_from_slice).collect();
            assert_eq!(checksums_from(&secret, 9, 0, &pieces).freeze(), whole, "{step}");
        }
    }
}
