//! Large bodies, one file each.
//!
//! **Invariants**: a file is written before the record that publishes it, and synced before that record is; it is unlinked
//! only after the record that replaced its own is synced, and its bytes go back to the quota when the last reader lets go.

use crate::{
    format::record::flag,
    roll::{full_disk, is_full},
    shared::Shared,
    space::Lease,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};
use blocks::Blocks;
use bytes::Bytes;
use cache_core::{DiskBackend, Error, OpenMode, Result};
use cache_index::Position;
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

pub(crate) use crate::format::object::disk_size;
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
    /// A sync of it failed: another one that goes well would prove nothing.
    failed: AtomicBool,
    /// See [`flag::UNPROVEN`].
    unproven: AtomicBool,
    open: Mutex<Option<Open<B>>>,
    /// Once it is unlinked and only readers hold it: counts its bytes as theirs.
    held: Mutex<Option<Counted>>,
}

/// A file open for reading, with the checksums of its chunks.
struct Open<B: DiskBackend> {
    file: B::File,
    checksums: Option<Bytes>,
    _counted: Counted,
}

/// A body that goes once all below `after` is synced.
struct Doomed {
    id: u64,
    after: Position,
    _coming_back: Counted,
}

/// Counts until dropped.
struct Counted {
    count: Arc<AtomicU64>,
    of: u64,
}

impl Counted {
    fn new(count: &Arc<AtomicU64>, of: u64) -> Self {
        count.fetch_add(of, Ordering::AcqRel);
        Self { count: count.clone(), of }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(self.of, Ordering::AcqRel);
    }
}

impl<B: DiskBackend> ObjectFile<B> {
    /// A body that is about to be written.
    fn new(id: u64, path: PathBuf, lease: Lease) -> Self {
        let no = || AtomicBool::new(false);
        Self {
            id,
            path,
            lease,
            synced: no(),
            failed: no(),
            unproven: no(),
            open: Mutex::new(None),
            held: Mutex::new(None),
        }
    }

    fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }
}

/// All large bodies of the cache.
pub(crate) struct Objects<B: DiskBackend> {
    all: Mutex<HashMap<u64, Arc<ObjectFile<B>>>>,
    /// Ids of files kept open, least recently opened first.
    opened: Mutex<VecDeque<u64>>,
    open_files: Arc<AtomicU64>,
    /// Bytes of bodies that are unlinked and that readers have not let go of.
    held: Arc<AtomicU64>,
    /// Held by whoever unlinks.
    unlinking: tokio::sync::Mutex<()>,
    /// Bodies to unlink.
    doomed: Mutex<Vec<Doomed>>,
    /// The last unlink failed: giving bodies up makes no room.
    unlink_failed: AtomicBool,
    /// Bytes of those and of what is being unlinked.
    coming_back: Arc<AtomicU64>,
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
            open_files: Arc::default(),
            held: Arc::default(),
            unlinking: tokio::sync::Mutex::new(()),
            doomed: Mutex::new(Vec::new()),
            unlink_failed: AtomicBool::new(false),
            coming_back: Arc::default(),
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

    /// The body of this id, where it is not synced yet.
    pub(crate) fn unsynced(&self, id: u64) -> Option<Arc<ObjectFile<B>>> {
        // 0 is no body's.
        (id != 0).then(|| self.get(id)).flatten().filter(|object| !object.is_synced())
    }

    /// [`flag::UNPROVEN`] where it holds for this body now, else no flag.
    pub(crate) fn doubt(&self, id: u64) -> u8 {
        let all = self.all.lock();
        let unproven = all.get(&id).is_some_and(|o| o.unproven.load(Ordering::Acquire));
        if unproven { flag::UNPROVEN } else { 0 }
    }

    pub(crate) fn doom(&self, id: u64, after: Position) {
        let bytes = self.get(id).map_or(0, |object| object.lease.bytes());
        let coming_back = Counted::new(&self.coming_back, bytes);
        self.doomed.lock().push(Doomed { id, after, _coming_back: coming_back });
    }

    pub(crate) fn is_dooming(&self) -> bool {
        // Under the lock in which they go from the one to the other.
        let doomed = self.doomed.lock();
        !doomed.is_empty() || self.busy.load(Ordering::Acquire) > 0
    }

    /// What has to be synced before the last of those that are doomed goes; [`Position::ZERO`] where all may go at once.
    pub(crate) fn doomed_after(&self) -> Position {
        self.doomed.lock().iter().map(|doomed| doomed.after).max().unwrap_or(Position::ZERO)
    }

    /// Bytes of bodies that are about to be unlinked, which come back then unless readers hold them.
    pub(crate) fn coming_back(&self) -> u64 {
        self.coming_back.load(Ordering::Acquire)
    }

    /// Whether a body that is given up gives its bytes back, as far as is known.
    pub(crate) fn can_be_unlinked(&self) -> bool {
        !self.unlink_failed.load(Ordering::Acquire)
    }

    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    /// Bytes that come back when readers let go, and no earlier.
    pub(crate) fn held_by_readers(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    pub(crate) fn open_files(&self) -> u64 {
        self.open_files.load(Ordering::Acquire)
    }

    fn open(&self, file: B::File, checksums: Option<Bytes>) -> Open<B> {
        Open { file, checksums, _counted: Counted::new(&self.open_files, 1) }
    }

    /// Tells writers that wait for room that there will be none.
    pub(crate) fn starve(&self) {
        if self.wanted() > 0 {
            self.starved.fetch_add(1, Ordering::AcqRel);
            self.starving.notify_waiters();
        }
    }

    /// Keeps a file open for the next reader, and lets those go that were opened longest ago.
    fn keep_open(&self, id: u64) {
        self.opened.lock().push_back(id);
        self.let_go();
    }

    /// Closes what is open beyond [`MAX_OPEN`]. A body that is not synced yet needs its handle for that.
    fn let_go(&self) {
        let mut tries = self.opened.lock().len();
        while tries > MAX_OPEN {
            tries -= 1;
            let Some(id) = self.opened.lock().pop_front() else { return };
            let Some(object) = self.get(id) else { continue };
            if object.is_synced() {
                drop(object.open.lock().take());
            } else {
                self.opened.lock().push_back(id);
            }
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
    /// Makes the file of a body, in the place of the oldest segment where the disk is full.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Closed`], those of the device. The file is gone then.
    async fn create_file(
        self: &Arc<Self>,
        object: &ObjectFile<B>,
        preallocate: Option<u64>,
        disk: u64,
    ) -> Result<B::File> {
        let (path, mode) = (&object.path, OpenMode { preallocate, ..OpenMode::CREATE_NEW });
        let file = match self.backend.open(path, mode).await {
            Err(error) if is_full(&error) && self.drop_oldest().await? => self.backend.open(path, mode).await,
            made => made,
        };
        let file = file.map_err(|e| full_disk(disk, path, e))?;
        *object.open.lock() = Some(self.objects.open(file.clone(), None));
        if self.is_closed() {
            // Nobody unlinks any more.
            if self.backend.remove(path).await.is_err() {
                self.counters.cleanup_errors.one();
            }
            return Err(Error::Closed);
        }
        Ok(file)
    }

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

    /// Syncs bodies and their names.
    ///
    /// # Errors
    /// Those of the device, now and for each of these bodies ever before.
    pub(crate) async fn sync_objects(&self, objects: &[Arc<ObjectFile<B>>]) -> Result<()> {
        let mut written = Vec::new();
        for object in objects.iter().filter(|object| !object.is_synced()) {
            let file = object.open.lock().as_ref().map(|open| open.file.clone());
            // Unlinked meanwhile: nobody needs it.
            let Some(file) = file else { continue };
            let synced = if object.failed.load(Ordering::Acquire) {
                Err(io::Error::other("an earlier sync of it failed"))
            } else {
                self.backend.sync_data(&file).await
            };
            object.failed.store(synced.is_err(), Ordering::Release);
            synced.map_err(|e| Error::io("sync", &object.path, e))?;
            written.push(object);
        }
        let dir = &self.layout.objects;
        self.backend.sync_dir(dir).await.map_err(|e| Error::io("sync", dir, e))?;
        // Not before their names: a record placed meanwhile would not wait for those.
        for object in written {
            object.synced.store(true, Ordering::Release);
        }
        self.objects.let_go();
        Ok(())
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
            let ready = |d: &mut Doomed| d.after == Position::ZERO || !blocked && d.after <= through;
            let due: Vec<Doomed> = doomed.extract_if(.., ready).collect();
            let busy = self.busy_with(due.len());
            (due, busy)
        };
        for doomed in due {
            let id = doomed.id;
            let Some(object) = self.objects.get(id) else { continue };
            let removed = match self.backend.remove(&object.path).await {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            self.objects.unlink_failed.store(removed.is_err(), Ordering::Release);
            if let Err(error) = removed {
                // The file keeps its place in the quota, and the next open removes it.
                tracing::warn!(path = %object.path.display(), %error, "a large body could not be removed");
                self.counters.cleanup_errors.one();
                continue;
            }
            self.objects.all.lock().remove(&id);
            drop(object.open.lock().take());
            *object.held.lock() = Some(Counted::new(&self.objects.held, object.lease.bytes()));
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
