//! What the engine's parts share. Each part adds its verbs in its own file.

use crate::sync::{AtomicBool, Mutex};
use crate::{
    counters::Counters, format::Secret, inflight::Inflight, layout::Layout, log::Log, object::Objects,
    reclaim::ReclaimState, segment::Segment, space::Space, turns::Turns,
};
use cache_core::{Admission, Clock, Config, DiskBackend, RecoveryReport};
use cache_index::{Entry, Index, Position, Purges};
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{runtime::Handle, sync::Notify};

/// Wake-ups between callers and background tasks.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// There is something to write.
    pub(crate) flush: Notify,
    /// Somebody waits for a sync, or a segment was closed.
    pub(crate) commit: Notify,
    /// A segment waits for its footer.
    pub(crate) seal: Notify,
    /// The next segment is wanted.
    pub(crate) open: Notify,
    /// Space is wanted.
    pub(crate) reclaim: Notify,
    /// Files wait to be unlinked.
    pub(crate) unlink: Notify,
    /// Segments or buffers came free, or will not.
    pub(crate) room: Notify,
    /// `synced_through` moved, or a failure happened.
    pub(crate) synced: Notify,
}

pub(crate) struct Shared<B: DiskBackend> {
    pub(crate) backend: B,
    pub(crate) handle: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) uuid: [u8; 16],
    pub(crate) secret: Secret,
    pub(crate) limits: Limits,
    pub(crate) index: Index<Arc<Segment<B>>>,
    pub(crate) purges: Purges,
    pub(crate) space: Arc<Space>,
    pub(crate) log: Mutex<Log<B>>,
    pub(crate) signals: Signals,
    /// Of inserts that wait for room.
    pub(crate) turns: Turns,
    pub(crate) objects: Objects<B>,
    pub(crate) inflight: Inflight<B>,
    /// Which new keys are stored; all, unless set.
    pub(crate) admission: OnceLock<Arc<dyn Admission>>,
    pub(crate) counters: Counters,
    /// Reclaim is serial.
    pub(crate) reclaim: tokio::sync::Mutex<ReclaimState>,
    /// Held while the cache is open.
    pub(crate) lock: Mutex<Option<B::File>>,
    pub(crate) report: RecoveryReport,
    /// The same as in the log, for gets, which do not take its lock.
    pub(crate) closed: AtomicBool,
    /// The task that makes segments, which a close waits for.
    pub(crate) opening: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// The last write and the last sync went well.
    pub(crate) healthy: AtomicBool,
}

/// Sizes derived from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) segment: u64,
    /// Bodies longer than this go out of line.
    pub(crate) inline: u64,
    /// Longest record that a segment takes.
    pub(crate) record: u64,
    /// Kept free for reclaim's copies and for debts.
    pub(crate) kept: u64,
    /// Entries may take so much, so that reclaim always finds dead bytes.
    pub(crate) live: u64,
    /// Bytes of one write buffer.
    pub(crate) buffer: u64,
    /// Write buffers for inserts; control records and reclaim have one more each.
    pub(crate) buffers: usize,
    pub(crate) max_entry: u64,
}

/// Of so many segments one is kept free, so that reclaim empties several for one sync.
const KEPT_OF: u64 = 48;
/// More than these would make nothing cheaper.
const MOST_KEPT: u64 = 4;

impl Limits {
    pub(crate) fn new(config: &Config, segment: u64) -> Self {
        use crate::format::{BLOCK, footer, record, row::ROW_LEN};
        let capacity = config.capacity.bytes();
        let record = (segment - footer::FIXED_LEN - ROW_LEN).min(record::MAX_RECORD - 8);
        // A sealed file ends in a footer's fixed part and a partly filled block.
        let per_segment = footer::FIXED_LEN + BLOCK / 2;
        let overhead = capacity / segment * per_segment.min(segment / 4);
        let kept = segment * (capacity / segment / KEPT_OF).clamp(1, MOST_KEPT);
        // The active segment and the spare one are not the entries' either.
        let live = capacity.saturating_sub(2 * segment + kept).saturating_sub(overhead);
        let buffer = (1 << 20).min(segment / 2).min(config.write_buffer.bytes() / 2).max(4096);
        Self {
            segment,
            inline: record::MAX_INLINE.min(segment / 8),
            record,
            kept,
            live,
            buffer,
            buffers: usize::try_from(config.write_buffer.bytes() / buffer).unwrap_or(2).max(2),
            max_entry: config.max_entry_bytes(),
        }
    }
}

impl<B: DiskBackend> Shared<B> {
    /// A timer of the cache's runtime: the caller's may have none.
    pub(crate) fn sleep(&self, time: Duration) -> tokio::time::Sleep {
        let _entered = self.handle.enter();
        tokio::time::sleep(time)
    }

    /// Unix milliseconds now; at least 1, which is the earliest time that an entry can expire.
    pub(crate) fn now_ms(&self) -> u64 {
        to_ms(self.clock.now()).max(1)
    }

    /// What is to be done about an entry that left the index: its large body goes too. `after` is the position whose sync
    /// makes that safe: the record that replaced it; `None` for an evicted one, which may go at once.
    pub(crate) fn discard(&self, entry: &Entry, after: Option<Position>) {
        if let Some(object) = entry.object {
            self.objects.doom(object.id, after.unwrap_or(Position::ZERO));
            self.signals.unlink.notify_one();
        }
    }

    /// Evicts the least recently used entries until the others take at most `limit` bytes. Returns whether they do.
    pub(crate) fn evict_down_to(&self, limit: u64) -> bool {
        while self.index.live_bytes() > limit {
            let Some((_, entry)) = self.index.evict() else { return false };
            self.counters.evictions.one();
            self.discard(&entry, None);
        }
        true
    }

    /// Evicts what entries have beyond their share.
    pub(crate) fn evict_to_limit(&self) {
        self.evict_down_to(self.live_limit_beside(0));
    }

    /// Runs a background task until the cache shuts.
    pub(crate) fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.handle.spawn(task)
    }
}

pub(crate) fn to_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn from_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}
