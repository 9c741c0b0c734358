//! The quota: bytes of all files of the cache together.
//!
//! **Invariant**: `used` never exceeds the capacity, because bytes are leased before a file grows and given back only when
//! its last handle is closed.

use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;
use tokio::sync::Notify;

/// The quota of one cache.
#[derive(Debug)]
pub(crate) struct Space {
    capacity: u64,
    used: AtomicU64,
    /// Told whenever a lease shrinks or ends.
    pub(crate) freed: Notify,
}

/// Bytes leased for one file, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    space: Arc<Space>,
    bytes: AtomicU64,
}

impl Space {
    pub(crate) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self { capacity, used: AtomicU64::new(0), freed: Notify::new() })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    /// Leases `bytes` if that leaves at least `leave` bytes of the quota.
    pub(crate) fn try_lease(self: &Arc<Self>, bytes: u64, leave: u64) -> Option<Lease> {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                let after = used.checked_add(bytes)?;
                (after.checked_add(leave)? <= self.capacity).then_some(after)
            })
            .ok()
            .map(|_| Lease { space: self.clone(), bytes: AtomicU64::new(bytes) })
    }

    /// Leases bytes that are on disk already, whatever the quota says: an open must count what it finds.
    pub(crate) fn lease_found(self: &Arc<Self>, bytes: u64) -> Lease {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Lease { space: self.clone(), bytes: AtomicU64::new(bytes) }
    }
}

impl Lease {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Takes over what another lease of the same quota holds.
    pub(crate) fn absorb(&self, other: &Self) {
        self.bytes.fetch_add(other.bytes.swap(0, Ordering::AcqRel), Ordering::AcqRel);
    }

    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&self, bytes: u64) {
        let before = self.bytes.fetch_min(bytes, Ordering::AcqRel);
        if before > bytes {
            self.space.used.fetch_sub(before - bytes, Ordering::AcqRel);
            self.space.freed.notify_waiters();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_pass_the_capacity_and_come_back_when_dropped() {
        let space = Space::new(100);
        let a = space.try_lease(60, 0).unwrap();
        assert!(space.try_lease(41, 0).is_none());
        assert!(space.try_lease(30, 20).is_none());
        let b = space.try_lease(40, 0).unwrap();
        a.shrink_to(10);
        assert_eq!(space.used(), 50);
        drop((a, b));
        assert_eq!(space.used(), 0);
    }
}
