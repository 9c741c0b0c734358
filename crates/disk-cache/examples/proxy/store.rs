//! What the proxy needs of a cache beside [`Cache`].

use bytes::Bytes;
use disk_cache::{Cache, CacheKey, DiskCache, Expiry, Hit, InsertOptions, Result};
use std::future::Future;

/// A cache that can renew an entry's meta.
pub(crate) trait Store: Cache + 'static {
    /// Gives an entry that was found a new meta and expiry. Stores it anew, unless the cache knows a better way.
    ///
    /// # Errors
    /// Those of [`Hit::bytes`] and [`Cache::insert_with`].
    fn refresh(
        &self,
        key: &CacheKey,
        hit: &Hit,
        meta: Bytes,
        expiry: Expiry,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let options = InsertOptions::new().meta(meta).expiry(expiry);
            self.insert_with(key, hit.bytes().await?, options).await.map(drop)
        }
    }
}

impl Store for DiskCache {
    async fn refresh(&self, key: &CacheKey, hit: &Hit, meta: Bytes, expiry: Expiry) -> Result<()> {
        // Of exactly this body: where it was replaced meanwhile, the newer one has its own meta.
        self.update_meta((key, hit.id()), meta, expiry).await.map(drop)
    }
}
