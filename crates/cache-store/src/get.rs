//! Life of a get.
//!
//! **Invariants**: what is handed out was verified on this read: keyed header checksum, the whole key, the body's checksum.
//! A record that does not verify is looked up once more, since it may have moved, then dropped by compare-and-swap and
//! answered as a miss; a device that does not read is an error.

use crate::{
    fairness::let_others_run,
    format::record::{Attributes, Record, half_digest},
    io,
    segment::Segment,
    shared::{Shared, from_ms},
};
use bytes::{Bytes, BytesMut};
use cache_core::{Body, CacheKey, DiskBackend, EntryId, Error, GetOptions, Hit, HitParts, Result};
use cache_index::{Entry, Position, Tag, Touch, Verdict};
use std::sync::Arc;

/// What the index and the purge table say about a key.
enum Look<B: DiskBackend> {
    Absent,
    Stale,
    Purged(Entry),
    Found { entry: Entry, segment: Arc<Segment<B>>, stale: bool, ask_record: bool },
}

/// An entry whose record was read and verified.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) record: Record,
    pub(crate) stale: bool,
}

/// What a look-up by key came to.
pub(crate) enum Sought {
    Found(Found),
    /// The index holds this place for another key, which shares 64 bits of the digest.
    Other(Position),
    Absent,
}

/// How often a look-up is tried again when the entry moves under it.
const TRIES: usize = 8;

impl<B: DiskBackend> Shared<B> {
    /// Looks a key up and makes a hit of it.
    pub(crate) async fn get(self: &Arc<Self>, key: &CacheKey, options: GetOptions) -> Result<Option<Hit>> {
        let_others_run(0).await;
        let tag = Tag::of(key.digest());
        let counts = self.counters.here();
        let _under_way = counts.enter();
        let mut hit = None;
        for _ in 0..TRIES {
            let Sought::Found(found) = self.find(key, tag, options).await? else { break };
            hit = self.hit(tag, found).await?;
            if hit.is_some() {
                break;
            }
            // Its large body went while it was looked at: what replaced the entry is the answer, if anything did.
        }
        match &hit {
            Some(_) => counts.hits.one(),
            None => counts.misses.one(),
        }
        self.counters.namespace(counts, key.namespace(), |n| match &hit {
            Some(_) => n.hits += 1,
            None => n.misses += 1,
        });
        Ok(hit)
    }

    /// Looks a key up and reads its record.
    pub(crate) async fn find(&self, key: &CacheKey, tag: Tag, options: GetOptions) -> Result<Sought> {
        let mut suspect: Option<Position> = None;
        for _ in 0..TRIES {
            let (entry, segment, stale, ask_record) = match self.look(key, tag, options) {
                Look::Absent => return Ok(Sought::Absent),
                Look::Stale => {
                    self.counters.expirations.one();
                    return Ok(Sought::Absent);
                }
                Look::Purged(entry) => {
                    self.drop_purged(tag, &entry);
                    return Ok(Sought::Absent);
                }
                Look::Found { entry, segment, stale, ask_record } => (entry, segment, stale, ask_record),
            };
            // The second time the page cache is not asked: the backend reads.
            let fast = suspect.is_none();
            let bytes = match self.record_bytes(&segment, &entry, fast).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.counters.read_errors.one();
                    return Err(Error::io("read", &segment.path, error));
                }
            };
            let Some(record) = Record::decode(bytes, entry.position, &self.secret) else {
                if suspect == Some(entry.position) {
                    self.drop_damaged(tag, &entry, &segment);
                    return Ok(Sought::Absent);
                }
                suspect = Some(entry.position);
                continue;
            };
            // Tags are 64 bits of the digest: another key may share it, and that is a miss.
            if record.key() != key.as_bytes() {
                return Ok(Sought::Other(entry.position));
            }
            let mut stale = stale;
            if ask_record {
                let verdict = self.purge_verdict(key, record.attributes(), entry.position);
                if verdict.removed {
                    self.drop_purged(tag, &entry);
                    return Ok(Sought::Absent);
                }
                // While the record was read, reclaim may have taken the entry away, and with it what purged it.
                if self.index.peek(tag).is_none_or(|e| e.position != entry.position) {
                    continue;
                }
                stale |= verdict.stale;
                if stale && !options.allows_stale() {
                    self.counters.expirations.one();
                    return Ok(Sought::Absent);
                }
            }
            return Ok(Sought::Found(Found { entry, record, stale }));
        }
        Ok(Sought::Absent)
    }

    fn look(&self, key: &CacheKey, tag: Tag, options: GetOptions) -> Look<B> {
        let look = self.index.get(tag, |entry, segment| {
            let verdict = if self.purges.newest() > entry.position {
                self.purges.check(key, entry.position, entry.flags)
            } else {
                Verdict::default()
            };
            if verdict.removed {
                return (Touch::No, Look::Purged(*entry));
            }
            let expired = entry.expires_ms != 0 && self.now_ms() >= entry.expires_ms;
            let stale = expired || entry.flags.stale || verdict.stale;
            if stale && !options.allows_stale() {
                return (Touch::No, Look::Stale);
            }
            let touch = if options.peeks() { Touch::No } else { Touch::Yes };
            let segment = segment.clone();
            (touch, Look::Found { entry: *entry, segment, stale, ask_record: verdict.ask_record })
        });
        look.unwrap_or(Look::Absent)
    }

    /// Whether a plain get would find the key, as far as can be told without I/O.
    pub(crate) fn contains(&self, key: &CacheKey) -> bool {
        let options = GetOptions::new().peek(true);
        matches!(self.look(key, Tag::of(key.digest()), options), Look::Found { ask_record: false, .. })
    }

    /// Whether an entry that was just taken out of the index was there for its key: no purge had hit it. Reads the record
    /// only where a purge needs it, and takes one that does not read for there.
    pub(crate) async fn was_there(&self, key: &CacheKey, entry: &Entry) -> bool {
        if self.purges.newest() <= entry.position {
            return true;
        }
        let verdict = self.purges.check(key, entry.position, entry.flags);
        if verdict.removed || !verdict.ask_record {
            return !verdict.removed;
        }
        let Some(segment) = self.index.segment(entry.position.segment()) else { return true };
        let Ok(bytes) = self.record_bytes(&segment, entry, true).await else {
            return true;
        };
        Record::decode(bytes, entry.position, &self.secret)
            .is_none_or(|record| !self.purge_verdict(key, record.attributes(), entry.position).removed)
    }

    /// What the purges say of an entry whose record is known.
    pub(crate) fn purge_verdict(&self, key: &CacheKey, attributes: &[u8], at: Position) -> Verdict {
        if self.purges.newest() <= at {
            return Verdict::default();
        }
        // Attributes are behind the record's checksum; those that do not read are of no version known here.
        let Some(attributes) = Attributes::decode(attributes) else {
            return Verdict { removed: true, ..Verdict::default() };
        };
        self.purges.check_record(key, attributes.label, attributes.tags.iter().copied(), at)
    }

    async fn record_bytes(&self, segment: &Segment<B>, entry: &Entry, fast: bool) -> std::io::Result<Bytes> {
        let (offset, len) = (entry.position.offset(), entry.len as usize);
        if let Some(bytes) = segment.buffered(offset, len) {
            return Ok(bytes);
        }
        // A byte more than is read: a full vector frozen is copied into shared form by the first cut, at an allocation.
        let buf = BytesMut::with_capacity(len + 1);
        let (bytes, cached) = io::read(&self.backend, &segment.file, buf, len, offset, fast).await?;
        if cached {
            self.counters.here().fast_reads.one();
        }
        Ok(bytes.freeze())
    }

    fn drop_purged(&self, tag: Tag, entry: &Entry) {
        if let Some(entry) = self.index.remove_at(tag, entry.position) {
            self.counters.purged.one();
            let head = self.log.lock().head();
            self.discard(&entry, Some(head));
        }
    }

    /// By compare-and-swap, so that a newer entry is never dropped.
    fn drop_damaged(&self, tag: Tag, entry: &Entry, segment: &Segment<B>) {
        self.counters.corruptions.one();
        if let Some(entry) = self.index.remove_at(tag, entry.position) {
            tracing::warn!(segment = %segment.id, offset = entry.position.offset(), "dropped a damaged record");
            self.discard(&entry, None);
        }
    }

    /// Drops the entry of a large body found damaged.
    pub(crate) fn drop_object_entry(&self, tag: Tag, object: u64) {
        let held = self.index.peek(tag).filter(|e| e.object.is_some_and(|o| o.id == object));
        if let Some(entry) = held.and_then(|e| self.index.remove_at(tag, e.position)) {
            tracing::warn!(object, "dropped an entry whose large body is damaged");
            self.discard(&entry, None);
        }
    }

    async fn hit(self: &Arc<Self>, tag: Tag, found: Found) -> Result<Option<Hit>> {
        let Found { entry, record, stale } = found;
        let header = record.header.clone();
        let (meta, inline) = record.into_meta_and_body();
        let body = if header.object == 0 {
            Body::Inline(inline)
        } else {
            let opened = self.open_object(tag, header.object, &header.digest, header.body_len).await?;
            let Some(source) = opened else {
                // Replaced or evicted a moment ago, or lost.
                if self.index.peek(tag).is_some_and(|e| e.position == entry.position) {
                    self.counters.corruptions.one();
                    self.drop_object_entry(tag, header.object);
                }
                return Ok(None);
            };
            Body::Source(Arc::new(source))
        };
        Ok(Some(Hit::new(HitParts {
            id: EntryId(header.entry_id),
            meta,
            created_at: from_ms(header.created_ms),
            expires_at: (header.expires_ms != 0).then(|| from_ms(header.expires_ms)),
            stale,
            disk_size: self.index.disk_size(&entry),
            body,
        })))
    }

    /// The generation the index holds of a key, whatever its freshness, with the place of its record.
    pub(crate) async fn generation(&self, key: &CacheKey) -> Result<Sought> {
        debug_assert_eq!(half_digest(key)[..8], Tag::of(key.digest()).0.to_le_bytes());
        let options = GetOptions::new().allow_stale(true).peek(true);
        self.find(key, Tag::of(key.digest()), options).await
    }
}
