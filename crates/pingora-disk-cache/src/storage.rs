//! The storage that Pingora is given.

use crate::{
    Label, error,
    hit::DiskHit,
    key::entry_key,
    meta::{self, Seen},
    miss::DiskMiss,
    tags,
};
use async_trait::async_trait;
use disk_cache::{DiskCache, EntryId, Expiry, GetOptions, Hit, InsertOptions, Target};
use http::HeaderName;
use log::{debug, warn};
use pingora_cache::{
    CacheEntryId, CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType,
    Storage, trace::SpanHandle,
};
use pingora_error::Result;
use std::{any::Any, time::SystemTime};

/// The header that names a response's tags unless another is given.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// A [`DiskCache`] as Pingora's [`Storage`]. See the [crate's text](crate) for what it promises and how to set it up.
///
/// Pingora wants its storage `'static`: keep it in a `static`, as [`DiskCacheService`](crate::DiskCacheService) does, or
/// leak it.
#[derive(Clone, Debug)]
pub struct DiskCacheStorage {
    cache: DiskCache,
    tag_header: Option<HeaderName>,
}

impl DiskCacheStorage {
    /// A storage on an open cache. A process that forks (Pingora's `--daemon`) opens it after the fork.
    pub fn new(cache: DiskCache) -> Self {
        Self { cache, tag_header: Some(SURROGATE_KEY) }
    }

    /// The response header that names the tags to purge by, between spaces or commas; `None`: there are none. Unless this
    /// is called, `Surrogate-Key`.
    ///
    /// A response with more than 64 tags, or one of more than 256 bytes, is not stored: it could not be purged by them. Nor is
    /// one that changed its tags refreshed by a `304`; it goes.
    pub fn tag_header(mut self, header: Option<HeaderName>) -> Self {
        self.tag_header = header;
        self
    }

    /// The cache: for [`stats`](DiskCache::stats), for `close`.
    pub fn cache(&self) -> &DiskCache {
        &self.cache
    }

    async fn find(&self, key: &disk_cache::CacheKey, peek: bool) -> Result<Option<Hit>> {
        let options = GetOptions::new().allow_stale(true).peek(peek);
        self.cache.get_with(key, options).await.map_err(error::read)
    }

    /// Writes the time of a soft purge down: the windows for serving an entry stale begin then. It is one entry, so that its
    /// metadata can be written anew, which the purge of a thousand could not.
    async fn note_expiry(&self, target: Target<'_>) -> Result<()> {
        let Some(hit) = self.find(target.key, true).await? else { return Ok(()) };
        if target.id.is_some_and(|id| id != hit.id()) {
            return Ok(());
        }
        let mut stored = meta::decode(hit.meta())?;
        stored.expire_at(SystemTime::now());
        let meta = meta::encode(&stored)?;
        self.cache.update_meta((target.key, hit.id()), meta, Expiry::Keep).await.map_err(error::write)?;
        Ok(())
    }
}

#[async_trait]
impl Storage for DiskCacheStorage {
    /// A response whose metadata this version cannot read is a miss, so that the next one is fetched once for all that wait.
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(hit) = self.find(&entry_key(key), false).await? else { return Ok(None) };
        let mut meta = match meta::decode(hit.meta()) {
            Ok(meta) => meta,
            Err(unread) => {
                warn!("a stored response is taken for a miss: {unread}");
                return Ok(None);
            }
        };
        if hit.is_stale() {
            meta::make_stale(&mut meta);
        }
        meta.extensions_mut().insert(Seen::of(&hit));
        Ok(Some((meta, Box::new(DiskHit::new(&hit)))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<MissHandler> {
        let options =
            InsertOptions::new().meta(meta::encode(meta)?).expiry(meta::expiry(meta)).label(Label::of(key));
        let options = tags::tags(meta, self.tag_header.as_ref()).fold(options, InsertOptions::tag);
        let writer = self.cache.writer(&entry_key(key), options).await.map_err(error::write)?;
        Ok(Box::new(DiskMiss::new(writer, meta)))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _: PurgeType,
        _: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let (key, id) = named(target);
        let removed = self.cache.remove_entry(Target { key: &key, id }).await.map_err(error::write)?;
        Ok(removed.map_or(PurgeOutcome::NotFound, |id| PurgeOutcome::Purged(Some(CacheEntryId::new(id.0)))))
    }

    async fn expire(&'static self, target: PurgeTarget<'_>, _: &SpanHandle) -> Result<PurgeOutcome> {
        let (key, id) = named(target);
        let target = Target { key: &key, id };
        if let Err(unnoted) = self.note_expiry(target).await {
            // The entry turns stale all the same; only its windows are taken to have begun earlier.
            debug!("the time of a soft purge is not noted: {unnoted}");
        }
        let expired = self.cache.expire(target).await.map_err(error::write)?;
        Ok(if expired.is_some() { PurgeOutcome::Expired } else { PurgeOutcome::NotFound })
    }

    /// Only where the entry is the one that was looked up, and was not purged softly since: a `304` says nothing about
    /// another body, nor about what changed after it was asked for.
    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<bool> {
        let key = entry_key(key);
        let Some(hit) = self.find(&key, true).await? else { return Ok(false) };
        let now = Seen::of(&hit);
        if let Some(seen) = meta.extensions().get::<Seen>()
            && (seen.id != now.id || now.purged_softly && !seen.purged_softly)
        {
            return Ok(false);
        }
        let tags_stay =
            meta::decode(hit.meta()).is_ok_and(|stored| tags::same(&stored, meta, self.tag_header.as_ref()));
        if !tags_stay {
            self.cache.remove_entry((&key, now.id)).await.map_err(error::write)?;
            return Ok(false);
        }
        let updated = self.cache.update_meta((&key, now.id), meta::encode(meta)?, meta::expiry(meta)).await;
        updated.map_err(error::write)
    }

    /// See the [crate's text](crate) for why not.
    fn support_streaming_partial_write(&self) -> bool {
        false
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// The key of a target, and the id where it is one exact entry.
fn named(target: PurgeTarget<'_>) -> (disk_cache::CacheKey, Option<EntryId>) {
    let id = match target {
        PurgeTarget::Active(_) => None,
        PurgeTarget::Exact(entry) => entry.entry_id().map(|id| EntryId(id.get())),
    };
    (entry_key(target.key()), id)
}
