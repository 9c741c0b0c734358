//! What a cache tells about itself.

use crate::{shared::Shared, sync::Ordering};
use cache_core::{DiskBackend, Stats};

impl<B: DiskBackend> Shared<B> {
    pub(crate) fn stats(&self) -> Stats {
        let c = &self.counters;
        let io = self.backend.io_counts();
        let mut s = Stats::new(self.backend.kind());
        s.fallback_reason = self.backend.fallback_reason();
        s.entries = self.index.len();
        s.live_bytes = self.index.live_bytes();
        s.disk_bytes = self.space.used();
        s.capacity = self.space.capacity();
        s.hits = c.sum(|g| &g.hits);
        s.misses = c.sum(|g| &g.misses);
        s.fast_reads = c.sum(|g| &g.fast_reads);
        s.inserts = c.inserts.get();
        s.removes = c.removes.get();
        s.evictions = c.evictions.get();
        s.early_evictions = c.early_evictions.get();
        s.expirations = c.expirations.get();
        s.purged = c.purged.get();
        s.purges_widened = self.purges.folded();
        s.shed = c.shed.get();
        s.not_admitted = c.not_admitted.get();
        s.corruptions = c.corruptions.get();
        s.read_errors = c.read_errors.get();
        s.write_errors = c.write_errors.get();
        s.cleanup_errors = c.cleanup_errors.get();
        s.bytes_written = c.bytes_written.get();
        s.bytes_relocated = c.bytes_relocated.get();
        s.in_flight = c.in_flight();
        s.index_bytes = self.index.memory_bytes();
        s.rings = io.rings;
        s.ring_reads = io.ring_reads;
        s.ring_writes = io.ring_writes;
        s.ring_syncs = io.ring_syncs;
        s.segments = self.index.segment_ids().len() as u64;
        // The lock, every segment, and large bodies kept open.
        s.open_files = s.segments + self.objects.open_files() + u64::from(self.lock.lock().is_some());
        s.healthy = self.healthy.load(Ordering::Acquire) && self.log.lock().names_lost.is_none();
        s
    }
}
