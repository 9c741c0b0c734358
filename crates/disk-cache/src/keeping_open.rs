//! A streaming insert, or what a fetch is given to make one, with the cache that it belongs to.
//!
//! **Invariant**: both keep the cache open: dropping the last [`DiskCache`] while a body is on its way does not end it.

use crate::{DiskCache, platform::Platform};
use bytes::Bytes;
use cache_core::{
    BodySink, BoxFuture, CacheKey, EntryId, EntryWriter, Follower, InsertOptions, Inserted, PendingFetch,
    Result,
};

/// Something of the engine that is under way.
pub(crate) struct KeepingOpen<T> {
    pub(crate) inner: T,
    /// Behind it, so that it is dropped after it.
    pub(crate) cache: DiskCache,
}

impl BodySink for KeepingOpen<cache_store::EntryWriter<Platform>> {
    fn id(&self) -> EntryId {
        self.inner.id()
    }
    fn follow(&self) -> Follower {
        self.inner.follow()
    }
    fn keep_feeding(&mut self, feed: bool) {
        self.inner.keep_feeding(feed);
    }
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.inner.write(piece))
    }
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Inserted>> {
        let Self { inner, cache } = *self;
        Box::pin(async move {
            let done = inner.commit().await;
            drop(cache);
            done
        })
    }
}

impl PendingFetch for KeepingOpen<cache_store::Fill<Platform>> {
    fn key(&self) -> &CacheKey {
        self.inner.key()
    }
    fn id(&self) -> EntryId {
        self.inner.id()
    }
    fn begin(self: Box<Self>, options: InsertOptions) -> BoxFuture<'static, Result<EntryWriter>> {
        let Self { inner, cache } = *self;
        Box::pin(async move {
            let inner = inner.begin(options).await?;
            Ok(EntryWriter::new(KeepingOpen { inner, cache }))
        })
    }
    fn is_superseded(&self) -> bool {
        self.inner.is_superseded()
    }
    fn uncacheable(self: Box<Self>) -> Inserted {
        self.inner.uncacheable()
    }
}
