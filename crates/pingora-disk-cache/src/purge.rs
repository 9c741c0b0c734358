//! Purges that Pingora's own do not reach: by prefix, tag, tenant, all variants.

use crate::{DiskCacheStorage, Label, key::entry_key};
use bytes::Bytes;
use disk_cache::{PurgeMode, PurgeScope, Result};
use pingora_cache::key::CacheHashKey;

/// All of them are durable when they return, and hold for fills under way: what was fetched before is not stored after.
/// [`PurgeMode::Expire`] keeps the bodies, to be revalidated.
///
/// # Errors
/// Those of [`disk_cache::DiskCache::purge`]: the purge is not noted on the disk. In this process it holds all the same.
impl DiskCacheStorage {
    /// All responses under a user tag whose [`Label`], or the bytes that were hashed into the key, begin so.
    #[expect(clippy::missing_errors_doc, reason = "told for all of them above")]
    pub async fn purge_prefix(
        &self,
        user_tag: &str,
        prefix: impl Into<Bytes>,
        mode: PurgeMode,
    ) -> Result<()> {
        // Labels are cut, so a longer prefix must be too: it then purges a little more, and nothing less.
        let prefix = Label::new(prefix).as_bytes().clone();
        self.cache().purge_with(PurgeScope::Prefix { namespace: namespace(user_tag), prefix }, mode).await
    }

    /// All responses with a tag, whatever their user tag.
    #[expect(clippy::missing_errors_doc, reason = "told for all of them above")]
    pub async fn purge_tag(&self, tag: impl Into<Bytes>, mode: PurgeMode) -> Result<()> {
        self.cache().purge_with(PurgeScope::Tag(tag.into()), mode).await
    }

    /// All variants of a key.
    #[expect(clippy::missing_errors_doc, reason = "told for all of them above")]
    pub async fn purge_variants(&self, key: &(impl CacheHashKey + Sync), mode: PurgeMode) -> Result<()> {
        let key = entry_key(key);
        let (namespace, path) = (key.namespace(), key.path());
        let scope = PurgeScope::Path {
            namespace: Bytes::copy_from_slice(namespace),
            path: Bytes::copy_from_slice(path),
        };
        self.cache().purge_with(scope, mode).await
    }

    /// All responses under a user tag.
    #[expect(clippy::missing_errors_doc, reason = "told for all of them above")]
    pub async fn purge_user(&self, user_tag: &str, mode: PurgeMode) -> Result<()> {
        self.cache().purge_with(PurgeScope::Namespace(namespace(user_tag)), mode).await
    }
}

fn namespace(user_tag: &str) -> Bytes {
    Bytes::copy_from_slice(user_tag.as_bytes())
}
