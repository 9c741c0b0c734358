//! The end of a cache: what is acknowledged is synced and sealed, the snapshot written, the directory unlocked.
//!
//! **Invariants**: who still works on the cache hears [`Error::Closed`]; no task of it touches the directory once it is unlocked; the
//! snapshot is written only where everything before went well.

use crate::{commit::Debts, shared::Shared, sync::Ordering};
use cache_core::{BoxFuture, DiskBackend, Error, Result};
use cache_index::Position;
use std::{pin::pin, sync::Arc};

impl<B: DiskBackend> Shared<B> {
    pub(crate) fn close(self: &Arc<Self>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.shut())
    }

    async fn shut(self: &Arc<Self>) -> Result<()> {
        let asked = {
            let mut log = self.log.lock();
            if log.closed {
                return Err(Error::Closed);
            }
            log.closed = true;
            log.ask()
        };
        self.closed.store(true, Ordering::Release);
        self.wake_everybody();
        let flushed = self.all_synced(Debts::Wait(asked)).await;
        // Where that failed too: nothing may be under way in the directory when somebody else gets it.
        let sealed = self.seal_everything().await;
        let clean = flushed.is_ok() && sealed;
        {
            let mut log = self.log.lock();
            log.shut = true;
            log.active = None;
        }
        self.wake_everybody();
        // A segment that is just being opened is taken away below, and none is made once somebody else has the directory.
        let opener = self.opening.lock().take();
        if let Some(opener) = opener
            && let Err(error) = opener.await
        {
            tracing::error!(%error, "the opener of segments died");
        }
        // A reclaim under way ends at its next append; its segment is whole or gone.
        let reclaiming = self.reclaim.lock().await;
        let unused = self.log.lock().spare.take();
        if let Some(spare) = unused {
            self.index.detach(spare.id);
            if self.backend.remove(&spare.path).await.is_err()
                || self.backend.sync_dir(&self.layout.segments).await.is_err()
            {
                self.counters.cleanup_errors.one();
            }
        }
        // Writes under way are not published any more.
        self.inflight.ids().into_iter().for_each(|id| self.objects.doom(id, Position::ZERO));
        self.unlink_doomed().await;
        if clean && let Err(error) = self.write_snapshot().await {
            tracing::warn!(%error, "no snapshot was written: the next open reads the log");
            self.counters.cleanup_errors.one();
        }
        drop(reclaiming);
        drop(self.lock.lock().take());
        tracing::info!(dir = %self.config.dir.display(), "closed");
        let unreported = self.log.lock().unreported.take();
        flushed.and(unreported.map_or(Ok(()), Err))
    }

    /// Ends the active segment and waits for all footers. Returns whether every one was written.
    async fn seal_everything(&self) -> bool {
        self.log.lock().close_active(self.index.next_use());
        self.signals.commit.notify_one();
        loop {
            let mut synced = pin!(self.signals.synced.notified());
            synced.as_mut().enable();
            {
                let log = self.log.lock();
                if log.draining.is_empty() && log.sealing.is_empty() {
                    return log.unfooted.is_empty() && log.debt.is_empty();
                }
            }
            synced.await;
        }
    }

    fn wake_everybody(&self) {
        let s = &self.signals;
        for signal in [&s.flush, &s.commit, &s.seal, &s.open, &s.reclaim, &s.unlink] {
            signal.notify_one();
        }
        s.room.notify_waiters();
        s.synced.notify_waiters();
        self.space.freed.notify_waiters();
    }
}
