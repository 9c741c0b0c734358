//! Group commit: one sync for all that wait.
//!
//! **Invariants**: segments are synced in log order, the large bodies of their records and the names of those before them;
//! a sync that fails fails the segment and is never tried again for the same bytes.

use crate::{
    log::{Asked, Closed, PublishedObject},
    segment::Segment,
    sequencer::Refused,
    shared::Shared,
    sync::Ordering,
};
use cache_core::{DiskBackend, Durability, Error, Result};
use cache_index::Position;
use std::{pin::pin, sync::Arc};

/// What to do about records that are owed and want a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Debts {
    /// Wait until they are paid, or until an attempt to make room fails that answers who asked then.
    Wait(Asked),
    /// Give up.
    Refuse,
    /// They are what room is wanted for: do not wait for any sync. Dropping the oldest segment never uncovers an older
    /// value; it may lose one whose replacement was lost.
    Ignore,
}

/// One step of the committer.
enum Step<B: DiskBackend> {
    /// The oldest closed segment to its end, or the active one as far as it is filled.
    Sync(Arc<Segment<B>>, u64),
    /// The oldest closed segment has failed: what is left of it is synced already.
    Failed,
    Idle,
    Shut,
}

impl<B: DiskBackend> Shared<B> {
    /// Runs until the cache shuts.
    pub(crate) async fn committer(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.commit.notified());
            woken.as_mut().enable();
            match self.next_step() {
                Step::Sync(segment, to) => self.sync_segment(&segment, to).await,
                Step::Failed => {}
                Step::Idle => {
                    woken.await;
                    continue;
                }
                Step::Shut => return,
            }
            self.retire_drained();
            self.signals.synced.notify_waiters();
            self.signals.unlink.notify_one();
        }
    }

    fn next_step(&self) -> Step<B> {
        let mut log = self.log.lock();
        if let Some(closed) = log.draining.front() {
            if closed.segment.failure().is_some() {
                return Step::Failed;
            }
            let step = Step::Sync(closed.segment.clone(), closed.table.end);
            self.signals.flush.notify_one();
            return step;
        }
        let behind = match &log.active {
            Some(active) => {
                active.segment.synced() < active.table.end && log.sync_wanted > log.synced_through
            }
            None => false,
        };
        if behind {
            log.freeze();
            self.signals.flush.notify_one();
            if let Some(active) = &log.active {
                return Step::Sync(active.segment.clone(), active.table.end);
            }
        }
        if log.shut { Step::Shut } else { Step::Idle }
    }

    async fn sync_segment(&self, segment: &Arc<Segment<B>>, to: u64) {
        // A write that fails ends this wait with the segment failed.
        if segment.reached(to, Durability::Written).await.is_err() || segment.synced() >= to && to > 0 {
            return;
        }
        if to == 0 {
            return;
        }
        if let Err(error) = self.sync_objects_of(segment, to).await {
            return self.fail_segment(segment, &error);
        }
        match self.backend.sync_data(&segment.file).await {
            Ok(()) => {
                segment.mark_synced(to);
                let mut log = self.log.lock();
                if segment.failure().is_none() {
                    self.healthy.store(log.debt.is_empty(), Ordering::Release);
                    log.lost_again = 0;
                    if log.draining.front().is_none_or(|c| Arc::ptr_eq(&c.segment, segment)) {
                        log.advance(Position::new(segment.id, to));
                    }
                }
            }
            Err(error) => self.fail_segment(segment, &Error::io("sync", &segment.path, error)),
        }
    }

    /// Moves closed segments that are synced, or failed, on to the sealer, in order.
    fn retire_drained(&self) {
        let mut log = self.log.lock();
        while let Some(closed) = log.draining.front() {
            let failed = closed.segment.failure().is_some();
            if !failed && closed.segment.synced() < closed.table.end {
                break;
            }
            if failed {
                let at = Position::new(closed.segment.id, closed.table.end);
                log.advance(at);
            }
            if let Some(closed) = log.draining.pop_front() {
                log.sealing.push_back(closed);
                self.signals.seal.notify_one();
            }
        }
    }

    /// Syncs the large bodies whose records lie below `to`, and their names.
    async fn sync_objects_of(&self, segment: &Arc<Segment<B>>, to: u64) -> Result<()> {
        let (_busy, objects) = {
            let mut log = self.log.lock();
            let mut due = Vec::new();
            let take = |list: &mut Vec<PublishedObject<B>>, due: &mut Vec<PublishedObject<B>>| {
                let all = std::mem::take(list);
                for o in all {
                    if o.offset < to { due.push(o) } else { list.push(o) }
                }
            };
            if let Some(active) = &mut log.active
                && Arc::ptr_eq(&active.segment, segment)
            {
                take(&mut active.objects, &mut due);
            }
            for Closed { segment: s, objects, .. } in &mut log.draining {
                if Arc::ptr_eq(s, segment) {
                    take(objects, &mut due);
                }
            }
            (self.busy_with(due.len()), due)
        };
        if objects.is_empty() {
            return Ok(());
        }
        let objects: Vec<_> = objects.into_iter().map(|published| published.object).collect();
        self.sync_objects(&objects).await
    }

    /// Waits until a record that ends at `end` is as durable as asked.
    ///
    /// # Errors
    /// The failure that lost it.
    pub(crate) async fn durable(&self, segment: &Arc<Segment<B>>, end: u64, level: Durability) -> Result<()> {
        match level {
            Durability::Buffered => return Ok(()),
            Durability::Written => {
                self.log.lock().flush_now = true;
                self.signals.flush.notify_one();
            }
            _ => {
                let mut log = self.log.lock();
                log.sync_wanted = log.sync_wanted.max(Position::new(segment.id, end));
                drop(log);
                self.signals.commit.notify_one();
            }
        }
        segment.reached(end, level).await
    }

    /// Waits until all that was given a place before this call is synced, or lost with its debts paid and synced. Fails only
    /// where debts cannot be paid.
    ///
    /// # Errors
    /// Why no segment can be opened for the debts; [`Error::Closed`].
    pub(crate) async fn all_synced(&self, debts: Debts) -> Result<()> {
        if debts == Debts::Ignore {
            return Ok(());
        }
        let mut target = None;
        if matches!(debts, Debts::Wait(_)) {
            self.log.lock().unpaid = None;
        }
        loop {
            let mut synced = pin!(self.signals.synced.notified());
            synced.as_mut().enable();
            let mut room = pin!(self.signals.room.notified());
            room.as_mut().enable();
            {
                let mut log = self.log.lock();
                let failures = log.failures;
                let head = log.head();
                // A failure moves the head: what was said again for it must be synced too.
                let to = match target {
                    Some((at, seen)) if seen == failures => at,
                    _ => head,
                };
                target = Some((to, failures));
                if log.synced_through >= to && log.debt.is_empty() && log.barrier.is_none() {
                    return Ok(());
                }
                // Nobody makes segments any more.
                if log.shut {
                    return Err(Error::Closed);
                }
                if !log.debt.is_empty() {
                    let Debts::Wait(asked) = debts else { return Err(self.no_room()) };
                    if let Some(error) = log.refusal(asked, true) {
                        return Err(error);
                    }
                    match self.pay_debts(&mut log, Some(asked)) {
                        Ok(()) => continue,
                        Err(Refused::Failed(error)) => return Err(error),
                        Err(_) => {}
                    }
                    log.urgent = true;
                    self.signals.open.notify_one();
                }
                log.sync_wanted = log.sync_wanted.max(to).max(log.head());
            }
            self.signals.commit.notify_one();
            tokio::select! {
                () = synced => {}
                () = room => {}
            }
        }
    }
}
