//! Emptying a segment: what is still used of it and worth that is appended again, the rest is evicted.
//!
//! **Invariants**: survivors are appended by compare-and-swap; nobody here waits for room but for that kept for it: what finds none,
//! or would pass the bound on write amplification, is evicted, and counted.

use crate::{
    format::{
        footer,
        record::{Kind, Parts, Record, flag, tag_of},
        row::Row,
    },
    io,
    scan::Source,
    segment::Segment,
    sequencer::{Change, Class, Draft, Refused},
    shared::Shared,
};
use bytes::{Bytes, BytesMut};
use cache_core::{CacheKey, DiskBackend, Error, Result};
use cache_index::{Entry, Position, Tag};
use std::{pin::pin, sync::Arc};

/// Whether survivors are worth moving.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survivors {
    Move,
    /// Room is wanted at any price.
    Drop,
}

/// A record of the victim that the index still points to.
struct Live {
    row: Row,
    entry: Entry,
    tick: u64,
}

impl Live {
    fn tag(&self) -> Tag {
        tag_of(&self.row.digest)
    }
}

/// Records closer than this are read together.
const GAP: u64 = 32 << 10;
/// Bytes read at once.
const SPAN: u64 = 1 << 20;

impl<B: DiskBackend> Shared<B> {
    /// Moves or evicts every entry whose record lies in the victim. `false`: large bodies went instead.
    pub(crate) async fn empty(
        &self,
        victim: &Arc<Segment<B>>,
        survivors: Survivors,
        scratch: &mut BytesMut,
    ) -> Result<bool> {
        if self.index.segment_live_bytes(victim.id) == 0 {
            return Ok(true);
        }
        if survivors == Survivors::Move {
            self.open_ahead();
        }
        let live = self.live_rows(victim).await;
        let listed: Vec<(Tag, Position)> = live.iter().map(|l| (l.tag(), l.entry.position)).collect();
        if survivors == Survivors::Move && !self.move_out(victim, live, scratch).await? {
            return Ok(false);
        }
        // Whoever is left found no room, was not worth it, or did not read.
        for (tag, at) in listed {
            self.give_up(tag, at);
        }
        self.give_up_unlisted(victim);
        Ok(true)
    }

    /// Evicts the entries of a victim whose rows did not read. It takes a look at all entries there are: at none where the rows
    /// are known, since nothing is left by now.
    fn give_up_unlisted(&self, victim: &Segment<B>) {
        if self.index.segment_live_bytes(victim.id) == 0 {
            return;
        }
        tracing::debug!(segment = %victim.id, "rows of a segment did not read: all entries are looked at for its own");
        for shard in 0..self.index.shards() {
            for entry in self.index.retain(shard, |_, e| e.position.segment() != victim.id) {
                self.counters.early_evictions.one();
                self.discard(&entry, None);
            }
            if self.index.segment_live_bytes(victim.id) == 0 {
                break;
            }
        }
    }

    /// Moves what is worth it. `false`: large bodies went instead.
    async fn move_out(
        &self,
        victim: &Arc<Segment<B>>,
        mut live: Vec<Live>,
        scratch: &mut BytesMut,
    ) -> Result<bool> {
        if !self.may_move_all_of(victim) {
            if self.give_up_bodies(victim, &live) {
                return Ok(false);
            }
            live.retain(|l| l.entry.object.is_some() || victim.was_used(l.tick));
        }
        self.select(&mut live);
        self.relocate(victim, live, scratch).await?;
        Ok(true)
    }

    /// Evicts the entry that lies there, if it still does.
    fn give_up(&self, tag: Tag, at: Position) {
        if let Some(entry) = self.index.remove_at(tag, at) {
            self.counters.early_evictions.one();
            self.discard(&entry, None);
        }
    }

    /// Where room is missing, evicts large bodies that nobody used since the victim was written, the least recently used first,
    /// as many as a round wants. They grew as old as the small ones beside them, and give their bytes back without a move: if
    /// the log alone made the room for both, small entries would go early for the sake of large ones, down to the last.
    /// Returns whether no more is missing.
    fn give_up_bodies(&self, victim: &Segment<B>, live: &[Live]) -> bool {
        if !self.is_short_of_room() {
            return false;
        }
        let is_unused = |l: &&Live| l.entry.object.is_some() && !victim.was_used(l.tick);
        let mut unused: Vec<&Live> = live.iter().filter(is_unused).collect();
        unused.sort_unstable_by_key(|l| l.tick);
        if !self.objects.can_be_unlinked() {
            // One, as a try: it may be the only unlink that could show that there is room to be had again.
            unused.truncate(1);
        }
        for l in unused {
            if !self.wants_more(0) {
                break;
            }
            self.give_up(l.tag(), l.entry.position);
        }
        !self.is_short_of_room()
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

    /// Keeps what the budget allows of what is worth moving: the most recently used, every record of a large body, nothing that
    /// expired long ago; then puts it in the order of the log.
    fn select(&self, live: &mut Vec<Live>) {
        let now = live.iter().any(|l| l.entry.expires_ms != 0).then(|| self.now_ms());
        let window = u64::try_from(self.config.stale_window.as_millis()).unwrap_or(u64::MAX);
        live.retain(|l| {
            let gone = l.entry.expires_ms != 0
                && now.is_some_and(|now| now > l.entry.expires_ms.saturating_add(window));
            if gone && let Some(entry) = self.index.remove_at(l.tag(), l.entry.position) {
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

    /// Whether all survivors are worth moving: there is room for them, or so much of the segment is dead that writes stay within
    /// the bound on their amplification where every segment is emptied like this one. Elsewhere those that nobody used since
    /// they were written last go early: an exact LRU keeps them and hits hardly more often, for twice the writes.
    fn may_move_all_of(&self, victim: &Segment<B>) -> bool {
        let (live, most) = (self.index.live_bytes(), self.limits.live);
        let all = victim.data_bytes() as f64;
        // A thousandth besides: where the bound is the highest there is, moving is free.
        let enough = all / self.config.max_write_amplification - all / 1000.0;
        live < most - most / 8 || self.dead_bytes(victim) as f64 >= enough
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
            match self.append(&draft, &change, Class::Move, asked, false) {
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
                Err(Refused::NotYet) => room.await,
                Err(Refused::Failed(Error::Closed)) => return Err(Error::Closed),
                // The device fails: giving entries up would help nobody.
                Err(Refused::Failed(error)) if self.log.lock().unpaid.is_some() => return Err(error),
                Err(Refused::Failed(error)) => {
                    tracing::debug!(%error, "no room to move survivors");
                    return Ok(false);
                }
            }
        }
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
}
