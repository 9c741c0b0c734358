//! An object that is written in parts.

use crate::DiskCacheStore;
use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart, path::Path};

/// The store's upload, after whose end the object it replaces is forgotten.
#[derive(Debug)]
pub(crate) struct Upload {
    store: DiskCacheStore,
    location: Path,
    inner: Box<dyn MultipartUpload>,
}

impl Upload {
    pub(crate) fn new(store: &DiskCacheStore, location: &Path, inner: Box<dyn MultipartUpload>) -> Self {
        Self { store: store.clone(), location: location.clone(), inner }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.inner.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let completed = self.inner.complete().await;
        self.store.forget(&self.location).await;
        completed
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
