//! Reclaim: empties the oldest segments, first in, first out.
//!
//! **Invariants**: serial; survivors are appended again by compare-and-swap; files go only after the whole log up to the
//! copies is synced, the oldest first, and the next ones only after the directory is synced: what a power cut leaves of those
//! of one round lies before a gap in the ids, or is their newer end. So no old record of a key outlives a newer one, and a
//! tombstone may go with its own segment. Reclaim never waits for room: what finds none, or would pass the bound on write
//! amplification, is evicted, and counted. So it always makes progress.

use crate::{
    commit::Debts,
    log::{Asked, Log},
    segment::Segment,
    shared::Shared,
    survivors::Survivors,
};
use bytes::BytesMut;
use cache_core::{DiskBackend, Error, Result};
use cache_index::{MAX_SEGMENTS, Position, SegmentId};
use std::{io, pin::pin, sync::Arc};
use tokio::sync::MutexGuard;

/// What reclaim remembers from one segment to the next.
#[derive(Debug, Default)]
pub(crate) struct ReclaimState {
    /// An unlinked segment's name may still be there after a power cut.
    unsynced_dir: bool,
    /// Takes what is read of a victim. Used again and again: memory that is fresh costs more than the read.
    scratch: BytesMut,
}

/// What became of one reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaimed {
    /// The oldest segment is gone, or the oldest ones are.
    Done,
    /// The oldest segment is about to get its footer; the sealer tells when.
    NotYet,
    /// Large bodies were evicted instead, whose bytes are enough.
    Instead,
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

/// Segments beyond this many times the count that fits are reclaimed whatever the quota says: every open begins one.
const MOST_LENGTHS: u64 = 2;

impl<B: DiskBackend> Shared<B> {
    /// Runs until the cache shuts.
    pub(crate) async fn reclaimer(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.reclaim.notified());
            woken.as_mut().enable();
            let mut freed = pin!(self.space.freed.notified());
            freed.as_mut().enable();
            // The sync that bodies wait for may fail, and they go no sooner than the debts of that.
            let mut synced = pin!(self.signals.synced.notified());
            synced.as_mut().enable();
            let answers = {
                let log = self.log.lock();
                if log.shut {
                    return;
                }
                log.asked()
            };
            let mut hastens = false;
            if self.would_free_too_little() {
                self.starve_objects();
            } else if self.wants_reclaim() {
                match self.reclaim_oldest(Survivors::Move, answers).await {
                    Ok(Reclaimed::Done | Reclaimed::Instead) => continue,
                    Ok(Reclaimed::NotYet) => {}
                    Ok(Reclaimed::Nothing) => self.starve(None, answers),
                    Err(Error::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "reclaim stopped");
                        self.starve(Some(error), answers);
                    }
                }
            } else {
                hastens = self.waits_for_doomed() && self.hastens_doomed();
            }
            tokio::select! {
                () = woken => {}
                () = freed => {}
                () = synced, if hastens => {}
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
        log.reclaim_only || self.is_missing_room(&log) || segments > self.most_segments()
    }

    /// Whether the room that is wanted is not there, and does not come back without reclaim either.
    fn is_missing_room(&self, log: &Log<B>) -> bool {
        self.free_soon(log) < self.room_wanted(log)
    }

    /// [`Shared::is_missing_room`] for those that do not have the log's lock.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.is_missing_room(&self.log.lock())
    }

    /// Whether the room that is wanted comes back once bodies are unlinked.
    fn waits_for_doomed(&self) -> bool {
        let log = self.log.lock();
        !log.closed && self.space.free() < self.room_wanted(&log) && !self.is_missing_room(&log)
    }

    /// What is free, and the bytes of large bodies that are about to be unlinked: but for those that wait for debts or a purge,
    /// which may want a segment themselves.
    fn free_soon(&self, log: &Log<B>) -> u64 {
        let is_certain = log.debt.is_empty() && log.barrier.is_none();
        self.space.free() + if is_certain { self.objects.coming_back() } else { 0 }
    }

    /// Whether only large bodies wait, for room that readers hold and that all dead records together would not make: moving live
    /// ones about, or giving them up, is not the price of a slow reader.
    fn would_free_too_little(&self) -> bool {
        let held = self.objects.held_by_readers();
        if self.objects.wanted() == 0 || held == 0 {
            return false;
        }
        let ids = self.index.segment_ids();
        let (missing, growing) = {
            let log = self.log.lock();
            let free = self.free_soon(&log);
            let for_the_log = log.reclaim_only || free < self.room_of_log(&log);
            if log.closed || for_the_log || ids.len() as u64 > self.most_segments() {
                return false;
            }
            let growing = [log.active.as_ref().map(|a| a.segment.id), log.spare.as_ref().map(|s| s.id)];
            (self.room_wanted(&log).saturating_sub(free), growing)
        };
        let dead = |id: SegmentId| {
            let segment = self.index.segment(id)?;
            Some(self.dead_bytes(&segment))
        };
        let finished = ids.into_iter().filter(|id| !growing.contains(&Some(*id)));
        missing <= held && finished.filter_map(dead).sum::<u64>() < missing
    }

    /// Bytes of a segment's records that no entry is left of.
    pub(crate) fn dead_bytes(&self, segment: &Segment<B>) -> u64 {
        segment.data_bytes().saturating_sub(self.index.segment_live_bytes(segment.id))
    }

    /// Room for the next segment and for large bodies that wait, beside the room that is kept.
    fn room_wanted(&self, log: &Log<B>) -> u64 {
        self.room_of_log(log) + self.objects.wanted()
    }

    /// Room for the next segment, beside the room that is kept.
    fn room_of_log(&self, log: &Log<B>) -> u64 {
        self.limits.kept + if log.spare.is_none() { self.limits.segment } else { 0 }
    }

    /// Above this, reclaim works whatever the quota says, and an open drops the oldest.
    pub(crate) fn most_segments(&self) -> u64 {
        (MOST_LENGTHS * (self.space.capacity() / self.limits.segment) + 64)
            .min(u64::from(MAX_SEGMENTS) * 3 / 4)
    }

    /// Nothing can be reclaimed for large bodies: those that wait are told, unless bytes are on their way.
    fn starve_objects(&self) {
        if !self.hastens_doomed() {
            self.objects.starve();
            self.signals.room.notify_waiters();
        }
    }

    /// Has those large bodies go whose time comes once what replaced them is synced. `false`: there are none, or that takes debts
    /// which wait for a segment themselves.
    fn hastens_doomed(&self) -> bool {
        let mut log = self.log.lock();
        if !self.objects.is_dooming() || !log.debt.is_empty() {
            return false;
        }
        let after = self.objects.doomed_after();
        if after != Position::ZERO && (after > log.synced_through || log.barrier.is_some()) {
            log.sync_wanted = log.sync_wanted.max(log.head());
        }
        drop(log);
        self.signals.commit.notify_one();
        self.signals.unlink.notify_one();
        true
    }

    /// Nothing is left to reclaim: those that wait for room are told.
    fn starve(&self, error: Option<Error>, answers: Asked) {
        if error.is_none() && self.hastens_doomed() {
            return;
        }
        let mut log = self.log.lock();
        // Room kept for reclaim is of no use to it now.
        log.reclaim_only = false;
        let waits = log.spare.is_none() && log.active.is_none();
        if waits || error.is_some() {
            let error = error.unwrap_or_else(|| self.no_room());
            log.unopened(answers, error);
        }
        drop(log);
        self.objects.starve();
        self.signals.room.notify_waiters();
    }

    /// Gives the oldest segment up to make room on a full disk. `false`: there is none.
    ///
    /// # Cancellation
    /// Goes on as a task, and does so too where the caller does not poll: all others wait for a reclaim under way.
    pub(crate) async fn drop_oldest(self: &Arc<Self>) -> Result<bool> {
        let shared = self.clone();
        let dropping = self.handle.spawn(async move { shared.drop_oldest_here().await });
        dropping
            .await
            .unwrap_or_else(|died| Err(Error::io("reclaim", &self.layout.segments, io::Error::other(died))))
    }

    /// [`Shared::drop_oldest`] in this task.
    pub(crate) async fn drop_oldest_here(&self) -> Result<bool> {
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

    /// [`Shared::drop_oldest_now`] where debts find no room, because failures have used up even what is kept for them or others
    /// have filled the disk: without a segment for them nothing could ever be synced, reclaimed or inserted again.
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
            // What is owed could not be synced, so that nothing could be dropped.
            if let (Debts::Wait(_), Some(error)) = (debts, &log.unpaid) {
                return Err(error.clone());
            }
            // Nothing is evicted where nothing could be dropped for it.
            if debts == Debts::Refuse && !log.debt.is_empty() {
                return Ok(Reclaimed::NotYet);
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
            if !self.empty(&victim, survivors, &mut state.scratch).await? {
                if emptied.is_empty() {
                    return Ok(Reclaimed::Instead);
                }
                break;
            }
            emptied.push(victim);
            let freed = emptied.iter().map(|victim| victim.lease.bytes()).sum();
            if survivors == Survivors::Drop || !self.wants_more(freed) {
                break;
            }
        }
        self.all_synced(debts).await?;
        state.unsynced_dir = true;
        for victim in &emptied {
            match self.backend.remove(&victim.path).await {
                // Gone already: a reclaim was dropped after this step.
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    self.counters.cleanup_errors.one();
                    let error = Error::io("remove", &victim.path, e);
                    self.lose_names(&error);
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

    /// Whether a round goes on once it has freed so many bytes: where there are many segments, until the next round is some way
    /// off.
    pub(crate) fn wants_more(&self, freed: u64) -> bool {
        let ahead = self.limits.kept - self.limits.segment;
        let log = self.log.lock();
        self.free_soon(&log) + freed < self.room_wanted(&log) + ahead
    }

    async fn sync_segments_dir(&self, state: &mut ReclaimState) -> Result<()> {
        let dir = &self.layout.segments;
        if let Err(error) = self.backend.sync_dir(dir).await {
            self.counters.cleanup_errors.one();
            let error = Error::io("sync", dir, error);
            self.lose_names(&error);
            return Err(error);
        }
        // Where the opener's sync failed meanwhile, it may have been told what this one was not.
        if let Some(error) = &self.log.lock().names_lost {
            return Err(error.clone());
        }
        state.unsynced_dir = false;
        Ok(())
    }

    /// What names a power cut would leave is not known any more: nothing is given back from here on.
    pub(crate) fn lose_names(&self, error: &Error) {
        tracing::error!(%error, "no room is given back any more: open the cache again");
        self.log.lock().names_lost = Some(error.clone());
    }

    /// The oldest segment but for so many.
    fn oldest(&self, but_for: usize) -> Oldest<B> {
        let Some(id) = self.index.segment_ids().get(but_for).copied() else { return Oldest::InUse };
        let log = self.log.lock();
        // One that the opener has made and not handed over yet.
        if id >= log.next_id {
            return Oldest::InUse;
        }
        if log.draining.iter().chain(&log.sealing).any(|c| c.segment.id == id) {
            return Oldest::Sealing;
        }
        if log.active.iter().any(|a| a.segment.id == id) || log.spare.iter().any(|s| s.id == id) {
            return Oldest::InUse;
        }
        drop(log);
        self.index.segment(id).map_or(Oldest::InUse, Oldest::Finished)
    }
}
