//! What the cache had to do with an answer.

use http::HeaderValue;

/// What the cache had to do with an answer; the value of `X-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// From the cache, fresh or revalidated.
    Hit,
    /// From the origin, looked for in the cache before.
    Miss,
    /// From the cache although it is no longer fresh, because the origin failed and the response allows it.
    Stale,
    /// From the origin, with a fetch that another client's request had begun.
    Joined,
    /// From the origin, and not to be cached.
    Bypass,
}

impl Verdict {
    /// The value of `X-Cache`.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
            Self::Joined => "JOINED",
            Self::Bypass => "BYPASS",
        })
    }
}
