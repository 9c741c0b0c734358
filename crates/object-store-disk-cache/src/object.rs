//! An object whose head is known: its bytes, block by block.
//!
//! **Invariants**: a block that is stored is whole and of the object that its key names; what is handed out of one object is
//! all of it, in order, or ends in an error; at most [`READ_AHEAD`] blocks of one get are in memory.

use crate::{
    DiskCacheStore,
    error::{self, NAME, outdated},
    head::Head,
};
use bytes::Bytes;
use disk_cache::{CacheKey, Expiry, Fetched, InsertOptions};
use futures_util::{StreamExt, TryStreamExt, future::ready, stream, stream::BoxStream};
use object_store::{
    Error, Extensions, GetOptions, GetRange, GetResult, GetResultPayload, Result, coalesce_ranges, path::Path,
};
use std::{ops::Range, sync::Arc};
use tracing::debug;

/// Blocks of one get that are read at the same time.
const READ_AHEAD: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Object {
    store: DiskCacheStore,
    location: Path,
    head: Arc<Head>,
    /// Of the request that is answered, for those that it makes of the store.
    extensions: Extensions,
}

/// Bytes of the object that lie in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    block: u64,
    /// Counted from the block's first byte.
    within: Range<u64>,
}

impl Object {
    pub(crate) fn new(store: &DiskCacheStore, location: &Path, head: Head, extensions: &Extensions) -> Self {
        let (store, location) = (store.clone(), location.clone());
        Self { store, location, head: Arc::new(head), extensions: extensions.clone() }
    }

    /// Answers a get.
    ///
    /// # Errors
    /// Those of the store; [`error::is_outdated`] where it has to be asked itself.
    pub(crate) async fn get(&self, options: &GetOptions) -> Result<GetResult> {
        options.check_preconditions(&self.head.meta)?;
        let range = match &options.range {
            Some(range) => self.resolve(range)?,
            None => 0..self.head.meta.size,
        };
        let body = if options.head { stream::empty().boxed() } else { self.stream(&range).await? };
        Ok(GetResult {
            payload: GetResultPayload::Stream(body),
            meta: self.head.meta.clone(),
            range,
            attributes: self.head.attributes.clone(),
            extensions: Extensions::new(),
        })
    }

    /// The bytes of each range.
    ///
    /// # Errors
    /// Those of [`Object::get`].
    pub(crate) async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        for range in ranges {
            self.resolve(&GetRange::Bounded(range.clone()))?;
        }
        // Nothing is gained by reading what lies between two ranges.
        coalesce_ranges(ranges, |range| self.bytes(range.start..range.end.min(self.head.meta.size)), 0).await
    }

    fn resolve(&self, range: &GetRange) -> Result<Range<u64>> {
        range.as_range(self.head.meta.size).map_err(|invalid| outdated(&self.location, invalid))
    }

    async fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        let pieces = stream::iter(self.pieces(&range)).map(|piece| self.read(piece));
        let read: Vec<_> = pieces.buffered(READ_AHEAD).try_collect().await?;
        Ok(<[Bytes; 1]>::try_from(read).map_or_else(|several| several.concat().into(), |[all]| all))
    }

    /// The bytes of a range, the first of them already here.
    async fn stream(&self, range: &Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut pieces = self.pieces(range);
        // A block that has to be fetched shows whether the object is still what it was taken for, now that the store can
        // answer instead.
        let missing = pieces.clone().find(|piece| !self.store.cache.contains(&self.key(piece.block)));
        let Some(first) = pieces.next() else { return Ok(stream::empty().boxed()) };
        if let Some(missing) = missing.filter(|piece| *piece != first) {
            self.read(missing).await?;
        }
        let first = stream::once(ready(Ok(self.read(first).await?)));
        let object = self.clone();
        let rest = stream::iter(pieces).map(move |piece| {
            let object = object.clone();
            async move { object.read(piece).await }
        });
        Ok(first.chain(rest.buffered(READ_AHEAD)).boxed())
    }

    /// A piece, from the cache or the store.
    async fn read(&self, piece: Piece) -> Result<Bytes> {
        let Piece { block, within } = piece;
        let (key, object) = (self.key(block), self.clone());
        let fetched = self.store.cache.get_or_fetch(&key, move |fill| async move {
            // Whole before it is begun, so that a body that breaks off is an error of the store for all that wait.
            let body = object.fetch(object.extent(block)).await?;
            let mut writer = fill.begin(InsertOptions::new().expiry(Expiry::Never)).await?;
            writer.write(body).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(writer.commit().await?)
        });
        let read = match fetched.await {
            Ok(Fetched::Hit(hit)) => hit.read_range(within.clone()).await,
            Ok(Fetched::Following(body)) => {
                body.bytes().await.map(|body| body.slice(within.start as usize..within.end as usize))
            }
            Ok(_) => Err(disk_cache::Error::WriterAborted),
            Err(failed) => Err(failed),
        };
        let failed = match read {
            Ok(bytes) => return Ok(bytes),
            Err(failed) => failed,
        };
        if let Some(error) = error::of_store(&failed) {
            return Err(error);
        }
        debug!(%failed, location = %self.location, block, "a block is read without the cache");
        let start = self.extent(block).start;
        self.fetch(start + within.start..start + within.end).await
    }

    /// Bytes of the object, from the store.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let options = GetOptions::new()
            .with_range(Some(range.clone()))
            .with_if_match(self.head.strong_e_tag())
            .with_extensions(self.extensions.clone());
        let answer = self.store.inner.get_opts(&self.location, options).await?;
        if !self.head.is_of(&answer.meta, self.store.freshness) || answer.range != range {
            return Err(outdated(&self.location, "it was replaced while it was read"));
        }
        let body = answer.bytes().await?;
        if body.len() as u64 != range.end - range.start {
            let source = format!("{} has {} bytes where {range:?} was asked for", self.location, body.len());
            return Err(Error::Generic { store: NAME, source: source.into() });
        }
        Ok(body)
    }

    /// The blocks that a range lies in, and what of it lies in each.
    fn pieces(&self, range: &Range<u64>) -> impl Iterator<Item = Piece> + Clone + Send + use<> {
        let (size, range) = (self.store.block_size, range.clone());
        let blocks = if range.is_empty() { 0..0 } else { range.start / size..range.end.div_ceil(size) };
        blocks.map(move |block| {
            let first = block * size;
            Piece { block, within: range.start.max(first) - first..range.end.min(first + size) - first }
        })
    }

    /// Where in the object a block lies.
    fn extent(&self, block: u64) -> Range<u64> {
        let start = block * self.store.block_size;
        start..(start + self.store.block_size).min(self.head.meta.size)
    }

    fn key(&self, block: u64) -> CacheKey {
        let Head { meta, identity, .. } = &*self.head;
        let variant = format!("block/{}/{block}/{}/{identity}", self.store.block_size, meta.size);
        self.store.key(&self.location).with_variant(variant)
    }
}
