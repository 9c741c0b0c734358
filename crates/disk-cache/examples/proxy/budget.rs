//! Memory that bodies may take while they are collected for the cache.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that all collections together may still take.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<AtomicU64>);

impl Budget {
    /// So many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// A grant of nothing yet.
    pub(crate) fn grant(&self) -> Grant {
        Grant { budget: self.clone(), bytes: 0 }
    }
}

/// Bytes taken from a budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    budget: Budget,
    bytes: u64,
}

impl Grant {
    /// Takes `more` bytes; `false` where they are not there.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let taken =
            self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more));
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}
