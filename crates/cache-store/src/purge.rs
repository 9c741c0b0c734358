//! Purges, and expiry by hand.
//!
//! **Invariants**: a purge is applied in memory in the section that gives it its place, and kept there even when the disk
//! refuses its record; an acknowledged one is on the log before anything that is fetched after it.

use crate::{
    debt::Owed,
    format::{
        footer,
        record::{Kind, half_digest},
    },
    get::Sought,
    insert::check_key,
    reclaim::Reclaimed,
    sequencer::{Change, Class, Draft, Refused},
    shared::Shared,
    survivors::Survivors,
};
use cache_core::{
    BoxFuture, CacheKey, DiskBackend, Durability, EntryId, Error, MAX_KEY_LEN, MAX_TAG_LEN, PurgeMode,
    PurgeScope, Result, Target,
};
use cache_index::{Position, Tag};
use std::{pin::pin, sync::Arc};

impl<B: DiskBackend> Shared<B> {
    pub(crate) fn purge(
        self: &Arc<Self>,
        scope: PurgeScope,
        mode: PurgeMode,
        level: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.append_purge(scope, mode, level))
    }

    async fn append_purge(
        self: &Arc<Self>,
        scope: PurgeScope,
        mode: PurgeMode,
        level: Durability,
    ) -> Result<()> {
        check_scope(&scope)?;
        let draft = Draft::purge(&scope, mode);
        self.check_fits(&draft)?;
        if let PurgeScope::Namespace(name)
        | PurgeScope::Path { namespace: name, .. }
        | PurgeScope::Prefix { namespace: name, .. } = &scope
        {
            self.counters.namespace(self.counters.here(), name, |n| n.purges += 1);
        }
        let change = Change::Purge { scope: &scope, mode };
        let placed = match self.append_waiting(&draft, &change, Class::Control, true).await {
            Ok(Some(placed)) => placed,
            Err(Refused::Failed(Error::Closed)) => return Err(Error::Closed),
            Err(Refused::Failed(error)) => {
                let mut log = self.log.lock();
                let as_of = log.next_place();
                self.inflight.doom_scope(&scope);
                self.purges.add(&scope, mode, as_of);
                log.debt.owe(Owed::Purge { scope, mode, as_of });
                log.barrier = Some(Position::from_raw(u64::MAX));
                return Err(error);
            }
            Ok(None) | Err(_) => return Err(Error::Closed),
        };
        let everything = scope == PurgeScope::All && mode == PurgeMode::Remove;
        if everything {
            self.sweep(placed.position, Position::new(placed.segment.id, placed.end));
        }
        self.durable(&placed.segment, placed.end, level).await?;
        if everything {
            self.unlink_before(placed.position).await;
        }
        Ok(())
    }

    /// Refuses a scope whose record and footer row no segment takes: owed to the log, it would be owed for ever.
    fn check_fits(&self, draft: &Draft<B>) -> Result<()> {
        let scope = draft.meta.len() as u64;
        let len = draft.header.record_len() + footer::room(1, scope);
        let max = self.limits.segment;
        if len > max {
            return Err(Error::TooLarge { what: "the record of the purge and its footer row", len, max });
        }
        Ok(())
    }

    /// Drops all entries before a purge of everything.
    fn sweep(&self, before: Position, after: Position) {
        for shard in 0..self.index.shards() {
            for entry in self.index.retain(shard, |_, e| e.position >= before) {
                self.counters.purged.one();
                self.discard(&entry, Some(after));
            }
        }
    }

    /// Gives the segments before a synced purge of everything back. As a task, so that a caller that goes away does not
    /// stop it half way.
    async fn unlink_before(self: &Arc<Self>, at: Position) {
        let shared = self.clone();
        let task = self.handle.spawn(async move {
            shared.signals.unlink.notify_one();
            let asked = shared.log.lock().ask();
            while shared.index.segment_ids().first().is_some_and(|oldest| *oldest < at.segment()) {
                let mut sealed = pin!(shared.signals.synced.notified());
                sealed.as_mut().enable();
                match shared.reclaim_oldest(Survivors::Move, asked).await {
                    Ok(Reclaimed::Done | Reclaimed::Instead) => {}
                    Ok(Reclaimed::NotYet) => sealed.await,
                    Ok(Reclaimed::Nothing) => break,
                    Err(error) => {
                        tracing::warn!(%error, "purged segments stay for now");
                        break;
                    }
                }
            }
        });
        if let Err(error) = task.await {
            tracing::error!(%error, "giving purged segments back failed");
        }
    }

    /// Makes a key stale, or just one entry of it. Returns the entry that was there.
    pub(crate) fn expire<'a>(
        self: &'a Arc<Self>,
        target: Target<'a>,
    ) -> BoxFuture<'a, Result<Option<EntryId>>> {
        Box::pin(self.append_expire(target))
    }

    async fn append_expire(self: &Arc<Self>, target: Target<'_>) -> Result<Option<EntryId>> {
        check_key(target.key)?;
        if let Some(id) = self.doom_exactly(target) {
            return Ok(Some(id));
        }
        let draft = Draft::bare(Kind::Expire, half_digest(target.key));
        loop {
            let found = match self.generation(target.key).await {
                Ok(found) => found,
                Err(error) => {
                    // Which entry it is cannot be read; that the key is to be stale holds all the same.
                    if target.id.is_none() {
                        self.expire_in_memory(target.key);
                    }
                    return Err(error);
                }
            };
            let (expect, held) = expected(target, &found);
            if held.is_some_and(|id| target.id.is_some_and(|wanted| wanted != id)) {
                return Ok(None);
            }
            let change = Change::Expire { expect, exact: target.id.is_some() };
            let placed = match self.append_waiting(&draft, &change, Class::Control, true).await {
                Ok(Some(placed)) => placed,
                Err(Refused::Changed) => continue,
                Err(Refused::Failed(Error::Closed)) => return Err(Error::Closed),
                Err(Refused::Failed(error)) => {
                    self.expire_in_memory(target.key);
                    return Err(error);
                }
                Ok(None) | Err(_) => return Err(Error::Closed),
            };
            self.durable(&placed.segment, placed.end, Durability::Synced).await?;
            return Ok(placed.before.and(held));
        }
    }

    /// One exact entry that is still being written: it will not be published, and there is nothing to say about it.
    fn doom_exactly(&self, target: Target<'_>) -> Option<EntryId> {
        let id = target.id?;
        let _section = self.log.lock();
        self.inflight.doom_exactly(target.key, &half_digest(target.key), id).then_some(id)
    }

    fn expire_in_memory(&self, key: &CacheKey) {
        let mut log = self.log.lock();
        let as_of = log.next_place();
        self.inflight.doom_key(&half_digest(key), None);
        self.index.mark_stale(Tag::of(key.digest()), None);
        log.debt.owe(Owed::Key { kind: Kind::Expire, digest: half_digest(key), as_of });
        log.barrier = Some(Position::from_raw(u64::MAX));
    }

    /// Removes a key, or just one entry of it. Returns the entry that was there.
    pub(crate) fn remove_entry<'a>(
        self: &'a Arc<Self>,
        target: Target<'a>,
        level: Durability,
    ) -> BoxFuture<'a, Result<Option<EntryId>>> {
        Box::pin(self.remove_exactly(target, level))
    }

    async fn remove_exactly(
        self: &Arc<Self>,
        target: Target<'_>,
        level: Durability,
    ) -> Result<Option<EntryId>> {
        check_key(target.key)?;
        if let Some(id) = self.doom_exactly(target) {
            return Ok(Some(id));
        }
        loop {
            let found = match self.generation(target.key).await {
                Ok(found) => found,
                Err(error) => {
                    if target.id.is_none() {
                        self.remove_in_memory(target.key, &error);
                    }
                    return Err(error);
                }
            };
            let (expect, held) = expected(target, &found);
            if held.is_some_and(|id| target.id.is_some_and(|wanted| wanted != id)) {
                return Ok(None);
            }
            // A key that the index does not know gets its tombstone all the same: an evicted record may be in the log.
            if let Some(was_there) = self.remove(target.key, expect, target.id.is_some(), level).await? {
                let removed = held.filter(|_| was_there);
                if removed.is_some() {
                    self.counters.removes.one();
                }
                return Ok(removed);
            }
        }
    }
}

/// The place that the index must hold, and the entry that was found. Where one exact entry is meant and the key has none, the
/// index must hold what it held: nothing, or another key's entry, which costs that key a miss.
fn expected(target: Target<'_>, found: &Sought) -> (Option<Position>, Option<EntryId>) {
    match found {
        Sought::Found(f) => (Some(f.entry.position), Some(EntryId(f.record.header.entry_id))),
        Sought::Other(at) => (target.id.map(|_| *at), None),
        Sought::Absent => (target.id.map(|_| Position::ZERO), None),
    }
}

fn check_scope(scope: &PurgeScope) -> Result<()> {
    let check = |what, len: usize, max: usize| {
        if len > max { Err(Error::TooLarge { what, len: len as u64, max: max as u64 }) } else { Ok(()) }
    };
    match scope {
        PurgeScope::Namespace(n) => check("the namespace", n.len(), MAX_KEY_LEN),
        PurgeScope::Path { namespace, path } => {
            check("namespace and path together", namespace.len() + path.len(), MAX_KEY_LEN)
        }
        PurgeScope::Prefix { namespace, prefix } => {
            check("namespace and prefix together", namespace.len() + prefix.len(), MAX_KEY_LEN)
        }
        PurgeScope::Tag(tag) => check("the tag", tag.len(), MAX_TAG_LEN),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Engine,
        format::record::{Kind, half_digest, payload_crc},
        sequencer::{Change, Class, Draft},
    };
    use bytes::Bytes;
    use cache_core::{ByteSize, Cache, CacheKey, Config, EntryId, SystemClock};
    use cache_testkit::MemoryBackend;
    use std::{
        sync::{Arc, mpsc},
        thread,
        time::Duration,
    };
    use tokio::runtime::Handle;

    /// An engine whose index holds, under the digest of the first key, a record of the second: what two keys that share 64
    /// bits of their digests leave.
    async fn colliding(mine: &CacheKey, other: &CacheKey) -> Engine<MemoryBackend> {
        let mut config = Config::new("/cache", ByteSize::kib(256));
        config.segment_size = Some(ByteSize::kib(16));
        config.min_free_space = ByteSize::bytes_of(0);
        let disk = MemoryBackend::with_dir("/");
        let engine = Engine::open(config, Arc::new(SystemClock), disk, Handle::current()).await.unwrap();
        let mut draft = Draft::bare(Kind::Insert, half_digest(mine));
        draft.key = Bytes::copy_from_slice(other.as_bytes());
        draft.header.key_len = draft.key.len() as u16;
        draft.header.crc = payload_crc([&draft.key, &[], &[], &[]]);
        let placed = engine.shared().append(&draft, &Change::Insert, Class::Insert, None, true);
        assert!(placed.is_ok());
        engine
    }

    // Both found no entry of the key, expected the index to hold nothing, met the other key's place, and began anew for ever,
    // without a pause: hence a thread of its own, which can be given up.
    #[test]
    fn an_exact_entry_of_a_key_whose_tag_another_key_holds_is_none_and_soon_told() {
        let (mine, other) = (CacheKey::from("mine"), CacheKey::from("other"));
        for expire in [false, true] {
            let (mine, other) = (mine.clone(), other.clone());
            let (tell, told) = mpsc::channel();
            let exact = async move {
                let engine = colliding(&mine, &other).await;
                assert!(engine.get(&mine).await.unwrap().is_none());
                let target = (&mine, EntryId(7));
                let done =
                    if expire { engine.expire(target).await } else { engine.remove_entry(target).await };
                tell.send((done.unwrap(), engine.stats())).unwrap();
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            thread::spawn(move || runtime.block_on(exact));
            let (done, stats) =
                told.recv_timeout(Duration::from_secs(600)).expect("it does not try for ever");
            assert_eq!((done, stats.removes), (None, 0));
            // Whatever is left of the key in the log has its tombstone now, which costs the other key a miss.
            assert_eq!(stats.entries, u64::from(expire));
        }
    }
}
