//! The opener: keeps the next segment ready, so that inserts do not wait for a file to be made.
//!
//! **Invariants**: a segment's quota is leased before its file is made, and its name is on stable storage before its first
//! record; an id whose file could not be made is tried again. Part of the quota is kept for reclaim and for debts; the last
//! segment that is opened from it takes no inserts until reclaim has given the room back.

use crate::{
    log::{Asked, Unopened},
    segment::Segment,
    shared::Shared,
    space::Lease,
};
use cache_core::{Advice, DiskBackend, Error, OpenMode, Result};
use cache_index::{MAX_SEGMENTS, SegmentId};
use std::{io, path::Path, pin::pin, sync::Arc};

impl<B: DiskBackend> Shared<B> {
    /// Runs until the cache shuts.
    pub(crate) async fn opener(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.open.notified());
            woken.as_mut().enable();
            let mut freed = pin!(self.space.freed.notified());
            freed.as_mut().enable();
            let (wanted, urgent, shut, answers) = {
                let log = self.log.lock();
                (
                    log.spare.is_none() && !(log.closed && log.debt.is_empty()),
                    log.urgent,
                    log.shut,
                    log.asked(),
                )
            };
            if shut {
                return;
            }
            if wanted {
                match self.open_next(urgent, answers).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the next segment could not be opened");
                        self.log.lock().unopened(answers, error);
                        // The failed attempt gave its own lease back: woken by that, this would never rest.
                        freed.set(self.space.freed.notified());
                        freed.as_mut().enable();
                        self.signals.room.notify_waiters();
                        self.signals.synced.notify_waiters();
                    }
                }
            }
            tokio::select! {
                () = woken => {}
                () = freed, if wanted => {}
            }
        }
    }

    /// Opens the next segment if the quota has room; `false`: reclaim was asked for some.
    async fn open_next(&self, urgent: bool, answers: Asked) -> Result<bool> {
        let size = self.limits.segment;
        let Some((lease, last)) = self.lease_next(size, urgent, answers).await? else {
            self.signals.reclaim.notify_one();
            return Ok(false);
        };
        if !self.disk_has_room(size).await? && !self.drop_oldest_for_next().await? {
            return Err(Error::StorageFull {
                needed: size,
                reason: "the file system has less free space than min_free_space".to_owned(),
            });
        }
        let (id, after) = self.next_id()?;
        let segment = match self.create_segment(id, lease).await {
            Ok(segment) => segment,
            Err((error, lease)) if is_full(&error) => {
                // A full disk: the oldest segment goes, then once more.
                if !self.drop_oldest_for_next().await? {
                    return Err(full_disk(size, &self.layout.segment(id), error));
                }
                let again = self.create_segment(id, lease).await;
                again.map_err(|(e, _)| full_disk(size, &self.layout.segment(id), e))?
            }
            Err((error, _)) => return Err(full_disk(size, &self.layout.segment(id), error)),
        };
        self.index.attach(id, segment.clone());
        let mut log = self.log.lock();
        log.spare = Some(segment);
        log.next_id = after;
        log.urgent = false;
        log.reclaim_only |= last;
        log.open_error = None;
        log.kept_error = None;
        self.pay_debts_unasked(&mut log);
        drop(log);
        self.signals.room.notify_waiters();
        Ok(true)
    }

    /// Gives the oldest segment up for the next one, on a full disk. Debts wait for the next one themselves.
    async fn drop_oldest_for_next(&self) -> Result<bool> {
        let owed = !self.log.lock().debt.is_empty();
        if owed { self.drop_oldest_for_debts().await } else { self.drop_oldest_now().await }
    }

    /// Room for the next segment, and whether it is the last of that kept for reclaim and debts.
    async fn lease_next(&self, size: u64, urgent: bool, answers: Asked) -> Result<Option<(Lease, bool)>> {
        if let Some(lease) = self.space.try_lease(size, self.limits.kept) {
            return Ok(Some((lease, false)));
        }
        if !urgent {
            return Ok(None);
        }
        if let Some(lease) = self.lease_kept_room(size).await? {
            return Ok(Some((lease, self.space.free() < size)));
        }
        // Reclaim gives up what it cannot move and frees room by that: callers wait for it.
        self.log.lock().kept_error = Some(Unopened { answers, error: self.no_room() });
        self.signals.room.notify_waiters();
        self.signals.synced.notify_waiters();
        Ok(None)
    }

    /// The room kept for reclaim and debts; debts that find it used up get that of the oldest segment.
    async fn lease_kept_room(&self, size: u64) -> Result<Option<Lease>> {
        let lease = self.space.try_lease(size, 0);
        if lease.is_some() || self.log.lock().debt.is_empty() || !self.drop_oldest_for_debts().await? {
            return Ok(lease);
        }
        Ok(self.space.try_lease(size, 0))
    }

    /// The next segment's id and the one after it. The last id of all is never given out: a log that comes so far is full.
    pub(crate) fn next_id(&self) -> Result<(SegmentId, SegmentId)> {
        let id = self.log.lock().next_id;
        let oldest = self.index.segment_ids().first().map_or(id, |oldest| *oldest);
        let full =
            |reason: &str| Error::StorageFull { needed: self.limits.segment, reason: reason.to_owned() };
        let after =
            id.next().ok_or_else(|| full("the log has used up its segment ids: use another directory"))?;
        // More would not fit into an index entry.
        if id.get() - oldest.get() >= MAX_SEGMENTS {
            return Err(full("there are too many short segments, and reclaim has not caught up"));
        }
        Ok((id, after))
    }

    /// Nothing can be reclaimed.
    pub(crate) fn no_room(&self) -> Error {
        Error::StorageFull {
            needed: self.limits.segment,
            reason: "what occupies the quota is held by readers or writers".to_owned(),
        }
    }

    /// Whether the file system would keep its minimum of free space after `bytes` more.
    pub(crate) async fn disk_has_room(&self, bytes: u64) -> Result<bool> {
        let dir = &self.layout.dir;
        let free = self.backend.free_space(dir).await.map_err(|e| Error::io("free space", dir, e))?;
        Ok(free.is_none_or(|free| free >= bytes.saturating_add(self.config.min_free_space.bytes())))
    }

    /// Makes a segment's file and syncs its name.
    pub(crate) async fn create_segment(
        &self,
        id: SegmentId,
        lease: Lease,
    ) -> Result<Arc<Segment<B>>, (io::Error, Lease)> {
        let path = self.layout.segment(id);
        let mode = OpenMode { preallocate: Some(self.limits.segment), ..OpenMode::CREATE_NEW };
        let made = async {
            let file = match self.backend.open(&path, mode).await {
                // Left by an attempt that failed after the file was made: nothing was ever written to it.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    self.backend.remove(&path).await?;
                    self.backend.open(&path, mode).await?
                }
                other => other?,
            };
            if let Err(error) = self.backend.sync_dir(&self.layout.segments).await {
                drop(file);
                let kept = io::Error::new(error.kind(), error.to_string());
                self.lose_names(&Error::io("sync", &self.layout.segments, kept));
                if self.backend.remove(&path).await.is_err() {
                    self.counters.cleanup_errors.one();
                }
                return Err(error);
            }
            Ok(file)
        };
        match made.await {
            Ok(file) => {
                self.backend.advise(&file, 0, 0, Advice::Random);
                Ok(Segment::new(id, file, path, lease, 0))
            }
            Err(error) => Err((error, lease)),
        }
    }
}

/// Whether the disk, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The typed error for a file that could not be made or filled.
pub(crate) fn full_disk(needed: u64, path: &Path, error: io::Error) -> Error {
    if is_full(&error) {
        Error::StorageFull { needed, reason: format!("the disk is full ({error})") }
    } else {
        Error::io("create or fill", path, error)
    }
}
