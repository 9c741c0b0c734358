//! The vocabulary of disk-cache: what a service names, what an engine implements, what a backend offers.
//!
//! **Invariants**: nothing here performs I/O, starts a thread or looks at a clock by itself; every type is
//! `Send + Sync`; whatever goes to disk is a fixed-width newtype, never a `usize`.
#![forbid(unsafe_code)]

mod admission;
mod backend;
mod body;
mod cache;
mod choice;
mod clock;
mod config;
mod durability;
mod entry_id;
mod error;
mod expiry;
mod fill;
mod follower;
mod hit;
mod inserted;
mod key;
mod options;
mod purge;
mod report;
mod size;
mod stats;
mod writer;

pub use admission::{Admission, SecondHit};
pub use backend::{Advice, BackendKind, BufResult, DirEntry, DiskBackend, IoCounts, OpenMode, aligned_buf};
pub use body::{Body, BodyReader, BodySource, BodyStream, BoxFuture};
pub use cache::{Cache, DynCache};
pub use choice::{BackendChoice, OnDamage};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use durability::Durability;
pub use entry_id::{EntryId, Target};
pub use error::{Error, Result};
pub use expiry::Expiry;
pub use fill::{BoxError, BoxFetch, Fill, PendingFetch};
pub use follower::{Fetched, Follower, GrowingBody};
pub use hit::{Hit, HitParts};
pub use inserted::Inserted;
pub use key::{CacheKey, Digest, MAX_KEY_LEN};
pub use options::{GetOptions, InsertOptions, MAX_LABEL_LEN, MAX_META_LEN, MAX_TAG_LEN, MAX_TAGS};
pub use purge::{PurgeMode, PurgeScope};
pub use report::{Dropped, RecoveryReport, RecoverySource};
pub use size::{ByteSize, ParseByteSizeError};
pub use stats::{NamespaceStats, Stats};
pub use writer::{BodySink, EntryWriter};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_type_crosses_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Hit>();
        crosses::<Follower>();
        crosses::<Fetched>();
        crosses::<EntryWriter>();
        crosses::<Fill>();
        crosses::<BodyReader>();
        crosses::<BodyStream>();
        crosses::<CacheKey>();
        crosses::<Error>();
        crosses::<InsertOptions>();
        crosses::<std::sync::Arc<dyn DynCache>>();
    }
}
