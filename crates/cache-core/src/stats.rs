//! What a cache counted.

use crate::BackendKind;

/// A plain snapshot of a cache's counters and sizes. Counters start at zero when the cache is opened; bytes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Which backend answers now.
    pub backend: BackendKind,
    /// Why it is not the one wished for, if so.
    pub fallback_reason: Option<String>,
    /// Entries in the index; those that a purge by scope hit count until they are met.
    pub entries: u64,
    /// Bytes on disk that the entries take.
    pub live_bytes: u64,
    /// Bytes of all files of the cache, those that only readers still hold included; never above `capacity`.
    pub disk_bytes: u64,
    /// The quota.
    pub capacity: u64,
    /// Gets that found an entry.
    pub hits: u64,
    /// Gets that did not.
    pub misses: u64,
    /// Bodies stored.
    pub inserts: u64,
    /// Keys removed by `remove` that were there.
    pub removes: u64,
    /// Entries evicted because they were the least recently used.
    pub evictions: u64,
    /// Entries that reclaim gave up to keep write amplification, or itself, within bounds.
    pub early_evictions: u64,
    /// Entries found expired, by a get or by reclaim.
    pub expirations: u64,
    /// Entries dropped because a purge applies to them, counted when they are met.
    pub purged: u64,
    /// Purges that became wider, because a cache keeps 1,024 by prefix (the oldest becomes one of its whole namespace) and a
    /// million by namespace, path or tag (the oldest become one of everything before them).
    pub purges_widened: u64,
    /// Inserts given up under pressure.
    pub shed: u64,
    /// Inserts that the admission policy refused.
    pub not_admitted: u64,
    /// Records or pieces of bodies that did not verify.
    pub corruptions: u64,
    /// Reads that the device refused.
    pub read_errors: u64,
    /// Writes and syncs that the device refused.
    pub write_errors: u64,
    /// Files that could not be removed, directories that could not be synced, hints aside.
    pub cleanup_errors: u64,
    /// Bytes of records and bodies written.
    pub bytes_written: u64,
    /// Of those, bytes that reclaim moved.
    pub bytes_relocated: u64,
    /// Operations of the API under way.
    pub in_flight: u64,
    /// Memory of the index.
    pub index_bytes: u64,
    /// Gets served from the page cache without a thread hop.
    pub fast_reads: u64,
    /// Rings in use.
    pub rings: u64,
    /// Reads that a ring completed.
    pub ring_reads: u64,
    /// Writes that a ring completed.
    pub ring_writes: u64,
    /// Data syncs that a ring completed.
    pub ring_syncs: u64,
    /// Files open.
    pub open_files: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Whether the last write and the last sync went well. `false` for good once the names of segments could not be synced or
    /// removed: reads go on, and so do inserts until the quota is full, but no room is given back before the cache is opened
    /// again.
    pub healthy: bool,
}

impl Stats {
    /// All zero, of this backend.
    pub fn new(backend: BackendKind) -> Self {
        Self {
            backend,
            fallback_reason: None,
            entries: 0,
            live_bytes: 0,
            disk_bytes: 0,
            capacity: 0,
            hits: 0,
            misses: 0,
            inserts: 0,
            removes: 0,
            evictions: 0,
            early_evictions: 0,
            expirations: 0,
            purged: 0,
            purges_widened: 0,
            shed: 0,
            not_admitted: 0,
            corruptions: 0,
            read_errors: 0,
            write_errors: 0,
            cleanup_errors: 0,
            bytes_written: 0,
            bytes_relocated: 0,
            in_flight: 0,
            index_bytes: 0,
            fast_reads: 0,
            rings: 0,
            ring_reads: 0,
            ring_writes: 0,
            ring_syncs: 0,
            open_files: 0,
            segments: 0,
            healthy: true,
        }
    }
}

/// What was counted for one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceStats {
    /// Gets that found an entry.
    pub hits: u64,
    /// Gets that did not.
    pub misses: u64,
    /// Bodies stored.
    pub inserts: u64,
    /// Purges aimed at the namespace, or at a path or prefix in it.
    pub purges: u64,
}
