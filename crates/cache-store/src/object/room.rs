//! Room in the quota for large bodies.
//!
//! **Invariant**: whoever waits has said how many bytes it wants, so that reclaim frees as many, or says that it cannot.

use crate::{
    shared::Shared,
    space::Lease,
    sync::{AtomicU64, Ordering},
};
use cache_core::{DiskBackend, Error, Result};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::time::Sleep;

/// How long a body waits for readers to let go of evicted ones, once nothing else can give it room. Most have read to their end
/// by then, and nothing is evicted for those that are slow.
const WAIT: Duration = Duration::from_millis(100);
/// How often it waits so long once more beside other bodies that are being written: they have an end, at which they can be
/// evicted, but a caller that polls its insert no more, or a device that has stopped, puts that off for ever.
const MORE_WAITS: u32 = 100;

/// The wait of a body to which nothing can give room but readers and writers.
#[derive(Default)]
struct LastWait {
    time: Option<Pin<Box<Sleep>>>,
    more: u32,
}

impl LastWait {
    /// Whether it is over; it begins with the first question. `comes`: others are writing bodies, which is worth waiting on.
    fn is_over(&mut self, wait: impl Fn() -> Sleep, comes: bool) -> bool {
        let time = self.time.get_or_insert_with(|| Box::pin(wait()));
        if !time.is_elapsed() {
            return false;
        }
        let goes_on = comes && self.more < MORE_WAITS;
        if goes_on {
            self.more += 1;
            time.set(wait());
        }
        !goes_on
    }
}

/// Counts bytes as wanted until dropped.
struct Wanted<'a>(&'a AtomicU64, u64);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::AcqRel);
    }
}

/// Bytes of a whole body that has its room and is not published: counted until dropped.
pub(super) struct Reserved<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    bytes: u64,
}

impl<B: DiskBackend> Drop for Reserved<B> {
    fn drop(&mut self) {
        self.shared.objects.unpublished.fetch_sub(self.bytes, Ordering::AcqRel);
        // Whoever waits may evict the body now, or need not make room beside it.
        self.shared.signals.room.notify_waiters();
    }
}

impl<B: DiskBackend> Shared<B> {
    /// Bytes that entries may take beside the bodies that are being written, and beside `own` bytes to come. Whole bodies make
    /// the entries give up half of what they have at most: more of them at once take turns.
    pub(crate) fn live_limit_beside(&self, own: u64) -> u64 {
        let live = self.limits.live;
        let streams = self.inflight.uncommitted.load(Ordering::Acquire);
        let whole = self.objects.unpublished.load(Ordering::Acquire) + own;
        live.saturating_sub(streams).saturating_sub(whole.min((live / 2).max(own)))
    }

    /// Leases room for a large body: evicts and reclaims until there is some.
    pub(super) async fn lease_object(self: &Arc<Self>, bytes: u64) -> Result<(Lease, Reserved<B>)> {
        if bytes > self.limits.live {
            let reason = "it is larger than the cache can hold".to_owned();
            return Err(Error::StorageFull { needed: bytes, reason });
        }
        let lease = self.lease_room(bytes, bytes).await?;
        self.objects.unpublished.fetch_add(bytes, Ordering::AcqRel);
        Ok((lease, Reserved { shared: self.clone(), bytes }))
    }

    /// [`Shared::lease_object`] for a stream, whose bytes are counted as uncommitted already.
    pub(super) async fn lease_stream(self: &Arc<Self>, bytes: u64) -> Result<Lease> {
        self.lease_room(bytes, 0).await
    }

    /// Waits until the quota has room, evicts for what is `beside` the bytes that are counted, and reclaims.
    async fn lease_room(self: &Arc<Self>, bytes: u64, beside: u64) -> Result<Lease> {
        let full = |reason: &str| Error::StorageFull { needed: bytes, reason: reason.to_owned() };
        // Where others have filled the disk, as many segments go as the body takes.
        for _ in 0..bytes.div_ceil(self.limits.segment) {
            if self.disk_has_room(bytes).await? {
                break;
            }
            if !self.drop_oldest().await? {
                return Err(full("the file system has less free space than min_free_space"));
            }
        }
        let mut starved = self.objects.starved.load(Ordering::Acquire);
        let (mut wanted, mut last) = (None, LastWait::default());
        loop {
            let mut freed = pin!(self.space.freed.notified());
            freed.as_mut().enable();
            let mut starving = pin!(self.objects.starving.notified());
            starving.as_mut().enable();
            // A spare segment was opened: less must be left free for the log.
            let mut room = pin!(self.signals.room.notified());
            room.as_mut().enable();
            // Bodies that others were writing are entries by now. What is evicted gives its bytes back soon.
            if self.index.live_bytes() > self.live_limit_beside(beside) {
                self.evict_down_to(self.live_limit_beside(beside));
                starved = self.objects.starved.load(Ordering::Acquire);
                last = LastWait::default();
            }
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
                let comes = self.objects.unpublished.load(Ordering::Acquire) > 0;
                if last.is_over(|| self.sleep(WAIT), comes) {
                    return Err(full("what occupies the quota is held by readers or writers"));
                }
            }
            if wanted.is_none() {
                self.objects.wanted.fetch_add(bytes, Ordering::AcqRel);
                wanted = Some(Wanted(&self.objects.wanted, bytes));
            }
            // Once reclaim has said that it has nothing it is not asked again: the two would keep each other awake.
            let Some(time) = last.time.as_mut() else {
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
                () = time => {}
            }
        }
    }
}
