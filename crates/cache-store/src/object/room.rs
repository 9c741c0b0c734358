//! Room in the quota for large bodies.
//!
//! **Invariant**: whoever waits has said how many bytes it wants, so that reclaim frees as many, or says that it cannot.

use super::{AtomicU64, DiskBackend, Error, Ordering, Result, Shared};
use crate::space::Lease;
use std::{pin::pin, time::Duration};

/// How long a body waits for readers to let go of evicted ones, once nothing else can give it room. Most have read to their end
/// by then, and nothing is evicted for those that are slow.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts bytes as wanted until dropped.
struct Wanted<'a>(&'a AtomicU64, u64);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::AcqRel);
    }
}

impl<B: DiskBackend> Shared<B> {
    /// Leases room for a large body: evicts and reclaims until there is some.
    pub(super) async fn lease_object(&self, bytes: u64) -> Result<Lease> {
        let full = |reason: &str| Error::StorageFull { needed: bytes, reason: reason.to_owned() };
        if bytes > self.limits.live {
            return Err(full("it is larger than the cache can hold"));
        }
        self.evict_down_to(self.live_limit().saturating_sub(bytes));
        self.lease_room(bytes).await
    }

    /// [`Shared::lease_object`] for a stream, whose bytes are counted as uncommitted already.
    pub(super) async fn lease_stream(&self, bytes: u64) -> Result<Lease> {
        self.evict_to_limit();
        self.lease_room(bytes).await
    }

    /// Waits until the quota has room, and reclaims for it.
    async fn lease_room(&self, bytes: u64) -> Result<Lease> {
        let full = |reason: &str| Error::StorageFull { needed: bytes, reason: reason.to_owned() };
        if !self.disk_has_room(bytes).await? && !self.drop_oldest().await? {
            return Err(full("the file system has less free space than min_free_space"));
        }
        let starved = self.objects.starved.load(Ordering::Acquire);
        let (mut wanted, mut patience) = (None, None);
        loop {
            let mut freed = pin!(self.space.freed.notified());
            freed.as_mut().enable();
            let mut starving = pin!(self.objects.starving.notified());
            starving.as_mut().enable();
            // A spare segment was opened: less must be left free for the log.
            let mut room = pin!(self.signals.room.notified());
            room.as_mut().enable();
            // The next segment and reclaim keep their room.
            let spare = self.log.lock().spare.is_some();
            let leave = self.limits.kept + if spare { 0 } else { self.limits.segment };
            if let Some(lease) = self.space.try_lease(bytes, leave) {
                return Ok(lease);
            }
            if self.log.lock().closed {
                return Err(Error::Closed);
            }
            if wanted.is_some() && self.objects.starved.load(Ordering::Acquire) != starved {
                let patience = patience.get_or_insert_with(|| Box::pin(self.sleep(PATIENCE)));
                if patience.is_elapsed() {
                    return Err(full("what occupies the quota is held by readers or writers"));
                }
            }
            if wanted.is_none() {
                self.objects.wanted.fetch_add(bytes, Ordering::AcqRel);
                wanted = Some(Wanted(&self.objects.wanted, bytes));
            }
            // Once reclaim has said that it has nothing it is not asked again: the two would keep each other awake.
            let Some(runs_out) = patience.as_mut() else {
                self.signals.reclaim.notify_one();
                tokio::select! {
                    () = freed => {}
                    () = starving => {}
                    () = room => {}
                }
                continue;
            };
            tokio::select! {
                () = freed => {}
                () = room => {}
                () = runs_out => {}
            }
        }
    }

    /// A timer of the cache's runtime: the caller's may have none.
    fn sleep(&self, time: Duration) -> tokio::time::Sleep {
        let _entered = self.handle.enter();
        tokio::time::sleep(time)
    }
}
