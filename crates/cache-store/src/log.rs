//! The state behind the sequencer's lock: which segment is written, what waits, what was lost.
//!
//! **Invariants**: records get their places here and nowhere else; a place is given only where the record and its footer
//! row fit; debts (tombstones and purges for what a failure lost) come before any other record.

use crate::{
    buffer::Buffer,
    debt::Debt,
    format::{footer, record::Header, row::Row},
    object::ObjectFile,
    segment::Segment,
};
use bytes::BytesMut;
use cache_core::{DiskBackend, Error};
use cache_index::{Position, SegmentId};
use std::{collections::VecDeque, sync::Arc};
use tokio::time::Instant;

/// The rows of a segment that has no footer yet.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Encoded rows.
    pub(crate) rows: Vec<u8>,
    /// Scopes of the purges among them.
    pub(crate) scopes: Vec<u8>,
    /// Where the next record goes.
    pub(crate) end: u64,
}

impl Table {
    fn count(&self) -> u64 {
        self.rows.len() as u64 / crate::format::row::ROW_LEN
    }

    /// Whether a record of this length with a scope of that length still fits a segment of `size` bytes.
    pub(crate) fn fits(&self, size: u64, len: u64, scope: u64) -> bool {
        let footer = footer::room(self.count() + 1, self.scopes.len() as u64 + scope);
        self.end + len + footer <= size
    }

    pub(crate) fn push(&mut self, header: &Header, scope: &[u8]) {
        let at = (self.scopes.len() as u64, scope.len() as u32);
        Row::new(header, self.end, at).encode(&mut self.rows);
        self.scopes.extend_from_slice(scope);
        self.end += header.record_len();
    }

    /// Cuts off the rows of records at or past `from` and returns them.
    pub(crate) fn split_off(&mut self, from: u64) -> Vec<Row> {
        let row_len = crate::format::row::ROW_LEN as usize;
        let keep = self
            .rows
            .chunks_exact(row_len)
            .take_while(|r| Row::decode(r).is_some_and(|r| r.offset < from))
            .count();
        let lost = self.rows.split_off(keep * row_len);
        self.end = self.end.min(from);
        lost.chunks_exact(row_len).filter_map(Row::decode).collect()
    }
}

/// The segment that takes records.
pub(crate) struct Active<B: DiskBackend> {
    pub(crate) segment: Arc<Segment<B>>,
    pub(crate) table: Table,
    /// The buffer that takes records, and when it got its first.
    pub(crate) buffer: Option<(Arc<Buffer>, Instant)>,
    pub(crate) objects: Vec<PublishedObject<B>>,
}

/// A large body whose record lies at `offset`: synced before its record is.
pub(crate) struct PublishedObject<B: DiskBackend> {
    pub(crate) offset: u64,
    pub(crate) object: Arc<ObjectFile<B>>,
}

/// A segment that takes no more records and has no footer yet.
pub(crate) struct Closed<B: DiskBackend> {
    pub(crate) segment: Arc<Segment<B>>,
    pub(crate) table: Table,
    pub(crate) objects: Vec<PublishedObject<B>>,
}

/// A buffer on its way to its segment.
pub(crate) struct Ready<B: DiskBackend> {
    pub(crate) segment: Arc<Segment<B>>,
    pub(crate) buffer: Arc<Buffer>,
}

/// A place in the order of those who asked for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked(u64);

/// Why an attempt to make room failed. It answers those who asked before it began: what changed since, it may have missed.
pub(crate) struct Unopened {
    pub(crate) answers: Asked,
    pub(crate) error: Error,
}

/// See the module text.
pub(crate) struct Log<B: DiskBackend> {
    /// No operation of the API is let in.
    pub(crate) closed: bool,
    /// The background tasks end.
    pub(crate) shut: bool,

    pub(crate) active: Option<Active<B>>,
    /// The next segment, opened ahead.
    pub(crate) spare: Option<Arc<Segment<B>>>,
    /// The id the next segment gets.
    pub(crate) next_id: SegmentId,
    /// The active segment was paid with the last of the room kept for reclaim: only moves and control records go there.
    pub(crate) reclaim_only: bool,
    /// Reclaim, or a debt, asks for a segment out of that room.
    pub(crate) urgent: bool,
    /// The last one who asked for a segment.
    asked: Asked,
    /// Why the last segment could not be opened, for those that wait for it.
    pub(crate) open_error: Option<Unopened>,
    /// The room kept for reclaim and debts is used up: they are told, all others wait for what reclaim frees.
    pub(crate) kept_error: Option<Unopened>,

    pub(crate) version: u64,
    pub(crate) entry_prefix: u32,
    pub(crate) entry_count: u32,

    pub(crate) ready: VecDeque<Ready<B>>,
    /// Buffers open, ready and being written.
    pub(crate) buffers: usize,
    pub(crate) free: Vec<BytesMut>,
    /// The open buffer goes out now, whatever its age.
    pub(crate) flush_now: bool,

    /// Closed segments that are not yet synced to their end, in order.
    pub(crate) draining: VecDeque<Closed<B>>,
    /// Synced ones that wait for their footer, in order.
    pub(crate) sealing: VecDeque<Closed<B>>,
    /// Segments that could not get a footer.
    pub(crate) unfooted: Vec<SegmentId>,

    /// Somebody waits for all below to be synced.
    pub(crate) sync_wanted: Position,
    /// All below is synced, or was lost and its debts are synced.
    pub(crate) synced_through: Position,
    /// `synced_through` does not pass a failure before it reaches this.
    pub(crate) barrier: Option<Position>,

    /// A sync of the segments' directory, or an unlink in it, failed: nothing more may be dropped.
    pub(crate) names_lost: Option<Error>,

    pub(crate) debt: Debt,
    /// How often in a row what was said again was lost as well.
    pub(crate) lost_again: u32,
    /// That was too often: the background does not pay debts any more, who next wants to write does.
    pub(crate) unpaid: Option<Error>,
    pub(crate) failures: u64,
    /// A failure that no flush has reported yet.
    pub(crate) unreported: Option<Error>,

    /// Bytes that reclaim may move.
    pub(crate) budget: u64,
}

impl<B: DiskBackend> Log<B> {
    pub(crate) fn new(next_id: SegmentId, version: u64, unfooted: Vec<SegmentId>, budget: u64) -> Self {
        Self {
            closed: false,
            shut: false,
            active: None,
            spare: None,
            next_id,
            reclaim_only: false,
            urgent: false,
            asked: Asked(0),
            open_error: None,
            kept_error: None,
            version,
            entry_prefix: 0,
            entry_count: 0,
            ready: VecDeque::new(),
            buffers: 0,
            free: Vec::new(),
            flush_now: false,
            draining: VecDeque::new(),
            sealing: VecDeque::new(),
            unfooted,
            sync_wanted: Position::ZERO,
            synced_through: Position::ZERO,
            barrier: None,
            names_lost: None,
            debt: Debt::default(),
            lost_again: 0,
            unpaid: None,
            failures: 0,
            unreported: None,
            budget,
        }
    }

    /// Where the next record would go: the end of all that was given a place.
    pub(crate) fn head(&self) -> Position {
        // An active segment without a record has nothing to sync: whoever waited for its beginning would wait for ever.
        if let Some(active) = self.active.as_ref().filter(|active| active.table.end > 0) {
            return Position::new(active.segment.id, active.table.end);
        }
        if let Some(closed) = self.draining.back().or(self.sealing.back()) {
            return Position::new(closed.segment.id, closed.table.end);
        }
        self.synced_through
    }

    /// A position after all that was ever given a place, records that a failure cut off included; nothing lies at it yet.
    pub(crate) fn next_place(&self) -> Position {
        match (&self.active, &self.spare) {
            (Some(active), _) => Position::new(active.segment.id, active.table.end),
            (None, Some(spare)) => Position::new(spare.id, 0),
            (None, None) => Position::new(self.next_id, 0),
        }
    }

    /// Takes a place among those who asked for a segment.
    pub(crate) fn ask(&mut self) -> Asked {
        self.asked.0 += 1;
        self.asked
    }

    /// Those whom an attempt that begins now answers: the last one who asked, and all before.
    pub(crate) fn asked(&self) -> Asked {
        self.asked
    }

    /// An attempt to make room has failed. One that ended earlier and began later goes on to answer.
    pub(crate) fn unopened(&mut self, answers: Asked, error: Error) {
        if self.open_error.as_ref().is_none_or(|failed| failed.answers <= answers) {
            self.open_error = Some(Unopened { answers, error });
        }
    }

    /// Why there is no segment for who asked then; `None`: nobody knows yet. `kept`: that kept for reclaim would do.
    pub(crate) fn refusal(&self, asked: Asked, kept: bool) -> Option<Error> {
        let kept = self.kept_error.as_ref().filter(|_| kept);
        let mut all = self.open_error.iter().chain(kept);
        all.find(|failed| failed.answers >= asked).map(|failed| failed.error.clone())
    }

    /// Makes a segment the active one.
    pub(crate) fn activate(&mut self, segment: Arc<Segment<B>>) {
        self.active = Some(Active { segment, table: Table::default(), buffer: None, objects: Vec::new() });
    }

    /// Hands the open buffer to the writer.
    pub(crate) fn freeze(&mut self) {
        if let Some(active) = &mut self.active
            && let Some((buffer, _)) = active.buffer.take()
        {
            buffer.freeze();
            self.ready.push_back(Ready { segment: active.segment.clone(), buffer });
        }
    }

    /// Ends the active segment: what is in it gets written, synced and sealed in the background. `next_use`: the index's.
    pub(crate) fn close_active(&mut self, next_use: u64) {
        self.freeze();
        if let Some(active) = self.active.take() {
            let Active { segment, table, objects, .. } = active;
            segment.closed_at(next_use);
            self.draining.push_back(Closed { segment, table, objects });
        }
    }

    /// Lets go of a large body that was unlinked: nobody needs it synced, and its bytes are wanted.
    pub(crate) fn forget_object(&mut self, id: u64) {
        let lists = self.active.iter_mut().map(|a| &mut a.objects);
        for objects in lists.chain(self.draining.iter_mut().map(|c| &mut c.objects)) {
            objects.retain(|o| o.object.id != id);
        }
    }

    /// A new entry id; never given before, in this process or an earlier one.
    pub(crate) fn next_entry_id(&mut self) -> u64 {
        if self.entry_count == u32::MAX
            && let Some(active) = &self.active
            && active.segment.id.get() > self.entry_prefix
        {
            // Four billion writes later: the name of the active segment is as unused and as durable a prefix.
            (self.entry_prefix, self.entry_count) = (active.segment.id.get(), 0);
        }
        self.entry_count = self.entry_count.saturating_add(1);
        u64::from(self.entry_prefix) << 32 | u64::from(self.entry_count)
    }

    /// Notes that all below `to` is synced.
    pub(crate) fn advance(&mut self, to: Position) {
        match self.barrier {
            Some(barrier) if to < barrier => {}
            _ => {
                self.barrier = None;
                self.synced_through = self.synced_through.max(to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_testkit::MemoryBackend;

    /// Reclaim and the opener fail each in its own time. A reclaim that had begun before an insert asked, and ended after the
    /// opener had answered it, took the answer away before the insert had looked: it waited for ever.
    #[test]
    fn an_attempt_that_began_earlier_does_not_hide_what_a_later_one_answered() {
        let mut log = Log::<MemoryBackend>::new(SegmentId::new(1), 0, Vec::new(), 0);
        let failed = |what| Error::io(what, "/cache", std::io::Error::other("planted"));
        let reclaim_began = log.asked();
        let asked = log.ask();
        log.unopened(log.asked(), failed("open"));
        log.unopened(reclaim_began, failed("reclaim"));
        let answer = log.refusal(asked, false).expect("it was answered");
        assert!(answer.to_string().contains("open"), "{answer}");
    }
}
