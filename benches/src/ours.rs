//! This cache as one of those that are compared.

use crate::{Result, store::Store};
use bytes::Bytes;
use disk_cache::{CacheKey, DiskCache};

fn key(name: &str) -> CacheKey {
    CacheKey::new("bench", name)
}

impl Store for DiskCache {
    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match DiskCache::get(self, &key(name)).await? {
            Some(hit) => Ok(Some(hit.bytes().await?)),
            None => Ok(None),
        }
    }

    async fn insert(&self, name: &str, body: Bytes) -> Result<()> {
        DiskCache::insert(self, &key(name), body).await?;
        Ok(())
    }

    async fn settle(&self) -> Result<()> {
        Ok(self.flush().await?)
    }

    async fn close(&self) -> Result<()> {
        Ok(DiskCache::close(self).await?)
    }
}
