//! Life of an insert, and of a new meta.
//!
//! **Invariants**: a refused insert removes the older value of its key, with a tombstone of its own durability: whoever
//! replaces a value is never given the old one again. Dropped before the sequencer, an insert did not happen; after it, it
//! did.

use crate::{
    debt::Owed,
    format::record::{Header, Kind, Parts, encode_attributes, flag, half_digest, payload_crc},
    get::Sought,
    inflight::Flight,
    sequencer::{Change, Class, Draft, Placed, Refused},
    shared::{Shared, to_ms},
    sync::Ordering,
};
use bytes::Bytes;
use cache_core::{
    BoxFuture, CacheKey, DiskBackend, Durability, EntryId, Error, Expiry, InsertOptions, Inserted,
    MAX_KEY_LEN, MAX_META_LEN, Result, Target,
};
use cache_index::{Position, Tag};
use std::sync::Arc;

impl<B: DiskBackend> Shared<B> {
    pub(crate) fn insert<'a>(
        self: &'a Arc<Self>,
        key: &'a CacheKey,
        body: Bytes,
        options: InsertOptions,
    ) -> BoxFuture<'a, Result<Inserted>> {
        Box::pin(async move {
            check_key(key)?;
            let level = self.level(options.get_durability().unwrap_or(self.config.durability));
            let done = self.try_insert(key, &body, &options, level).await;
            self.settle(key, level, None, done).await
        })
    }

    /// Counts what became of an insert, and removes the older value where it was refused.
    pub(crate) async fn settle(
        &self,
        key: &CacheKey,
        level: Durability,
        flight: Option<&Arc<Flight<B>>>,
        done: Result<Inserted>,
    ) -> Result<Inserted> {
        match &done {
            Ok(Inserted::Stored { .. }) => {
                self.counters.inserts.one();
                self.counters.namespace(self.counters.here(), key.namespace(), |n| n.inserts += 1);
            }
            Ok(Inserted::Shed) => {
                self.counters.shed.one();
                self.remove_replaced(key, level, flight).await?;
            }
            Ok(Inserted::NotAdmitted) => {
                self.counters.not_admitted.one();
                self.remove_replaced(key, level, flight).await?;
            }
            Ok(_) | Err(Error::Closed) => {}
            Err(_) => {
                // What the caller wanted to replace must not be served again; its own error is the one to report.
                if let Err(second) = self.remove_replaced(key, level, flight).await {
                    tracing::warn!(%second, "the tombstone of a refused insert could not be written");
                }
            }
        }
        done
    }

    /// Whether the admission policy takes this key. What is stored is replaced without asking.
    pub(crate) fn admits(&self, key: &CacheKey) -> bool {
        let stored = || self.index.peek(Tag::of(key.digest())).is_some();
        self.admission.get().is_none_or(|policy| stored() || policy.admit(key))
    }

    /// The record of an insert, but for its body.
    pub(crate) fn insert_draft(&self, key: &CacheKey, options: &InsertOptions) -> Result<Draft<B>> {
        options.validate()?;
        let now = to_ms(self.clock.now());
        let mut draft = Draft::bare(Kind::Insert, half_digest(key));
        draft.key = Bytes::copy_from_slice(key.as_bytes());
        draft.attributes = encode_attributes(options.get_tags(), options.get_label()).into();
        draft.meta = options.get_meta().clone();
        draft.header.created_ms = now;
        draft.header.expires_ms = self.expires_ms(options.get_expiry(), None, now);
        if !options.get_tags().is_empty() {
            draft.header.flags |= flag::TAGGED;
        }
        if options.get_label().is_some() {
            draft.header.flags |= flag::LABELLED;
        }
        Ok(draft)
    }

    /// Stores a body.
    async fn try_insert(
        self: &Arc<Self>,
        key: &CacheKey,
        body: &Bytes,
        options: &InsertOptions,
        level: Durability,
    ) -> Result<Inserted> {
        let mut draft = self.insert_draft(key, options)?;
        let len = body.len() as u64;
        if len > self.limits.max_entry {
            return Err(Error::TooLarge { what: "the body", len, max: self.limits.max_entry });
        }
        if !self.admits(key) {
            return Ok(Inserted::NotAdmitted);
        }
        draft.header.body_len = len;

        let mut unpublished = None;
        if len > self.limits.inline {
            let id = self.log.lock().next_entry_id();
            draft.header.object = id;
            draft.header.entry_id = id;
            set_lengths(&mut draft);
            self.check_record(&draft.header)?;
            let written = self.write_object(id, &draft.header.digest, body).await?;
            draft.object = written.object();
            unpublished = Some(written);
        } else {
            draft.body = body.clone();
            set_lengths(&mut draft);
            self.check_record(&draft.header)?;
        }
        let wait = !options.sheds_under_pressure();
        let placed = match self.append_waiting(&draft, &Change::Insert, Class::Insert, wait).await {
            Ok(Some(placed)) => placed,
            Ok(None) => return Ok(Inserted::Shed),
            Err(Refused::Failed(error)) => return Err(error),
            Err(_) => return Err(Error::Closed),
        };
        if let Some(unpublished) = unpublished {
            unpublished.published();
        }
        self.stored(&draft.header, placed, level).await
    }

    /// An insert has its place: what it replaced goes, and it waits for its durability.
    pub(crate) async fn stored(
        &self,
        header: &Header,
        placed: Placed<B>,
        level: Durability,
    ) -> Result<Inserted> {
        if let Some(before) = placed.before {
            self.discard(&before, Some(Position::new(placed.segment.id, placed.end)));
        }
        self.evict_to_limit();
        let disk_size = self.index.disk_size(&crate::sequencer::entry_of(header, placed.position));
        let level = if placed.crowded { level.max(Durability::Synced) } else { level };
        self.durable(&placed.segment, placed.end, level).await?;
        Ok(Inserted::Stored { id: EntryId(placed.entry_id), disk_size })
    }

    /// While the device fails, an insert waits to see whether its own write goes well, so that its caller is told.
    pub(crate) fn level(&self, asked: Durability) -> Durability {
        if self.healthy.load(Ordering::Acquire) { asked } else { asked.max(Durability::Written) }
    }

    pub(crate) fn check_record(&self, header: &Header) -> Result<()> {
        let (len, max) = (header.record_len(), self.limits.record);
        if len > max {
            return Err(Error::TooLarge { what: "key, tags, label and meta together", len, max });
        }
        Ok(())
    }

    /// When an entry written now expires, Unix milliseconds; 0: never.
    fn expires_ms(&self, expiry: Expiry, had: Option<u64>, now_ms: u64) -> u64 {
        let after = |d: std::time::Duration| {
            now_ms.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).clamp(1, (1 << 48) - 1)
        };
        match (expiry, had) {
            (Expiry::Keep, Some(had)) => had,
            (Expiry::Never, _) => 0,
            (Expiry::After(d), _) => after(d),
            (Expiry::At(t), _) => to_ms(t).clamp(1, (1 << 48) - 1),
            _ => self.config.default_ttl.map_or(0, after),
        }
    }

    /// A tombstone for the value that a refused insert would have replaced.
    async fn remove_replaced(
        &self,
        key: &CacheKey,
        level: Durability,
        flight: Option<&Arc<Flight<B>>>,
    ) -> Result<()> {
        // A write that was overtaken must not remove what overtook it.
        self.remove_unless_doomed(key, None, false, level, flight).await.map(|_| ())
    }

    /// Removes a key where the index holds `expect`, if any is given; `exact`: just that entry of it. Returns whether it was
    /// there; `None`: the index holds another.
    pub(crate) fn remove<'a>(
        &'a self,
        key: &'a CacheKey,
        expect: Option<Position>,
        exact: bool,
        level: Durability,
    ) -> BoxFuture<'a, Result<Option<bool>>> {
        Box::pin(self.remove_unless_doomed(key, expect, exact, level, None))
    }

    async fn remove_unless_doomed(
        &self,
        key: &CacheKey,
        expect: Option<Position>,
        exact: bool,
        level: Durability,
        flight: Option<&Arc<Flight<B>>>,
    ) -> Result<Option<bool>> {
        let mut draft = Draft::bare(Kind::Tombstone, half_digest(key));
        draft.flight = flight.cloned();
        let change = Change::Remove { expect, exact };
        let placed = match self.append_waiting(&draft, &change, Class::Control, true).await {
            Ok(Some(placed)) => placed,
            Err(Refused::Changed) => return Ok(None),
            Err(Refused::Failed(error)) => {
                if flight.is_none_or(|flight| !flight.is_doomed()) {
                    self.remove_in_memory(key, &error);
                }
                return Err(error);
            }
            Ok(None) | Err(_) => return Err(Error::Closed),
        };
        let mut was_there = false;
        if let Some(before) = placed.before {
            self.discard(&before, Some(Position::new(placed.segment.id, placed.end)));
            was_there = self.was_there(key, &before).await;
        }
        self.durable(&placed.segment, placed.end, level).await?;
        Ok(Some(was_there))
    }

    /// The log takes no tombstone: the key is gone in this process all the same, and the tombstone is owed.
    pub(crate) fn remove_in_memory(&self, key: &CacheKey, error: &Error) {
        if matches!(error, Error::Closed) {
            return;
        }
        let mut log = self.log.lock();
        let as_of = log.next_place();
        self.inflight.doom_key(&half_digest(key), None);
        if let Some(entry) = self.index.remove(Tag::of(key.digest())) {
            self.discard(&entry, Some(as_of));
        }
        log.debt.owe(Owed::Key { kind: Kind::Tombstone, digest: half_digest(key), as_of });
        log.barrier = Some(Position::from_raw(u64::MAX));
    }

    /// Gives an entry a new meta and expiry, by compare-and-swap; `false`: it is not there.
    pub(crate) fn update_meta<'a>(
        self: &'a Arc<Self>,
        target: Target<'a>,
        meta: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.swap_meta(target, meta, expiry))
    }

    async fn swap_meta(self: &Arc<Self>, target: Target<'_>, meta: Bytes, expiry: Expiry) -> Result<bool> {
        check_key(target.key)?;
        if meta.len() > MAX_META_LEN {
            return Err(Error::TooLarge {
                what: "the meta",
                len: meta.len() as u64,
                max: MAX_META_LEN as u64,
            });
        }
        loop {
            let Sought::Found(found) = self.generation(target.key).await? else { return Ok(false) };
            if target.id.is_some_and(|id| id.0 != found.record.header.entry_id) {
                return Ok(false);
            }
            let (header, Parts { key, attributes, body, .. }) = found.record.into_parts();
            let mut draft =
                Draft { header, key, attributes, meta: meta.clone(), body, object: None, flight: None };
            let had = Some(draft.header.expires_ms);
            draft.header.flags &= !(flag::STALE | flag::MOVED | flag::UNPROVEN);
            draft.header.flags |= self.objects.doubt(draft.header.object);
            draft.header.expires_ms = self.expires_ms(expiry, had, self.now_ms());
            set_lengths(&mut draft);
            self.check_record(&draft.header)?;
            let change = Change::Replace { expect: found.entry.position, key: target.key, lift_stale: true };
            let placed = match self.append_waiting(&draft, &change, Class::Insert, true).await {
                Ok(Some(placed)) => placed,
                Err(Refused::Changed) => continue,
                Err(Refused::Failed(error)) => return Err(error),
                Ok(None) | Err(_) => return Err(Error::Closed),
            };
            // Evicted between the look and the swap: the copy is dead.
            if placed.before.is_none() {
                return Ok(false);
            }
            self.evict_to_limit();
            let level = self.level(self.config.durability);
            self.durable(&placed.segment, placed.end, level).await?;
            return Ok(true);
        }
    }
}

pub(crate) fn set_lengths<B: DiskBackend>(draft: &mut Draft<B>) {
    draft.header.key_len = draft.key.len() as u16;
    draft.header.attributes_len = draft.attributes.len() as u32;
    draft.header.meta_len = draft.meta.len() as u32;
    draft.header.crc = payload_crc([&draft.key, &draft.attributes, &draft.meta, &draft.body]);
}

/// Refuses a key that no entry can have.
pub(crate) fn check_key(key: &CacheKey) -> Result<()> {
    let len = key.as_bytes().len();
    if len > MAX_KEY_LEN {
        return Err(Error::TooLarge { what: "the key", len: len as u64, max: MAX_KEY_LEN as u64 });
    }
    Ok(())
}
