//! Writing and reading the snapshot of a clean close.
//!
//! **Invariants**: it is written only when every segment is sealed and nothing is under way; it is unlinked, and that is
//! synced, before the cache it was read into takes its first record. Wrong in any way, it is ignored.

use crate::{
    format::{
        BLOCK, round_up,
        snapshot::{self, PREFIX_LEN, PurgeSeal, ROW_LEN, SegmentSeal, SnapshotHead},
    },
    io,
    publish::Staged,
    shared::Shared,
};
use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, Error, OpenMode, PurgeMode, Result};
use cache_index::{Index, Position, PurgeRow, Purges};
use std::{hash::Hasher, sync::Arc};

/// Bytes of rows written or read at once: a multiple of a row.
const BATCH: usize = ROW_LEN * 65_536;

impl<B: DiskBackend> Shared<B> {
    /// Writes the snapshot, if the quota has room for it and every segment has its footer. Returns whether it was written.
    pub(crate) async fn write_snapshot(self: &Arc<Self>) -> Result<bool> {
        let Some(head) = self.snapshot_head() else { return Ok(false) };
        let head = head.encode();
        let len = head.len() as u64 + self.index.len() * ROW_LEN as u64 + 8;
        // Held until the next open counts the file itself.
        let Some(_lease) = self.space.try_lease(round_up(len, BLOCK), 0) else { return Ok(false) };
        let staged = Staged::create(&self.backend, &self.layout.snapshot).await?;
        match self.write_rows(&staged, head).await {
            Ok(()) => staged.publish().await.map(|()| true),
            Err(error) => {
                if staged.abandon().await.is_err() {
                    self.counters.cleanup_errors.one();
                }
                Err(error)
            }
        }
    }

    fn snapshot_head(&self) -> Option<SnapshotHead> {
        let segments = self
            .index
            .segment_ids()
            .into_iter()
            .map(|id| {
                let seal = self.index.segment(id)?.seal()?;
                Some(SegmentSeal { id: id.get(), file_len: seal.file_len, checksum: seal.checksum })
            })
            .collect::<Option<Vec<_>>>()?;
        let (version, entry_id) = {
            let log = self.log.lock();
            (log.version, u64::from(log.entry_prefix) << 32 | u64::from(log.entry_count))
        };
        let purges = self.purges.rows().into_iter().map(seal_purge).collect();
        Some(SnapshotHead { uuid: self.uuid, entries: self.index.len(), version, entry_id, segments, purges })
    }

    /// Streams the rows from a blocking thread, so that a snapshot of any size takes a few batches of memory.
    async fn write_rows(self: &Arc<Self>, staged: &Staged<'_, B>, head: Vec<u8>) -> Result<()> {
        let (batches, mut ready) = tokio::sync::mpsc::channel::<Bytes>(2);
        let shared = self.clone();
        let exporting = self.handle.spawn_blocking(move || {
            let mut batch = head;
            shared.index.export(|tag, entry| {
                let mut entry = *entry;
                // What was read whole since it was recorded need not be again.
                entry.flags.unproven &= entry.object.is_some_and(|o| shared.objects.doubt(o.id) != 0);
                snapshot::encode_row(tag, &entry, &mut batch);
                if batch.len() >= BATCH {
                    // A writer that failed has hung up: what is sent to it does not matter any more.
                    drop(batches.blocking_send(std::mem::take(&mut batch).into()));
                }
            });
            drop(batches.blocking_send(batch.into()));
        });
        let mut hasher = snapshot::hasher(&self.secret);
        let mut at = 0;
        while let Some(batch) = ready.recv().await {
            hasher.write(&batch);
            let len = batch.len() as u64;
            staged.write(vec![batch], at).await?;
            at += len;
        }
        exporting.await.map_err(|e| Error::io("export", &self.layout.snapshot, std::io::Error::other(e)))?;
        let sum = Bytes::copy_from_slice(&hasher.finish().to_le_bytes());
        staged.write(vec![sum], at).await
    }
}

fn seal_purge(row: PurgeRow) -> PurgeSeal {
    let of = |kind, hash, prefix, mode, at: Position| PurgeSeal {
        kind,
        hash,
        prefix,
        expires: mode == PurgeMode::Expire,
        at: at.raw(),
    };
    match row {
        PurgeRow::Hashed { hash, mode, at } => of(0, hash, Vec::new(), mode, at),
        PurgeRow::Tag { hash, mode, at } => of(1, hash, Vec::new(), mode, at),
        PurgeRow::Prefix { namespace, prefix, mode, at } => of(2, namespace, prefix.into_vec(), mode, at),
    }
}

fn open_purge(seal: PurgeSeal) -> Option<PurgeRow> {
    let mode = if seal.expires { PurgeMode::Expire } else { PurgeMode::Remove };
    let at = Position::from_raw(seal.at);
    Some(match seal.kind {
        0 => PurgeRow::Hashed { hash: seal.hash, mode, at },
        1 => PurgeRow::Tag { hash: seal.hash, mode, at },
        2 => PurgeRow::Prefix { namespace: seal.hash, prefix: seal.prefix.into(), mode, at },
        _ => return None,
    })
}

/// The snapshot's file, its head read and not yet verified.
pub(crate) struct Reading<B: DiskBackend> {
    pub(crate) head: SnapshotHead,
    file: B::File,
    hasher: siphasher::sip::SipHasher13,
    rows_at: u64,
}

/// Opens the snapshot and reads its head; `None`: there is none, or it does not read.
///
/// # Errors
/// Those of the device.
pub(crate) async fn begin<B: DiskBackend>(
    backend: &B,
    path: &std::path::Path,
    secret: &crate::format::Secret,
) -> Result<Option<Reading<B>>> {
    let failed = |e| Error::io("read", path, e);
    let file = match backend.open(path, OpenMode::READ).await {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let len = backend.len(&file).await.map_err(failed)?;
    let read = io::read(backend, &file, BytesMut::new(), PREFIX_LEN, 0, false).await;
    let (prefix, _) = read.map_err(failed)?;
    let Some(head_len) = snapshot::head_len(&prefix).filter(|h| (PREFIX_LEN + h) as u64 <= len) else {
        return Ok(None);
    };
    let read = io::read(backend, &file, prefix, head_len, PREFIX_LEN as u64, false).await;
    let (bytes, _) = read.map_err(failed)?;
    let Some(head) = bytes.get(PREFIX_LEN..).and_then(SnapshotHead::decode) else { return Ok(None) };
    let rows_at = bytes.len() as u64;
    let rows_len = head.entries.checked_mul(ROW_LEN as u64).and_then(|l| l.checked_add(rows_at + 8));
    if rows_len != Some(len) {
        return Ok(None);
    }
    let mut hasher = snapshot::hasher(secret);
    hasher.write(&bytes);
    Ok(Some(Reading { head, file, hasher, rows_at }))
}

impl<B: DiskBackend> Reading<B> {
    /// Fills index and purge table. `false`: it does not verify, and both are to be thrown away.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) async fn load<S: Clone + Send + Sync>(
        mut self,
        backend: &B,
        path: &std::path::Path,
        index: &mut Index<S>,
        purges: &Purges,
    ) -> Result<bool> {
        let failed = |e| Error::io("read", path, e);
        index.reserve(self.head.entries);
        // They were compared with the segments there are: ascending, and not far apart.
        let first = self.head.segments.first().map_or(0, |segment| segment.id);
        let mut attached = Vec::new();
        for segment in &self.head.segments {
            attached.resize(segment.id.saturating_sub(first) as usize, false);
            attached.push(true);
        }
        let is_attached =
            |id: u32| id.checked_sub(first).and_then(|n| attached.get(n as usize)) == Some(&true);
        let mut entries = Vec::with_capacity((BATCH / ROW_LEN).min(self.head.entries as usize));
        let mut left = self.head.entries as usize;
        let mut at = self.rows_at;
        let mut buf = BytesMut::new();
        while left > 0 {
            let want = (left * ROW_LEN).min(BATCH);
            buf.clear();
            let (bytes, _) = io::read(backend, &self.file, buf, want, at, false).await.map_err(failed)?;
            if bytes.len() != want {
                return Ok(false);
            }
            self.hasher.write(&bytes);
            entries.clear();
            for row in bytes.chunks_exact(ROW_LEN) {
                let Some((tag, entry)) = snapshot::decode_row(row) else { return Ok(false) };
                if !is_attached(entry.position.segment().get()) {
                    return Ok(false);
                }
                entries.push((tag, entry));
            }
            index.publish_all(&entries);
            left -= want / ROW_LEN;
            at += want as u64;
            buf = bytes;
        }
        let (sum, _) = io::read(backend, &self.file, BytesMut::new(), 8, at, false).await.map_err(failed)?;
        if sum.as_ref() != self.hasher.finish().to_le_bytes() {
            return Ok(false);
        }
        for seal in self.head.purges {
            let Some(row) = open_purge(seal) else { return Ok(false) };
            purges.restore(row);
        }
        Ok(true)
    }
}
