//! A response on its way into the cache.
//!
//! **Invariants**: nothing is there before `finish`, whatever was said about the end of the body; dropped before, it leaves
//! nothing. After an error nothing more is written, and what was written is gone: Pingora goes on without the cache.

use crate::error;
use async_trait::async_trait;
use bytes::Bytes;
use disk_cache::{EntryWriter, Inserted};
use http::header::CONTENT_LENGTH;
use pingora_cache::{
    CacheEntryId, CacheMeta,
    storage::{HandleMiss, MissFinishType},
};
use pingora_error::{Error, ErrorType, Result};

pub(crate) struct DiskMiss {
    /// `None` behind an error.
    writer: Option<EntryWriter>,
    id: CacheEntryId,
    written: u64,
    announced: Option<u64>,
}

impl DiskMiss {
    pub(crate) fn new(writer: EntryWriter, meta: &CacheMeta) -> Self {
        let announced = meta.headers().get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        Self { id: CacheEntryId::new(writer.id().0), writer: Some(writer), written: 0, announced }
    }
}

#[async_trait]
impl HandleMiss for DiskMiss {
    async fn write_body(&mut self, data: Bytes, _eof: bool) -> Result<()> {
        let Some(writer) = &mut self.writer else { return abandoned() };
        let len = data.len() as u64;
        match writer.write(data).await {
            Ok(()) => self.written += len,
            Err(failed) => {
                // At once, and not when Pingora drops the handler: it holds room that others could use.
                self.writer = None;
                return Err(error::write(failed));
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let Some(writer) = self.writer.take() else { return abandoned() };
        if self.announced.is_some_and(|announced| announced != self.written) {
            let (announced, written) = (self.announced.unwrap_or(0), self.written);
            return Error::e_explain(
                ErrorType::FileWriteError,
                format!("not stored: a body of {written} bytes whose header announces {announced}"),
            );
        }
        match writer.commit().await.map_err(error::write)? {
            Inserted::Stored { disk_size, .. } => Ok(MissFinishType::Created(disk_size as usize)),
            // Purged or replaced meanwhile, or not worth its room: nothing is there, and nothing went wrong.
            _ => Ok(MissFinishType::Created(0)),
        }
    }

    fn entry_id(&self) -> Option<CacheEntryId> {
        Some(self.id)
    }
}

fn abandoned<T>() -> Result<T> {
    Error::e_explain(ErrorType::FileWriteError, "not stored: an earlier write of this response failed")
}
