//! Every lock and atomic of this crate, from the one module that the index takes its own from, so that a model checker can
//! stand in there. What tasks wait on asynchronously is tokio's.

pub(crate) use cache_index::sync::{AtomicBool, AtomicU64, Mutex, Ordering, thread_number};
