//! The sequencer: the one place where the log's order is made.
//!
//! **Invariants**: under one lock, and nowhere else, a record gets its place and its version, the index and the purge table
//! are looked at, and the change is published. A change that expects the index to hold a certain place appends nothing where
//! it does not (compare-and-swap). The lock is never held across an await.

use crate::{
    buffer::Buffer,
    debt::Owed,
    fairness::let_others_run,
    format::{
        ALIGN,
        record::{Header, Kind, flag, index_flags},
        scope,
    },
    inflight::Flight,
    log::{Asked, Log, PublishedObject},
    object::{self, ObjectFile},
    segment::Segment,
    shared::Shared,
    turns::Turn,
};
use bytes::{Bytes, BytesMut};
use cache_core::{CacheKey, DiskBackend, Error, PurgeMode, PurgeScope};
use cache_index::{Entry, ObjectRef, Position};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Who writes: each class has write buffers that the ones before it cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Insert,
    /// Tombstones, purges, expires.
    Control,
    /// What a failure lost, said again. Reclaim waits for it, so it must not wait for reclaim.
    Debt,
    /// Reclaim's copies.
    Move,
}

/// How long who waits for room waits for its turn.
const TURN: Duration = Duration::from_millis(100);
/// So many large bodies of the active segment are synced whoever waits for that.
const MOST_UNSYNCED: usize = 64;
/// With so many, the sync does not keep up with those who store them: the next ones wait for it.
const MOST_WAITED_FOR: usize = 4 * MOST_UNSYNCED;

/// A record that has no place yet.
pub(crate) struct Draft<B: DiskBackend> {
    pub(crate) header: Header,
    pub(crate) key: Bytes,
    pub(crate) attributes: Bytes,
    pub(crate) meta: Bytes,
    pub(crate) body: Bytes,
    /// The large body that the record publishes for the first time.
    pub(crate) object: Option<Arc<ObjectFile<B>>>,
    /// The write under way that this commits, or whose failure this says: not where it is doomed.
    pub(crate) flight: Option<Arc<Flight<B>>>,
}

impl<B: DiskBackend> Draft<B> {
    /// A record without payload.
    pub(crate) fn bare(kind: Kind, digest: [u8; 16]) -> Self {
        Self {
            header: Header::new(kind, digest),
            key: Bytes::new(),
            attributes: Bytes::new(),
            meta: Bytes::new(),
            body: Bytes::new(),
            object: None,
            flight: None,
        }
    }

    /// A purge record.
    pub(crate) fn purge(scope: &PurgeScope, mode: PurgeMode) -> Self {
        let mut draft = Self::bare(Kind::Purge, [0; 16]);
        draft.meta = scope::encode(scope).into();
        draft.header.meta_len = draft.meta.len() as u32;
        draft.header.crc = crate::format::record::payload_crc([&[], &[], &draft.meta, &[]]);
        if mode == PurgeMode::Expire {
            draft.header.flags |= flag::PURGE_EXPIRES;
        }
        draft
    }
}

/// What a record does to the index.
pub(crate) enum Change<'a> {
    /// Its key's newest value.
    Insert,
    /// The same body somewhere else, or with another meta, if the index still holds `expect` and no purge hit it.
    Replace {
        expect: Position,
        key: &'a CacheKey,
        lift_stale: bool,
    },
    /// The key is gone. With `expect`, not where the index holds another place. `exact`: that entry alone is meant, writes
    /// of the key that are under way are not.
    Remove {
        expect: Option<Position>,
        exact: bool,
    },
    /// The key is stale; the rest as for `Remove`.
    Expire {
        expect: Option<Position>,
        exact: bool,
    },
    Purge {
        scope: &'a PurgeScope,
        mode: PurgeMode,
    },
}

/// A record that got its place.
pub(crate) struct Placed<B: DiskBackend> {
    pub(crate) segment: Arc<Segment<B>>,
    /// Where the next record begins in the segment.
    pub(crate) end: u64,
    pub(crate) position: Position,
    pub(crate) entry_id: u64,
    /// What the index held before.
    pub(crate) before: Option<Entry>,
    /// So many large bodies wait for their sync that who stores another one waits for it, too.
    pub(crate) crowded: bool,
}

/// Why a record got no place.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The index holds something else than expected, a purge hit it, or what is committed was doomed.
    Changed,
    /// No segment takes it now: wait for room, and then say when you asked.
    NoSegment(Asked),
    /// All write buffers are in flight, or reclaim is to give back the room kept for it first: wait for room.
    NotYet,
    /// It will not work.
    Failed(Error),
}

impl<B: DiskBackend> Shared<B> {
    /// Gives a record its place and publishes it. `asked`: when the caller asked for a
    /// segment, if it has. `tries`: it pays what nobody could pay before, too.
    pub(crate) fn append(
        &self,
        draft: &Draft<B>,
        change: &Change<'_>,
        class: Class,
        asked: Option<Asked>,
        tries: bool,
    ) -> Result<Placed<B>, Refused> {
        let mut log = self.log.lock();
        if log.closed {
            return Err(Refused::Failed(Error::Closed));
        }
        if draft.flight.as_ref().is_some_and(|flight| flight.is_doomed()) {
            return Err(Refused::Changed);
        }
        let mut header = draft.header.clone();
        let tag = header.tag();
        match change {
            Change::Insert | Change::Purge { .. } => {}
            Change::Replace { expect, key, lift_stale } => {
                let stale = self.still_there(&header, draft, *expect, key).ok_or(Refused::Changed)?;
                header.flags &= !flag::STALE;
                if stale && !lift_stale {
                    header.flags |= flag::STALE;
                }
            }
            Change::Remove { expect, .. } | Change::Expire { expect, .. } => {
                let other = |at| self.index.peek(tag).is_some_and(|e| e.position != at);
                if expect.is_some_and(other) {
                    return Err(Refused::Changed);
                }
            }
        }
        if !log.debt.is_empty() {
            if tries {
                log.unpaid = None;
            }
            self.pay_debts(&mut log, asked)?;
        }
        if matches!(change, Change::Insert) && header.entry_id == 0 {
            header.entry_id = log.next_entry_id();
        }
        let scope = if matches!(change, Change::Purge { .. }) { &draft.meta[..] } else { &[] };
        let (segment, position) = self.place(&mut log, &mut header, draft, scope, class, asked)?;
        // A new meta for a body that is not synced yet vouches for it as well: the record before it may be lost.
        let object = draft.object.clone().or_else(|| self.objects.unsynced(header.object));
        let crowded = self.note_object(&mut log, object, position.offset());
        let before = self.publish(&header, position, change);
        self.doom_flights(&header, change);
        if let (Change::Insert, Some(flight)) = (change, &draft.flight) {
            self.inflight.remove(flight);
        }
        let len = header.record_len();
        if class == Class::Move {
            self.counters.bytes_relocated.add(len);
        } else {
            let in_file = if header.object != 0 && draft.object.is_some() { header.body_len } else { 0 };
            let earned = self.earned(len.saturating_add(in_file));
            log.budget = log.budget.saturating_add(earned).min(self.space.capacity());
        }
        let (end, entry_id) = (position.offset() + len, header.entry_id);
        Ok(Placed { segment, end, position, entry_id, before, crowded })
    }

    /// Notes a large body that is to be synced before the record at `offset`. Returns whether there are too many of them.
    fn note_object(&self, log: &mut Log<B>, object: Option<Arc<ObjectFile<B>>>, offset: u64) -> bool {
        let (Some(object), Some(active)) = (object, &mut log.active) else { return false };
        active.objects.push(PublishedObject { offset, object });
        let (count, end) = (active.objects.len(), Position::new(active.segment.id, active.table.end));
        if count >= MOST_UNSYNCED {
            // Each is a descriptor, and a sync to come.
            log.sync_wanted = log.sync_wanted.max(end);
            self.signals.commit.notify_one();
        }
        count >= MOST_WAITED_FOR
    }

    /// Bytes that reclaim may move for so many new ones.
    fn earned(&self, new: u64) -> u64 {
        // Thousandths: the configuration bounds the factor between 1 and 1000.
        #[expect(clippy::cast_sign_loss, reason = "the factor is at least 1")]
        let thousandths = ((self.config.max_write_amplification - 1.0) * 1000.0) as u64;
        new.saturating_mul(thousandths) / 1000
    }

    /// [`Shared::append`], waiting for room, inserts by turns. `None`: there was none and `wait` is false.
    ///
    /// # Cancellation
    /// Before the place is given nothing happened; there is no await after it.
    pub(crate) async fn append_waiting(
        &self,
        draft: &Draft<B>,
        change: &Change<'_>,
        class: Class,
        wait: bool,
    ) -> Result<Option<Placed<B>>, Refused> {
        let_others_run(draft.header.record_len()).await;
        let queues = wait && class == Class::Insert;
        let mut turn = None;
        if queues && !self.turns.are_free() {
            turn = self.turn().await;
        }
        let (mut asked, mut tries) = (None, true);
        loop {
            let mut room = pin!(self.signals.room.notified());
            room.as_mut().enable();
            match self.append(draft, change, class, asked, std::mem::take(&mut tries)) {
                Err(Refused::NoSegment(then)) if wait => asked = Some(then),
                Err(Refused::NotYet) if wait => {}
                Err(Refused::NoSegment(_) | Refused::NotYet) => return Ok(None),
                other => return other.map(Some),
            }
            if queues && turn.is_none() {
                turn = self.turn().await;
            } else {
                room.await;
            }
        }
    }

    /// The caller's turn; `None`: it did not come for so long that those whose turn it is may not be polled any more.
    async fn turn(&self) -> Option<Turn<'_>> {
        tokio::select! {
            // First, so that a turn that is free costs no timer.
            biased;
            turn = self.turns.take() => Some(turn),
            () = self.sleep(TURN) => None,
        }
    }

    /// Whether the index still holds `expect` and no purge hit it; if so, whether the entry is stale.
    fn still_there(
        &self,
        header: &Header,
        draft: &Draft<B>,
        expect: Position,
        key: &CacheKey,
    ) -> Option<bool> {
        let entry = self.index.peek(header.tag()).filter(|e| e.position == expect)?;
        let verdict = self.purge_verdict(key, &draft.attributes, expect);
        (!verdict.removed).then_some(entry.flags.stale || verdict.stale)
    }

    /// Finds a place: in the active segment, or in the spare one, which becomes the active one.
    fn place(
        &self,
        log: &mut Log<B>,
        header: &mut Header,
        draft: &Draft<B>,
        scope: &[u8],
        class: Class,
        asked: Option<Asked>,
    ) -> Result<(Arc<Segment<B>>, Position), Refused> {
        let len = header.record_len();
        loop {
            let size = self.limits.segment;
            let Some(active) = &mut log.active else {
                let Some(spare) = log.spare.take() else {
                    // Once: the opener wakes who waits when it found no room, and would be woken by them for ever.
                    let asked = asked.unwrap_or_else(|| {
                        self.signals.open.notify_one();
                        log.ask()
                    });
                    let refusal = log.refusal(asked, matches!(class, Class::Move | Class::Debt));
                    return Err(refusal.map_or(Refused::NoSegment(asked), Refused::Failed));
                };
                log.activate(spare);
                self.signals.open.notify_one();
                continue;
            };
            if log.reclaim_only && class == Class::Insert {
                return Err(Refused::NotYet);
            }
            if !active.table.fits(size, len, scope.len() as u64) {
                if active.table.end == 0 {
                    let max = self.limits.record;
                    return Err(Refused::Failed(Error::TooLarge { what: "a record", len, max }));
                }
                log.close_active(self.index.next_use());
                self.signals.flush.notify_one();
                self.signals.commit.notify_one();
                continue;
            }
            let full = active
                .buffer
                .as_ref()
                .is_some_and(|(b, _)| b.len() > 0 && b.len() + len > self.limits.buffer);
            if full {
                log.freeze();
                self.signals.flush.notify_one();
                continue;
            }
            if active.buffer.is_none() {
                let limit = self.limits.buffers
                    + match class {
                        Class::Insert => 0,
                        Class::Control | Class::Debt => 1,
                        Class::Move => 2,
                    };
                if log.buffers >= limit {
                    self.signals.flush.notify_one();
                    return Err(Refused::NotYet);
                }
                log.buffers += 1;
                let memory =
                    log.free.pop().unwrap_or_else(|| BytesMut::with_capacity(self.limits.buffer as usize));
                let buffer = Arc::new(Buffer::new(active.table.end, memory));
                active.segment.push(buffer.clone());
                active.buffer = Some((buffer, Instant::now()));
                self.signals.flush.notify_one();
            }
            let Some((buffer, _)) = &active.buffer else { continue };
            // One in the directory may be the last there is; none decides anything.
            log.version = log.version.saturating_add(1);
            header.version = log.version;
            let position = Position::new(active.segment.id, active.table.end);
            let encoded = header.encode(position, &self.secret);
            let payload = draft.key.len() + draft.attributes.len() + draft.meta.len() + draft.body.len();
            let padding = len as usize - encoded.len() - payload;
            buffer.append([&encoded, &draft.key, &draft.attributes, &draft.meta], &draft.body, padding);
            active.table.push(header, scope);
            self.counters.bytes_written.add(len);
            debug_assert_eq!(position.offset() % ALIGN, 0);
            return Ok((active.segment.clone(), position));
        }
    }

    /// Applies a change to index and purge table.
    fn publish(&self, header: &Header, position: Position, change: &Change<'_>) -> Option<Entry> {
        let tag = header.tag();
        match change {
            Change::Insert => self.index.publish(tag, entry_of(header, position)),
            // An eviction may have come between the look and this, it takes no part in the sequencer: the copy is dead then.
            Change::Replace { expect, .. } => self.index.replace(tag, *expect, entry_of(header, position)),
            Change::Remove { expect: None, .. } => self.index.remove(tag),
            Change::Remove { expect: Some(at), .. } => self.index.remove_at(tag, *at),
            Change::Expire { expect, .. } => self.index.mark_stale(tag, *expect),
            Change::Purge { scope, mode } => {
                self.purges.add(scope, *mode, position);
                None
            }
        }
    }

    /// What is being written of a key is older than what was just said about it.
    fn doom_flights(&self, header: &Header, change: &Change<'_>) {
        match change {
            Change::Insert => self.inflight.doom_key(&header.digest, Some(header.entry_id)),
            Change::Remove { exact: false, .. } | Change::Expire { exact: false, .. } => {
                self.inflight.doom_key(&header.digest, None);
            }
            Change::Purge { scope, .. } => self.inflight.doom_scope(scope),
            Change::Remove { .. } | Change::Expire { .. } | Change::Replace { .. } => {}
        }
    }

    /// [`Shared::pay_debts`] by the background. A refusal leaves the debts where they are: the next append, or the next segment,
    /// pays them.
    pub(crate) fn pay_debts_unasked(&self, log: &mut Log<B>) {
        if log.unpaid.is_none()
            && let Err(refused) = self.pay_debts(log, None)
        {
            tracing::debug!(?refused, "debts wait for room");
        }
    }

    /// Says again what a failure lost, before anything else is said. `asked`: when the caller asked
    /// for a segment, and is to be told why there is none.
    pub(crate) fn pay_debts(&self, log: &mut Log<B>, asked: Option<Asked>) -> Result<(), Refused> {
        if log.debt.is_empty() {
            return Ok(());
        }
        if let Some(error) = &log.unpaid {
            return Err(Refused::Failed(error.clone()));
        }
        while let Some(owed) = log.debt.take() {
            let (mut draft, scope) = match &owed {
                Owed::Key { kind, digest, .. } => (Draft::bare(*kind, *digest), Vec::new()),
                Owed::Purge { scope, mode, .. } => (Draft::purge(scope, *mode), scope::encode(scope)),
            };
            let (Owed::Key { as_of, .. } | Owed::Purge { as_of, .. }) = &owed;
            draft.header.as_of = as_of.raw();
            draft.header.flags |= owed.flags();
            let mut header = draft.header.clone();
            if let Err(refused) = self.place(log, &mut header, &draft, &scope, Class::Debt, asked) {
                log.debt.owe(owed);
                log.urgent = true;
                self.signals.open.notify_one();
                return Err(refused);
            }
        }
        let head = log.head();
        log.barrier = Some(head);
        log.sync_wanted = log.sync_wanted.max(head);
        self.signals.commit.notify_one();
        Ok(())
    }
}

/// The index entry of an insert record.
pub(crate) fn entry_of(header: &Header, position: Position) -> Entry {
    Entry {
        position,
        len: header.record_len() as u32,
        expires_ms: header.expires_ms,
        flags: index_flags(header.flags),
        object: (header.object != 0)
            .then(|| ObjectRef { id: header.object, disk: object::disk_size(header.body_len) }),
    }
}
