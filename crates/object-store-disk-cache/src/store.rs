//! The store that the cache stands before.
//!
//! **Invariant**: a get that begins after a write through this store has returned never sees what was there before it.

use crate::{Freshness, deletes, error, head::Head, object::Object, upload::Upload};
use async_trait::async_trait;
use bytes::Bytes;
use disk_cache::{ByteSize, CacheKey, DiskCache, Fetched, Fill, InsertOptions};
use futures_util::{future::join, stream::BoxStream};
use object_store::{
    CopyOptions, Extensions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};
use std::{fmt, ops::Range, sync::Arc};
use tracing::{debug, warn};

/// A store with a [`DiskCache`] before it; a cheap clone. See the [crate's text](crate) for what it promises.
///
/// Where the store needs a tokio runtime, so do gets: what they fetch, they fetch in a task of their own.
#[derive(Clone, Debug)]
pub struct DiskCacheStore {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) cache: DiskCache,
    pub(crate) freshness: Freshness,
    /// In bytes.
    pub(crate) block_size: u64,
    namespace: Arc<str>,
}

impl DiskCacheStore {
    /// A store whose gets are answered from `cache` where they can be. `namespace` names the store in the cache, which others
    /// may share: its URL, so that no two are ever taken for one another.
    pub fn new(inner: Arc<dyn ObjectStore>, cache: DiskCache, namespace: impl Into<Arc<str>>) -> Self {
        let (freshness, block_size) = (Freshness::default(), ByteSize::mib(1).bytes());
        Self { inner, cache, freshness, block_size, namespace: namespace.into() }
    }

    /// How long it is believed that an object is still the one it was; [`Freshness::EveryTime`] unless set.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// What is fetched at once; 1 MiB unless set, at least 4 KiB. Four blocks of a get are in memory at a time. Blocks of another size
    /// are not found again.
    pub fn block_size(mut self, size: ByteSize) -> Self {
        self.block_size = size.bytes().max(ByteSize::kib(4).bytes());
        self
    }

    /// The cache: for [`stats`](DiskCache::stats), for `close`, and to purge by namespace, prefix of the location
    /// ([`PurgeScope::Prefix`](disk_cache::PurgeScope)) or location ([`PurgeScope::Path`](disk_cache::PurgeScope)).
    pub fn cache(&self) -> &DiskCache {
        &self.cache
    }

    /// What all that is kept of an object is found by, but for the variant. The variant of its head is `head`.
    pub(crate) fn key(&self, location: &Path) -> CacheKey {
        CacheKey::new(self.namespace.as_bytes(), location.as_ref())
    }

    fn head_key(&self, location: &Path) -> CacheKey {
        self.key(location).with_variant("head")
    }

    /// The object that a get is about; `None`: the store has to be asked itself.
    async fn object(&self, location: &Path, options: &GetOptions) -> Result<Option<Object>> {
        if options.version.is_some() {
            return Ok(None);
        }
        let head = match self.freshness {
            Freshness::EveryTime => Head::of(self.ask(location, &options.extensions).await?, self.freshness),
            Freshness::MaxAge(_) | Freshness::Immutable => self.head(location, &options.extensions).await?,
        };
        Ok(head.map(|head| Object::new(self, location, head, &options.extensions)))
    }

    /// The head of an object, from the cache or the store; `None` where it cannot be kept.
    async fn head(&self, location: &Path, extensions: &Extensions) -> Result<Option<Head>> {
        let key = self.head_key(location);
        let fetch = || {
            let (store, at, extensions) = (self.clone(), location.clone(), extensions.clone());
            |fill: Fill| async move {
                let head = Head::of(store.ask(&at, &extensions).await?, store.freshness);
                let Some(meta) = head.and_then(|head| head.encode()) else { return Ok(fill.uncacheable()) };
                let options = InsertOptions::new().meta(meta).expiry(store.freshness.expiry());
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(fill.begin(options).await?.commit().await?)
            }
        };
        let head = read_head(location, self.cache.get_or_fetch(&key, fetch()).await)?;
        match head {
            // Of an earlier run, which believed it for longer.
            Some(head) if head.believed > self.freshness.age() => {
                read_head(location, self.cache.refetch(&key, fetch()).await)
            }
            head => Ok(head),
        }
    }

    /// Asks for everything but the bytes. Without a condition: there is no body that one could spare.
    async fn ask(&self, location: &Path, extensions: &Extensions) -> Result<GetResult> {
        let options = GetOptions::new().with_head(true).with_extensions(extensions.clone());
        self.inner.get_opts(location, options).await
    }

    /// The next get of this object asks the store, also after a crash. Its blocks stay: should it turn out to be the same, they are
    /// its own, and should it not, they are the least recently used.
    pub(crate) async fn forget(&self, location: &Path) {
        match self.cache.remove(&self.head_key(location)).await {
            // Closed: nothing is read from it either.
            Ok(_) | Err(disk_cache::Error::Closed) => {}
            Err(failed) => warn!(%failed, %location, "after a crash an outdated object may be found"),
        }
    }
}

/// The head that was found or fetched; `None` where it cannot be kept or read.
fn read_head(location: &Path, fetched: Result<Fetched, disk_cache::Error>) -> Result<Option<Head>> {
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(failed) => {
            if let Some(error) = error::of_store(&failed) {
                return Err(error);
            }
            debug!(%failed, %location, "an object is read without the cache");
            return Ok(None);
        }
    };
    let Some(meta) = fetched.meta() else { return Ok(None) };
    match Head::decode(location, meta) {
        Ok(head) => Ok(Some(head)),
        Err(unread) => {
            warn!(%unread, %location, "a head that this version did not write: the store is asked");
            Ok(None)
        }
    }
}

impl fmt::Display for DiskCacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskCacheStore({}, {})", self.namespace, self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for DiskCacheStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options).await;
        self.forget(location).await;
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload::new(self, location, upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(object) = self.object(location, &options).await? {
            match object.get(&options).await {
                Err(refused) if error::is_outdated(&refused) => self.forget(location).await,
                answer => return answer,
            }
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(object) = self.object(location, &GetOptions::new()).await? {
            match object.ranges(ranges).await {
                Err(refused) if error::is_outdated(&refused) => self.forget(location).await,
                answer => return answer,
            }
        }
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        deletes::forgetting(self, locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copied = self.inner.copy_opts(from, to, options).await;
        self.forget(to).await;
        copied
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let renamed = self.inner.rename_opts(from, to, options).await;
        join(self.forget(from), self.forget(to)).await;
        renamed
    }
}
