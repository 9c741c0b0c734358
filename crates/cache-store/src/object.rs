//! Large bodies, one file each.
//!
//! **Invariants**: a file is written before the record that publishes it, and synced before that record is; it is unlinked
//! only after the record that replaced its own is synced, and its bytes go back to the quota when the last reader lets go.

use crate::{
    format::{
        Secret, object as format,
        object::{BODY_AT, CHUNK},
        record::flag,
    },
    roll::{full_disk, is_full},
    shared::Shared,
    space::Lease,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};
use blocks::Blocks;
use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, Error, OpenMode, Result};
use cache_index::{Position, Tag};
use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    pin::pin,
    sync::Arc,
};
use tokio::sync::Notify;

mod blocks;
mod room;
mod source;
mod stream;
mod whole;

pub(crate) use format::disk_size;
pub(crate) use source::ObjectSource;
pub(crate) use stream::{FilePart, GrowingObject, UncommittedBytes, checksums_from};

/// Files kept open for the next reader.
const MAX_OPEN: usize = 128;

/// One large body.
pub(crate) struct ObjectFile<B: DiskBackend> {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    /// Given back when the last holder, the registry or a reader, is gone.
    lease: Lease,
    synced: AtomicBool,
    /// See [`flag::UNPROVEN`].
    unproven: AtomicBool,
    open: Mutex<Option<Open<B>>>,
}

/// A file open for reading, with the checksums of its chunks.
struct Open<B: DiskBackend> {
    file: B::File,
    checksums: Option<Bytes>,
}

impl<B: DiskBackend> ObjectFile<B> {
    /// A body that is about to be written.
    fn new(id: u64, path: PathBuf, lease: Lease) -> Self {
        let (synced, unproven) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { id, path, lease, synced, unproven, open: Mutex::new(None) }
    }

    /// The file, where it is not synced yet.
    pub(crate) fn unsynced(&self) -> Option<B::File> {
        if self.synced.load(Ordering::Acquire) {
            return None;
        }
        self.open.lock().as_ref().map(|o| o.file.clone())
    }

    pub(crate) fn mark_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }
}

/// All large bodies of the cache.
pub(crate) struct Objects<B: DiskBackend> {
    all: Mutex<HashMap<u64, Arc<ObjectFile<B>>>>,
    /// Ids of files kept open, least recently opened first.
    opened: Mutex<VecDeque<u64>>,
    /// Held by whoever unlinks.
    unlinking: tokio::sync::Mutex<()>,
    /// Ids to unlink, each once all below its position is synced.
    doomed: Mutex<Vec<(u64, Position)>>,
    /// How many are being unlinked or synced: what is doomed of them is about to give its bytes back.
    busy: AtomicU64,
    /// Bytes that writers wait for.
    wanted: AtomicU64,
    /// Bytes of whole bodies that have their room and are not published.
    unpublished: AtomicU64,
    /// Grows when there is nothing left to reclaim for them.
    starved: AtomicU64,
    starving: Notify,
    /// Memory for writes past the page cache.
    blocks: Arc<Blocks>,
    /// The file system has shown that it knows none.
    cached_only: AtomicBool,
}

impl<B: DiskBackend> Objects<B> {
    pub(crate) fn new() -> Self {
        Self {
            all: Mutex::new(HashMap::new()),
            opened: Mutex::new(VecDeque::new()),
            unlinking: tokio::sync::Mutex::new(()),
            doomed: Mutex::new(Vec::new()),
            busy: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            unpublished: AtomicU64::new(0),
            starved: AtomicU64::new(0),
            starving: Notify::new(),
            blocks: Arc::default(),
            cached_only: AtomicBool::new(false),
        }
    }

    /// A body found on disk by an open.
    pub(crate) fn found(&self, id: u64, path: PathBuf, lease: Lease, unproven: bool) {
        let object = ObjectFile {
            synced: AtomicBool::new(true),
            unproven: AtomicBool::new(unproven),
            ..ObjectFile::new(id, path, lease)
        };
        self.all.lock().insert(id, Arc::new(object));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<ObjectFile<B>>> {
        self.all.lock().get(&id).cloned()
    }

    /// [`flag::UNPROVEN`] where it holds for this body now, else no flag.
    pub(crate) fn doubt(&self, id: u64) -> u8 {
        let all = self.all.lock();
        let unproven = all.get(&id).is_some_and(|o| o.unproven.load(Ordering::Acquire));
        if unproven { flag::UNPROVEN } else { 0 }
    }

    pub(crate) fn doom(&self, id: u64, after: Position) {
        self.doomed.lock().push((id, after));
    }

    pub(crate) fn is_dooming(&self) -> bool {
        // Under the lock in which they go from the one to the other.
        let doomed = self.doomed.lock();
        !doomed.is_empty() || self.busy.load(Ordering::Acquire) > 0
    }

    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    pub(crate) fn open_files(&self) -> u64 {
        self.all.lock().values().filter(|o| o.open.lock().is_some()).count() as u64
    }

    /// Tells writers that wait for room that there will be none.
    pub(crate) fn starve(&self) {
        if self.wanted() > 0 {
            self.starved.fetch_add(1, Ordering::AcqRel);
            self.starving.notify_waiters();
        }
    }

    /// Keeps a file open for the next reader, and lets the one go that was opened longest ago.
    fn keep_open(&self, id: u64) {
        let out = {
            let mut opened = self.opened.lock();
            opened.push_back(id);
            if opened.len() > MAX_OPEN { opened.pop_front() } else { None }
        };
        let Some(object) = out.and_then(|id| self.get(id)) else { return };
        // A body that is not synced yet needs its handle for that.
        if object.synced.load(Ordering::Acquire) {
            drop(object.open.lock().take());
        } else {
            self.opened.lock().push_back(object.id);
        }
    }
}

/// Counts bodies as busy until dropped; then reclaim looks again at what room there is.
pub(crate) struct Busy<'a, B: DiskBackend> {
    shared: &'a Shared<B>,
    count: u64,
}

impl<B: DiskBackend> Drop for Busy<'_, B> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.shared.objects.busy.fetch_sub(self.count, Ordering::AcqRel);
            self.shared.signals.reclaim.notify_one();
        }
    }
}

impl<B: DiskBackend> Shared<B> {
    pub(crate) async fn unlinker(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.unlink.notified());
            woken.as_mut().enable();
            self.unlink_doomed().await;
            if self.log.lock().shut {
                return;
            }
            woken.await;
        }
    }

    /// Unlinks every doomed body whose time has come.
    pub(crate) async fn unlink_doomed(&self) {
        // One round at a time, so that a close waits for the one under way and its runtime does not end in the middle.
        let _round = self.objects.unlinking.lock().await;
        let (through, blocked) = {
            let log = self.log.lock();
            (log.synced_through, log.barrier.is_some())
        };
        let (due, _busy) = {
            let mut doomed = self.objects.doomed.lock();
            let ready = |after: &Position| *after == Position::ZERO || !blocked && *after <= through;
            let due: Vec<u64> = doomed.iter().filter(|(_, a)| ready(a)).map(|(id, _)| *id).collect();
            doomed.retain(|(_, a)| !ready(a));
            let busy = self.busy_with(due.len());
            (due, busy)
        };
        for id in due {
            let Some(object) = self.objects.get(id) else { continue };
            match self.backend.remove(&object.path).await {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    // The file keeps its place in the quota, and the next open removes it.
                    tracing::warn!(path = %object.path.display(), %error, "a large body could not be removed");
                    self.counters.cleanup_errors.one();
                    continue;
                }
            }
            self.objects.all.lock().remove(&id);
            drop(object.open.lock().take());
            self.log.lock().forget_object(id);
            tracing::trace!(id, bytes = object.lease.bytes(), "unlinked a large body");
        }
    }

    /// Notes that so many bodies are about to be let go of.
    pub(crate) fn busy_with(&self, count: usize) -> Busy<'_, B> {
        let count = count as u64;
        self.objects.busy.fetch_add(count, Ordering::AcqRel);
        Busy { shared: self, count }
    }
}
