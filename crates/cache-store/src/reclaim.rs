//! Reclaim: empties the oldest segments, first in, first out.
//!
//! **Invariants**: serial; survivors are appended again by compare-and-swap; files go only after the whole log up to the
//! copies is synced, the oldest first, and the next ones only after the directory is synced: what a power cut leaves of those
//! of one round lies before a gap in the ids, or is their newer end. So no old record of a key outlives a newer one, and a
//! tombstone may go with its own segment. Reclaim never waits for room: what finds none, or would pass the bound on write
//! amplification, is evicted, and counted. So it always makes progress.

use crate::{
    commit::Debts,
    format::{
        footer,
        record::{Kind, Parts, Record, flag, tag_of},
        row::Row,
    },
    io,
    log::{Asked, Log, Unopened},
    roll::was_asked,
    scan::Source,
    segment::Segment,
    sequencer::{Change, Class, Draft, Refused},
    shared::Shared,
};
use bytes::{Bytes, BytesMut};
use cache_core::{CacheKey, DiskBackend, Error, Result};
use cache_index::{Entry, MAX_SEGMENTS, Position, Tag};
use std::{pin::pin, sync::Arc};
use tokio::sync::MutexGuard;

/// What reclaim remembers from one segment to the next.
#[derive(Debug, Default)]
pub(crate) struct ReclaimState {
    /// An unlinked segment's name may still be there after a power cut.
    unsynced_dir: bool,
    /// Takes what is read of a victim. Used again and again: memory that is fresh costs more than the read.
    scratch: BytesMut,
}

/// Whether survivors are worth moving.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survivors {
    Move,
    /// Room is wanted at any price.
    Drop,
}

/// What became of one reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaimed {
    /// The oldest segment is gone, or the oldest ones are.
    Done,
    /// The oldest segment is about to get its footer; the sealer tells when.
    NotYet,
    /// There is none but those in use.
    Nothing,
}

/// The oldest segment that is not emptied yet.
enum Oldest<B: DiskBackend> {
    /// It takes no more records and has had its chance of a footer.
    Finished(Arc<Segment<B>>),
    Sealing,
    InUse,
}

/// A record of the victim that the index still points to.
struct Live {
    row: Row,
    entry: Entry,
    tick: u64,
}

/// Records closer than this are read together.
const GAP: u64 = 32 << 10;
/// Bytes read at once.
const SPAN: u64 = 1 << 20;
/// Segments beyond this many times the count that fits are reclaimed whatever the quota says: every open begins one.
const MANY: u64 = 2;

impl<B: DiskBackend> Shared<B> {
    /// Runs until the cache shuts.
    pub(crate) async fn reclaimer(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.reclaim.notified());
            woken.as_mut().enable();
            let mut freed = pin!(self.space.freed.notified());
            freed.as_mut().enable();
            let answers = {
                let log = self.log.lock();
                if log.shut {
                    return;
                }
                log.asked()
            };
            if self.wants_reclaim() {
                match self.reclaim_oldest(Survivors::Move, answers).await {
                    Ok(Reclaimed::Done) => continue,
                    Ok(Reclaimed::NotYet) => {}
                    Ok(Reclaimed::Nothing) => self.starve(None, answers),
                    Err(Error::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "reclaim stopped");
                        self.starve(Some(error), answers);
                    }
                }
            }
            tokio::select! {
                () = woken => {}
                () = freed => {}
            }
        }
    }

    /// Whether the next segment, or a waiting large body, lacks room.
    fn wants_reclaim(&self) -> bool {
        let log = self.log.lock();
        if log.closed {
            return false;
        }
        let segments = self.index.segment_ids().len() as u64;
        log.reclaim_only || self.space.free() < self.room_wanted(&log) || segments > self.most_segments()
    }

    /// Room for the next segment and for large bodies that wait, beside the room that is kept.
    fn room_wanted(&self, log: &Log<B>) -> u64 {
        let next = if log.spare.is_none() { self.limits.segment } else { 0 };
        self.limits.kept + next + self.objects.wanted()
    }

    /// Above this, reclaim works whatever the quota says, and an open drops the oldest.
    pub(crate) fn most_segments(&self) -> u64 {
        (MANY * (self.space.capacity() / self.limits.segment) + 64).min(u64::from(MAX_SEGMENTS) * 3 / 4)
    }

    /// Nothing is left to reclaim: those that wait for room are told.
    fn starve(&self, error: Option<Error>, answers: Asked) {
        let mut log = self.log.lock();
        if error.is_none() && self.objects.is_dooming() {
            // Bytes are on their way: those of large bodies that go once what replaced them is synced.
            log.sync_wanted = log.sync_wanted.max(log.head());
            drop(log);
            self.signals.commit.notify_one();
            self.signals.unlink.notify_one();
            return;
        }
        // Room kept for reclaim is of no use to it now.
        log.reclaim_only = false;
        let waits = log.spare.is_none() && log.active.is_none();
        if waits || error.is_some() {
            let error = error.unwrap_or_else(|| self.no_room());
            log.open_error = Some(Unopened { answers, error });
        }
        drop(log);
        self.objects.starve();
        self.signals.room.notify_waiters();
    }

    /// Gives the oldest segment up to make room on a full disk. `false`: there is none.
    pub(crate) async fn drop_oldest(&self) -> Result<bool> {
        let asked = self.log.lock().ask();
        Ok(self.reclaim_oldest(Survivors::Drop, asked).await? == Reclaimed::Done)
    }

    /// Empties and unlinks the oldest sealed segments: one to drop it, to move survivors as many as are wanted and as room is
    /// kept for. What failed before the caller `asked` does not stop it.
    ///
    /// # Errors
    /// A directory that could not be synced, now or earlier; a log whose debts cannot be paid.
    pub(crate) async fn reclaim_oldest(&self, survivors: Survivors, asked: Asked) -> Result<Reclaimed> {
        let state = self.reclaim.lock().await;
        self.reclaim_with(state, survivors, Debts::Wait(asked)).await
    }

    /// [`Shared::drop_oldest`] for the opener, which must never wait for what only it can give: neither for a reclaim under
    /// way nor for debts that want a segment.
    pub(crate) async fn drop_oldest_now(&self) -> Result<bool> {
        let Ok(state) = self.reclaim.try_lock() else { return Ok(false) };
        Ok(self.reclaim_with(state, Survivors::Drop, Debts::Refuse).await? == Reclaimed::Done)
    }

    /// [`Shared::drop_oldest_now`] where failures have used up even the room kept for debts: without a segment for them
    /// nothing could ever be synced, reclaimed or inserted again.
    pub(crate) async fn drop_oldest_for_debts(&self) -> Result<bool> {
        let Ok(state) = self.reclaim.try_lock() else { return Ok(false) };
        Ok(self.reclaim_with(state, Survivors::Drop, Debts::Ignore).await? == Reclaimed::Done)
    }

    async fn reclaim_with(
        &self,
        mut state: MutexGuard<'_, ReclaimState>,
        survivors: Survivors,
        debts: Debts,
    ) -> Result<Reclaimed> {
        {
            let log = self.log.lock();
            if let Some(error) = &log.names_lost {
                return Err(error.clone());
            }
            // What a clear began goes on by itself; not in a directory that may be somebody else's by now.
            if log.shut {
                return Err(Error::Closed);
            }
        }
        if state.unsynced_dir {
            self.sync_segments_dir(&mut state).await?;
        }
        let mut emptied: Vec<Arc<Segment<B>>> = Vec::new();
        loop {
            let victim = match self.oldest(emptied.len()) {
                Oldest::Finished(victim) => victim,
                _ if !emptied.is_empty() => break,
                Oldest::Sealing => return Ok(Reclaimed::NotYet),
                Oldest::InUse => return Ok(Reclaimed::Nothing),
            };
            if !emptied.is_empty() && !self.is_room_to_empty(&victim) {
                break;
            }
            self.empty(&victim, survivors, &mut state.scratch).await?;
            emptied.push(victim);
            if survivors == Survivors::Drop || !self.wants_more_than(&emptied) {
                break;
            }
        }
        self.all_synced(debts).await?;
        state.unsynced_dir = true;
        for victim in &emptied {
            match self.backend.remove(&victim.path).await {
                // Gone already: a reclaim was dropped after this step.
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    self.counters.cleanup_errors.one();
                    let error = Error::io("remove", &victim.path, e);
                    self.log.lock().names_lost = Some(error.clone());
                    return Err(error);
                }
                _ => {}
            }
        }
        self.sync_segments_dir(&mut state).await?;
        for victim in &emptied {
            self.index.detach(victim.id);
        }
        let oldest = self.index.segment_ids().first().copied();
        {
            let mut log = self.log.lock();
            log.unfooted.retain(|id| emptied.iter().all(|victim| victim.id != *id));
            log.reclaim_only = false;
        }
        if let Some(oldest) = oldest {
            self.purges.forget_before(oldest);
        }
        // The quota comes back here, or when the last reader lets go.
        drop(emptied);
        self.signals.open.notify_one();
        self.signals.room.notify_waiters();
        Ok(Reclaimed::Done)
    }

    /// Whether the room kept for reclaim takes all survivors of another segment before any is given back.
    fn is_room_to_empty(&self, victim: &Segment<B>) -> bool {
        self.index.segment_live_bytes(victim.id) + self.limits.segment <= self.space.free()
    }

    /// Whether a round goes on once these segments are gone: where there are many, until the next round is some way off.
    fn wants_more_than(&self, emptied: &[Arc<Segment<B>>]) -> bool {
        let freed: u64 = emptied.iter().map(|victim| victim.lease.bytes()).sum();
        let ahead = self.limits.kept - self.limits.segment;
        self.space.free() + freed < self.room_wanted(&self.log.lock()) + ahead
    }

    /// Has a segment opened before the survivors want it, unless it is the last of the kept room.
    fn open_ahead(&self) {
        let mut log = self.log.lock();
        if log.spare.is_none() && self.space.free() >= 2 * self.limits.segment {
            log.urgent = true;
            drop(log);
            self.signals.open.notify_one();
        }
    }

    async fn sync_segments_dir(&self, state: &mut ReclaimState) -> Result<()> {
        let dir = &self.layout.segments;
        if let Err(error) = self.backend.sync_dir(dir).await {
            self.counters.cleanup_errors.one();
            let asked = was_asked(&error);
            let error = Error::io("sync", dir, error);
            if asked {
                self.log.lock().names_lost = Some(error.clone());
            }
            return Err(error);
        }
        // Where the opener's sync failed meanwhile, it may have been told what this one was not.
        if let Some(error) = &self.log.lock().names_lost {
            return Err(error.clone());
        }
        state.unsynced_dir = false;
        Ok(())
    }

    /// The oldest segment but for so many.
    fn oldest(&self, but_for: usize) -> Oldest<B> {
        let Some(id) = self.index.segment_ids().get(but_for).copied() else { return Oldest::InUse };
        let log = self.log.lock();
        if log.draining.iter().chain(&log.sealing).any(|c| c.segment.id == id) {
            return Oldest::Sealing;
        }
        if log.active.iter().any(|a| a.segment.id == id) || log.spare.iter().any(|s| s.id == id) {
            return Oldest::InUse;
        }
        drop(log);
        self.index.segment(id).map_or(Oldest::InUse, Oldest::Finished)
    }

    /// Moves or evicts every entry whose record lies in the victim.
    async fn empty(
        &self,
        victim: &Arc<Segment<B>>,
        survivors: Survivors,
        scratch: &mut BytesMut,
    ) -> Result<()> {
        if self.index.segment_live_bytes(victim.id) > 0 {
            if survivors == Survivors::Move {
                self.open_ahead();
            }
            let mut live = self.live_rows(victim).await;
            if survivors == Survivors::Move {
                self.select(&mut live);
                self.relocate(victim, live, scratch).await?;
            }
        }
        // Whoever is left found no room, was not worth it, or did not read.
        for shard in 0..self.index.shards() {
            if self.index.segment_live_bytes(victim.id) == 0 {
                break;
            }
            for entry in self.index.retain(shard, |_, e| e.position.segment() != victim.id) {
                self.counters.early_evictions.one();
                self.discard(&entry, None);
            }
        }
        Ok(())
    }

    /// The victim's rows that the index still points to; those that do not read are left out.
    async fn live_rows(&self, victim: &Arc<Segment<B>>) -> Vec<Live> {
        let rows = match self.footer_rows(victim).await {
            Some(rows) => rows,
            None => match self.source(victim).scan().await {
                Ok(scan) => scan.rows,
                Err(error) => {
                    tracing::warn!(segment = %victim.id, %error, "a segment to reclaim does not read");
                    self.counters.read_errors.one();
                    Vec::new()
                }
            },
        };
        let live = |row: Row| {
            let (tag, at) = (tag_of(&row.digest), row.position(victim.id));
            let tick = self.index.tick_of(tag, at)?;
            let entry = self.index.peek(tag).filter(|e| e.position == at)?;
            Some(Live { row, entry, tick })
        };
        rows.into_iter().filter(|r| r.kind == Kind::Insert).filter_map(live).collect()
    }

    fn source<'a>(&'a self, victim: &'a Segment<B>) -> Source<'a, B> {
        let Segment { file, path, id, .. } = victim;
        Source { backend: &self.backend, secret: &self.secret, file, path, id: *id, recovery: false }
    }

    async fn footer_rows(&self, victim: &Arc<Segment<B>>) -> Option<Vec<Row>> {
        let seal = victim.seal()?;
        let at = seal.file_len - seal.footer_len;
        let len = seal.footer_len as usize;
        let read = io::read(&self.backend, &victim.file, BytesMut::new(), len, at, true).await;
        let (bytes, _) = read.ok()?;
        let footer = footer::decode(&bytes, victim.id, seal.file_len, &self.uuid, &self.secret)?;
        Some(footer.rows)
    }

    /// Keeps what is worth moving: the most recently used within the budget, every record of a large body, nothing that
    /// expired long ago; then puts it in the order of the log.
    fn select(&self, live: &mut Vec<Live>) {
        let now = live.iter().any(|l| l.entry.expires_ms != 0).then(|| self.now_ms());
        let window = u64::try_from(self.config.stale_window.as_millis()).unwrap_or(u64::MAX);
        live.retain(|l| {
            let gone = l.entry.expires_ms != 0
                && now.is_some_and(|now| now > l.entry.expires_ms.saturating_add(window));
            if gone && let Some(entry) = self.index.remove_at(tag_of(&l.row.digest), l.entry.position) {
                self.counters.expirations.one();
                self.discard(&entry, None);
            }
            !gone
        });
        live.sort_unstable_by_key(|l| std::cmp::Reverse((l.entry.object.is_some(), l.tick)));
        let mut log = self.log.lock();
        let mut budget = log.budget;
        live.retain(|l| {
            let len = u64::from(l.entry.len);
            let fits = l.entry.object.is_some() || len <= budget;
            if fits {
                budget = budget.saturating_sub(len);
            }
            fits
        });
        log.budget = budget;
        drop(log);
        live.sort_unstable_by_key(|l| l.row.offset);
    }

    async fn relocate(
        &self,
        victim: &Arc<Segment<B>>,
        live: Vec<Live>,
        scratch: &mut BytesMut,
    ) -> Result<()> {
        let mut rest = live.as_slice();
        while let Some(first) = rest.first() {
            let start = first.row.offset;
            let mut end = start;
            let run = rest.iter().take_while(|l| {
                let (at, stop) = (l.row.offset, l.row.offset + u64::from(l.row.len));
                let near = at == start || at <= end + GAP && stop - start <= SPAN;
                if near {
                    end = stop;
                }
                near
            });
            let (now, later) = rest.split_at(run.count().max(1));
            rest = later;
            let len = (end - start) as usize;
            let mut buf = std::mem::take(scratch);
            buf.clear();
            let read = io::read(&self.backend, &victim.file, buf, len, start, true).await;
            let bytes = match read {
                Ok((bytes, _)) => bytes.freeze(),
                Err(error) => {
                    tracing::warn!(segment = %victim.id, %error, "survivors do not read");
                    self.counters.read_errors.one();
                    continue;
                }
            };
            for l in now {
                let from = (l.row.offset - start) as usize;
                let Some(bytes) = bytes.get(from..from + l.row.len as usize).map(|b| bytes.slice_ref(b))
                else {
                    continue;
                };
                if !self.move_record(&bytes, l.entry.position).await? {
                    return Ok(());
                }
            }
            // Nobody holds a piece of it any more: what was moved was copied.
            *scratch = bytes.try_into_mut().unwrap_or_default();
        }
        Ok(())
    }

    /// Asks the opener for the room kept for reclaim. `false`: it is used up.
    fn ask_for_kept_room(&self, again: bool) -> bool {
        let mut log = self.log.lock();
        if log.reclaim_only && again && log.spare.is_none() && log.active.is_none() {
            return false;
        }
        log.urgent = true;
        drop(log);
        self.signals.open.notify_one();
        true
    }

    /// Appends a survivor again. `false`: there is no room for more.
    async fn move_record(&self, bytes: &Bytes, at: Position) -> Result<bool> {
        let Some(record) = Record::decode(bytes.clone(), at, &self.secret) else {
            self.counters.corruptions.one();
            return Ok(true);
        };
        let (mut header, Parts { key: canonical, attributes, meta, body }) = record.into_parts();
        let Some(key) = CacheKey::from_canonical(canonical.clone()) else { return Ok(true) };
        header.flags = header.flags & !flag::UNPROVEN | flag::MOVED | self.objects.doubt(header.object);
        let tag: Tag = header.tag();
        let draft = Draft { header, key: canonical, attributes, meta, body, object: None, flight: None };
        let change = Change::Replace { expect: at, key: &key, lift_stale: false };
        let mut asked = None;
        loop {
            let mut room = pin!(self.signals.room.notified());
            room.as_mut().enable();
            match self.append(&draft, &change, Class::Move, asked) {
                Ok(_) => return Ok(true),
                Err(Refused::Changed) => {
                    // Replaced, removed or evicted meanwhile; or purged, and then the entry falls out here.
                    if let Some(entry) = self.index.remove_at(tag, at) {
                        self.counters.purged.one();
                        let head = self.log.lock().head();
                        self.discard(&entry, Some(head));
                    }
                    return Ok(true);
                }
                // The kept room is reclaim's own; a write buffer comes back when its write ends.
                Err(Refused::NoSegment(then)) => {
                    if !self.ask_for_kept_room(asked.is_some()) {
                        return Ok(false);
                    }
                    asked = Some(then);
                    room.await;
                }
                Err(Refused::NoBuffer) => room.await,
                Err(Refused::Failed(Error::Closed)) => return Err(Error::Closed),
                Err(Refused::Failed(error)) => {
                    tracing::debug!(%error, "no room to move survivors");
                    return Ok(false);
                }
            }
        }
    }
}
