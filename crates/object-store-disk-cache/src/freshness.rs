//! How long the head of an object is believed.

use disk_cache::Expiry;
use std::time::Duration;

/// How long it is believed that an object is still the one it was. Bytes are kept by the object's `ETag`, so that this
/// decides how often the store is asked for it (a request without a body), not how often it is asked for bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// Not at all: each get asks, and sees what was written before it, by whomever.
    #[default]
    EveryTime,
    /// So long after it was last asked for. What other clients write is seen that much later at most.
    MaxAge(Duration),
    /// For ever: no object is written twice under one location, as in content-addressed and table stores. Such a store can also be
    /// one that gives no `ETag`s.
    Immutable,
}

impl Freshness {
    /// When a head that is stored now is to be asked for again.
    pub(crate) fn expiry(self) -> Expiry {
        match self.age() {
            Duration::MAX => Expiry::Never,
            age => Expiry::After(age),
        }
    }

    /// For how long a head is believed.
    pub(crate) fn age(self) -> Duration {
        match self {
            Self::EveryTime => Duration::ZERO,
            Self::MaxAge(age) => age,
            Self::Immutable => Duration::MAX,
        }
    }
}
