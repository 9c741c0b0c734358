//! An embeddable, persistent, crash-safe disk cache: bytes under a key, back quickly, also after a restart or a crash, and
//! never a wrong byte.
//!
//! ```
//! use disk_cache::{ByteSize, Cache, CacheKey, DiskCache};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), disk_cache::Error> {
//! # let tmp = tempfile::tempdir().expect("a directory for the example");
//! # let dir = tmp.path().join("cache");
//! let cache = DiskCache::builder(dir).capacity(ByteSize::mib(64)).open().await?;
//! let key = CacheKey::new("bucket", "images/a.jpg");
//! cache.insert(&key, "the body".into()).await?;
//! let hit = cache.get(&key).await?.expect("it was stored a moment ago");
//! assert_eq!(hit.bytes().await?, "the body");
//! cache.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Invariants** of this crate: it adds names and the choice of the backend, nothing else; what the verbs do is
//! `cache-store`'s. The verbs of the trait [`Cache`] are inherent methods here as well.
//!
//! **Runtimes**: the cache brings a small runtime of its own for its background work and its blocking calls, so that it
//! works from any tokio runtime and from none. A process that forks opens it after the fork.
#![forbid(unsafe_code)]

mod builder;
mod disk_cache;
mod keeping_open;
mod platform;
mod runtime;

pub use builder::Builder;
// Not what backends are made of: that is cache-core's own.
pub use cache_core::{
    Admission, BackendChoice, BackendKind, Body, BodyReader, BodySink, BodySource, BodyStream, BoxError,
    BoxFetch, BoxFuture, ByteSize, Cache, CacheKey, Clock, Config, Digest, Dropped, Durability, DynCache,
    EntryId, EntryWriter, Error, Expiry, Fetched, Fill, Follower, GetOptions, GrowingBody, Hit, HitParts,
    InsertOptions, Inserted, MAX_KEY_LEN, MAX_LABEL_LEN, MAX_META_LEN, MAX_TAG_LEN, MAX_TAGS, ManualClock,
    NamespaceStats, OnDamage, ParseByteSizeError, PendingFetch, PurgeMode, PurgeScope, RecoveryReport,
    RecoverySource, Result, SecondHit, Stats, SystemClock, Target,
};
pub use disk_cache::DiskCache;
