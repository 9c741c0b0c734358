//! What a failed write or sync does to the log.
//!
//! **Invariants**: nothing past the last good sync of the failed segment counts as stored; no sync is retried into success;
//! the keys whose records were lost get tombstones, and lost tombstones and purges are said again, before anything else is
//! written; a key whose index entry is newer is left alone. What is lost again and again waits for somebody who wants to write: a
//! device that goes on failing is not asked without a pause.

use crate::{
    debt::Owed,
    format::{record::Kind, row::Row},
    segment::Segment,
    shared::Shared,
    sync::Ordering,
};
use cache_core::{DiskBackend, Error};
use cache_index::{Position, SegmentId};
use std::sync::Arc;

/// Once what was said again is lost so often in a row, somebody has to want to write before it is said once more.
const MOST_LOST: u32 = 3;

impl<B: DiskBackend> Shared<B> {
    /// Gives up a segment's unsynced end; whoever waits for it gets `error`.
    pub(crate) fn fail_segment(&self, segment: &Arc<Segment<B>>, error: &Error) {
        let mut log = self.log.lock();
        let Some(from) = segment.fail(error) else { return };
        self.counters.write_errors.one();
        tracing::error!(segment = %segment.id, from, %error, "lost the unsynced end of a segment");

        let before = log.ready.len();
        log.ready.retain(|r| !Arc::ptr_eq(&r.segment, segment));
        log.buffers -= before - log.ready.len();
        if let Some(active) = &mut log.active
            && Arc::ptr_eq(&active.segment, segment)
        {
            // Its open buffer is lost as well: nothing of it will be written.
            if active.buffer.take().is_some() {
                log.buffers -= 1;
            }
            log.close_active(self.index.next_use());
        }
        let Some(closed) = log.draining.iter_mut().find(|c| Arc::ptr_eq(&c.segment, segment)) else { return };
        let lost = closed.table.split_off(from);
        closed.objects.retain(|o| o.offset < from);
        let scopes = closed.table.scopes.clone();

        for row in &lost {
            self.owe_for(&mut log.debt, segment.id, row, &scopes);
        }
        log.failures += 1;
        self.healthy.store(false, Ordering::Release);
        log.unreported = Some(error.clone());
        log.barrier = Some(if log.debt.is_empty() { log.head() } else { Position::from_raw(u64::MAX) });
        if lost.iter().any(|row| row.as_of != 0) {
            log.lost_again += 1;
        }
        // Where nothing is owed nobody would pay, and what waits for that would wait for ever.
        if log.lost_again >= MOST_LOST && !log.debt.is_empty() {
            let answers = log.asked();
            log.unopened(answers, error.clone());
            log.unpaid = Some(error.clone());
            log.urgent = false;
        }
        self.pay_debts_unasked(&mut log);
        drop(log);
        self.signals.commit.notify_one();
        self.signals.room.notify_waiters();
        self.signals.synced.notify_waiters();
    }

    fn owe_for(&self, debt: &mut crate::debt::Debt, segment: SegmentId, row: &Row, scopes: &[u8]) {
        let (at, as_of) = (row.position(segment), row.effective(segment));
        let tag = crate::format::record::tag_of(&row.digest);
        let newer = |than: Position| self.index.peek(tag).is_some_and(|e| e.position > than);
        match row.kind {
            Kind::Insert => {
                if let Some(entry) = self.index.remove_at(tag, at) {
                    self.discard(&entry, None);
                } else if newer(at) {
                    return;
                }
                // The lost record itself is meant too: its bytes may be in the file, which may never get a footer.
                let as_of = Position::new(segment, row.offset + u64::from(row.len));
                debt.owe(Owed::Key { kind: Kind::Tombstone, digest: row.digest, as_of });
            }
            Kind::Tombstone => {
                if !newer(as_of) {
                    debt.owe(Owed::Key { kind: Kind::Tombstone, digest: row.digest, as_of });
                }
            }
            Kind::Expire => {
                if !newer(as_of) {
                    debt.owe(Owed::Key { kind: Kind::Expire, digest: row.digest, as_of });
                }
            }
            Kind::Purge => {
                if let Some((scope, mode)) = row.purge(scopes) {
                    debt.owe(Owed::Purge { scope, mode, as_of });
                }
            }
        }
    }
}
