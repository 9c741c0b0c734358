//! A persistent, crash-safe storage for [`pingora_cache`]: responses survive restarts and `kill -9`, never take more than their
//! quota, and are never wrong by a byte.
//!
//! ```no_run
//! use disk_cache::{ByteSize, DiskCache};
//! use pingora_disk_cache::DiskCacheStorage;
//! use std::sync::OnceLock;
//!
//! static STORAGE: OnceLock<DiskCacheStorage> = OnceLock::new();
//!
//! // In `ProxyHttp::request_cache_filter`; `STORAGE` is set by `DiskCacheService`.
//! # fn filter(session_cache: &mut pingora_cache::HttpCache) {
//! if let Some(storage) = STORAGE.get() {
//!     // No eviction manager: the disk cache evicts by itself.
//!     session_cache.enable(storage, None, None, None, None);
//! }
//! # }
//! ```
//!
//! **Only the cache evicts.** It knows what its entries take on the disk, keeps them in the exact order of their use across
//! restarts, and never exceeds its capacity. A Pingora eviction manager beside it would count the same bytes a second time, forget
//! them at every restart, and delete what the cache would have kept: pass `None`. With one, everything still works: entries have
//! ids, and a purge of one exact entry never hits a newer one.
//!
//! **A full or failing disk never fails a request.** Errors of a lookup, of a fill, in the middle of a body or at its end, are
//! given to Pingora, which logs them and goes on without the cache; nothing of that body stays. An error while a stored body
//! is being *read* ends the response early, because its header is already sent: never with an end that looks whole.
//!
//! **A body that is still being written is not read**: `support_streaming_partial_write` is `false`. Were it `true`, Pingora would
//! read the body of the very request that fills the cache back through the storage, in the task that writes it, and would fail the
//! request where the storage fails. A disk that fills up in mid-body would then either break that client off, or have the rest of
//! the body, however long, kept in memory for it. As it is, that client is served from the origin's pieces directly; others
//! that want the same response wait at Pingora's cache lock until it is whole. Without a cache lock they fetch for
//! themselves, and whoever finishes first is stored.
//!
//! **Freshness** is judged by Pingora, from its own metadata. `304` writes that metadata anew, one small record where the body is
//! large, and only if the entry is still the one that was asked about. An entry past its last serve-stale window is
//! still there for a conditional request until its room is needed; [`Builder::stale_window`](disk_cache::Builder::stale_window)
//! keeps it longer.
//!
//! **Purges** by key, hard and soft, come through Pingora (`is_purge`, `purge_action`). Since Pingora hands over hashes there, the
//! bytes that were hashed, or a [`Label`], are kept beside the entry: [`DiskCacheStorage::purge_prefix`] goes by them.
//! [`DiskCacheStorage::purge_tag`] goes by the response's `Surrogate-Key`. All are durable when they return, and what was
//! fetched before a purge is not stored after it.
#![forbid(unsafe_code)]

mod error;
mod hit;
mod key;
mod meta;
mod miss;
mod purge;
mod service;
mod storage;
mod tags;

pub use disk_cache;
pub use key::Label;
pub use service::DiskCacheService;
pub use storage::DiskCacheStorage;
