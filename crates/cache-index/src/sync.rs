//! Every lock and atomic of this crate and of the engine on top of it.
//!
//! **Invariants**: no other module names `parking_lot` or `std::sync::atomic`, so that a model checker can stand in here: with
//! `--cfg shuttle` they are its own, and work only inside of `explore`.

#[cfg(shuttle)]
mod checked;

#[cfg(shuttle)]
pub use checked::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, RwLock, explore};
#[cfg(not(shuttle))]
pub use parking_lot::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::Arc;
#[cfg(not(shuttle))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A value with cache lines of its own, so that writers of its neighbours do not slow its readers down. 128 bytes, since
/// the prefetcher of x86-64 fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// A number of this thread alone, counted up from 0, to spread threads over stripes. Not a step that a model checker should see.
pub fn thread_number() -> usize {
    use std::sync::atomic::AtomicUsize;
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
