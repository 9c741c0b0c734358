//! A persistent, crash-safe read-through cache around any [`object_store`]: what was read once is read from the local disk, also
//! after a restart or a `kill -9`, never takes more than its quota, and is never wrong by a byte.
//!
//! ```
//! use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
//! use object_store_disk_cache::{DiskCacheStore, Freshness, disk_cache::{ByteSize, DiskCache}};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tmp = tempfile::tempdir()?;
//! # let dir = tmp.path().join("cache");
//! let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
//! let cache = DiskCache::builder(dir).capacity(ByteSize::mib(64)).open().await?;
//! let store = DiskCacheStore::new(bucket, cache.clone(), "s3://bucket").freshness(Freshness::Immutable);
//! let path = Path::from("2026/01/a.parquet");
//! store.put(&path, "the bytes of a file".into()).await?;
//! assert_eq!(store.get_range(&path, 4..9).await?, "bytes");    // asks the bucket
//! assert_eq!(store.get_range(&path, 13..19).await?, "a file"); // does not
//! cache.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! **What is kept** of an object is its *head* (length, `ETag`, last modification, attributes), under its location, and its bytes in
//! *blocks*, 1 MiB each unless told otherwise, under its location, `ETag` and place. A reader of a few ranges, as of a Parquet file,
//! has only the blocks fetched that they lie in; a whole object is read a few blocks at a time, and memory stays flat whatever
//! its length. Since a block is named by the `ETag` of what it is part of, none is ever stale: the head alone can be, and
//! [`Freshness`] says for how long it is believed.
//!
//! **Which gets are answered**: all but those of a named version. Conditions are judged by the head; one that fails
//! (`412 Precondition Failed`), a range that does not lie in the object, and an object that turns out to be another than
//! the head says are given to the store itself, whose answer it is then, and the head is forgotten. Of a store without
//! strong `ETag`s nothing is kept, unless its objects are [`Freshness::Immutable`].
//!
//! **Writes** go to the store, and when it has answered, or refused, the head of what was written is removed, durably: who
//! gets the object after that is given the new one, and so is who asks after a crash. A get that ran at the same time cannot
//! put the old head back: what was fetched before a removal is not stored after it. A write whose future is dropped, or that
//! the store carries out after it has given up on it, is like one by another client: seen when the head is asked for again.
//!
//! **One request for all that miss the same thing at the same time**; it goes on when the first caller goes away.
//!
//! **A failing cache never fails a request**: what cannot be read from it or stored in it is fetched. What the store
//! answers with too few bytes is an error, and is not stored.
#![forbid(unsafe_code)]

mod deletes;
mod error;
mod freshness;
mod head;
mod object;
mod store;
mod upload;

pub use disk_cache;
pub use freshness::Freshness;
pub use store::DiskCacheStore;
