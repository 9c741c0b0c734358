//! What a purge is aimed at, and what it does.

use bytes::Bytes;

/// Which entries a purge is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PurgeScope {
    /// Every entry.
    All,
    /// Every entry of a namespace.
    Namespace(Bytes),
    /// All variants of one path.
    Path {
        /// The namespace.
        namespace: Bytes,
        /// The path.
        path: Bytes,
    },
    /// Every entry of a namespace whose label, or path where it has no label, begins so. A cache keeps 1,024 of these that still
    /// have something to hit; with one more, the oldest becomes a purge of its whole namespace, as of its own time
    /// ([`Stats::purges_widened`](crate::Stats::purges_widened) counts them). Of the other scopes it keeps a million.
    Prefix {
        /// The namespace.
        namespace: Bytes,
        /// How the label or path begins.
        prefix: Bytes,
    },
    /// Every entry with this tag, in all namespaces.
    Tag(Bytes),
}

/// What a purge does to the entries it is aimed at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PurgeMode {
    /// They are gone.
    #[default]
    Remove,
    /// They are stale from now on.
    Expire,
}
