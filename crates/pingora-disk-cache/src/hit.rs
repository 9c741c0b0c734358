//! A response that was found.
//!
//! **Invariants**: the body is read a piece at a time, of a range only what lies in it; a body that fails ends in an error,
//! never in an end that looks whole. It stays readable to its end while the entry is evicted, replaced or purged.

use crate::error;
use async_trait::async_trait;
use bytes::Bytes;
use disk_cache::{BodyReader, Hit};
use pingora_cache::{CacheEntryId, CacheKey, Storage, storage::HandleHit, trace::SpanHandle};
use pingora_error::Result;
use std::any::Any;

pub(crate) struct DiskHit {
    reader: BodyReader,
    id: CacheEntryId,
    len: u64,
    disk_size: u64,
}

impl DiskHit {
    pub(crate) fn new(hit: &Hit) -> Self {
        Self {
            reader: hit.reader(),
            id: CacheEntryId::new(hit.id().0),
            len: hit.len(),
            disk_size: hit.disk_size(),
        }
    }
}

#[async_trait]
impl HandleHit for DiskHit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        self.reader.next().await.map_err(error::read)
    }

    async fn finish(
        self: Box<Self>,
        _: &'static (dyn Storage + Sync),
        _: &CacheKey,
        _: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    /// `end` is exclusive, and may lie past the body's end; may be called again and again, which is how Pingora reads
    /// several ranges of one body.
    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let end = end.map(|end| (end as u64).min(self.len));
        let start = start as u64;
        if start >= self.len {
            // A seek to the end itself would read as an empty body, which no range is.
            return Err(error::read(disk_cache::Error::InvalidRange {
                start,
                end: end.unwrap_or(self.len),
                len: self.len,
            }));
        }
        self.reader.seek(start, end).map_err(error::read)
    }

    fn get_eviction_weight(&self) -> usize {
        self.disk_size as usize
    }

    fn entry_id(&self) -> Option<CacheEntryId> {
        Some(self.id)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
