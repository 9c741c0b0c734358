//! The sealer: gives closed, synced segments their footer.
//!
//! **Invariants**: footers are written in id order, each synced before the next; a readable footer explains its whole
//! segment, so one is written only when no write to the segment is under way; a segment that cannot get one is named by
//! the later ones.

use crate::{
    format::footer::{self, FooterHead},
    log::{Closed, Log},
    segment::Seal,
    shared::Shared,
};
use cache_core::{DiskBackend, Error, Result};
use std::{path::Path, pin::pin, sync::Arc};

impl<B: DiskBackend> Shared<B> {
    /// Runs until the cache shuts.
    pub(crate) async fn sealer(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.seal.notified());
            woken.as_mut().enable();
            let (segment, shut) = {
                let log = self.log.lock();
                let first = log.sealing.front().map(|c| c.segment.clone());
                (first, log.shut && log.draining.is_empty() && log.active.is_none())
            };
            let Some(segment) = segment else {
                if shut {
                    return;
                }
                woken.await;
                continue;
            };
            segment.quiet().await;
            // Taken off the queue only when it is done: until then it counts as part of the log's unsealed end.
            let sealed = self.seal_front().await;
            let mut log = self.log.lock();
            let closed = log.sealing.pop_front();
            if let (Err(error), Some(closed)) = (sealed, closed) {
                tracing::warn!(segment = %closed.segment.id, %error, "a segment gets no footer");
                self.counters.write_errors.one();
                log.unfooted.push(closed.segment.id);
            }
            drop(log);
            self.signals.synced.notify_waiters();
            self.signals.reclaim.notify_one();
            self.signals.room.notify_waiters();
        }
    }

    async fn seal_front(&self) -> Result<()> {
        let (segment, head, rows, scopes) = {
            let mut log = self.log.lock();
            let Some(Closed { segment, table, .. }) = log.sealing.front_mut() else { return Ok(()) };
            // Nobody asks a segment in this queue for them any more.
            let (rows, scopes) = (std::mem::take(&mut table.rows), std::mem::take(&mut table.scopes));
            let (segment, end) = (segment.clone(), table.end);
            let head = self.footer_head(&log, segment.id.get(), end);
            (segment, head, rows, scopes)
        };
        let data_len = head.data_len;
        // Milliseconds for a long segment: not under the lock that every insert takes.
        let bytes = footer::encode(&head, &rows, &scopes, &self.secret);
        self.counters.bytes_written.add(bytes.len() as u64);
        let seal = write_footer(&self.backend, &segment.file, &segment.path, bytes, data_len).await?;
        segment.sealed(seal);
        Ok(())
    }

    fn footer_head(&self, log: &Log<B>, segment: u32, data_len: u64) -> FooterHead {
        let oldest = self.index.segment_ids().first().map_or(0, |id| id.get());
        let mut unfooted: Vec<u32> =
            log.unfooted.iter().map(|id| id.get()).filter(|id| *id >= oldest && *id < segment).collect();
        // Only so many fit; those left out cost the entries before them at the next recovery, nothing else.
        let extra = unfooted.len().saturating_sub(footer::MAX_UNFOOTED);
        unfooted.drain(..extra);
        FooterHead {
            uuid: self.uuid,
            segment,
            data_len,
            unfooted,
            version: log.version,
            entry_id: u64::from(log.entry_prefix) << 32 | u64::from(log.entry_count),
        }
    }
}

/// Writes a footer behind the data, cuts the file there, and syncs both.
pub(crate) async fn write_footer<B: DiskBackend>(
    backend: &B,
    file: &B::File,
    path: &Path,
    bytes: Vec<u8>,
    data_len: u64,
) -> Result<Seal> {
    let footer_len = bytes.len() as u64;
    let file_len = data_len + footer_len;
    let checksum = footer::trailer(&bytes).map_or(0, |(checksum, _)| checksum);
    let io = |op| move |e| Error::io(op, path, e);
    backend.write_at(file, vec![bytes.into()], data_len).await.map_err(io("write footer of"))?;
    backend.set_len(file, file_len).await.map_err(io("cut"))?;
    backend.sync_data(file).await.map_err(io("sync"))?;
    Ok(Seal { file_len, footer_len, checksum })
}
