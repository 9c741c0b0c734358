//! Large bodies, one file each.
//!
//! **Invariants**: a file is written before the record that publishes it, and synced before that record is; a piece is
//! verified before it is handed out; a file is unlinked only after the record that replaced its own is synced, and its
//! bytes go back to the quota when the last reader lets go.

use crate::{
    format::{
        Secret, object as format,
        object::{BODY_AT, CHUNK},
        record::flag,
    },
    io::read,
    roll::{full_disk, is_full},
    shared::Shared,
    space::Lease,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};
use bytes::{Bytes, BytesMut};
use cache_core::{BodySource, BoxFuture, DiskBackend, Error, OpenMode, Result};
use cache_index::{Position, Tag};
use std::{
    collections::{HashMap, VecDeque},
    io,
    ops::Range,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

mod stream;

pub(crate) use format::disk_size;
pub(crate) use stream::{FilePart, GrowingObject, UncommittedBytes, checksums_from};

/// Bytes read and verified at once.
const SPAN: u64 = 1 << 20;
/// Bytes that a reader is given at once: each of a thousand slow ones holds that many.
const PIECE: u64 = 2 * CHUNK;
/// Bytes written at once.
const WRITE: usize = 8 << 20;
/// How long a body waits for readers to let go of evicted ones, once nothing else can give it room. Most have read to their end
/// by then, and nothing is evicted for those that are slow.
const PATIENCE: Duration = Duration::from_millis(100);
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
    /// Grows when there is nothing left to reclaim for them.
    starved: AtomicU64,
    starving: Notify,
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
            starved: AtomicU64::new(0),
            starving: Notify::new(),
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

/// A body that is written and not yet published; dropped, it leaves nothing.
pub(crate) struct Unpublished<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    object: Option<Arc<ObjectFile<B>>>,
}

impl<B: DiskBackend> Unpublished<B> {
    pub(crate) fn object(&self) -> Option<Arc<ObjectFile<B>>> {
        self.object.clone()
    }

    /// The record that names the body has its place.
    pub(crate) fn published(mut self) {
        self.object = None;
    }
}

impl<B: DiskBackend> Drop for Unpublished<B> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.shared.objects.doom(object.id, Position::ZERO);
            self.shared.signals.unlink.notify_one();
        }
    }
}

/// A file that takes a body.
type Made<B> = (Unpublished<B>, Arc<ObjectFile<B>>, <B as DiskBackend>::File);

/// Counts bytes as wanted until dropped.
struct Wanted<'a>(&'a AtomicU64, u64);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::AcqRel);
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
    /// Writes a body to a file of its own.
    ///
    /// # Errors
    /// [`Error::StorageFull`], or those of the device. Nothing is left then.
    ///
    /// # Cancellation
    /// The making of the file goes on as a task, which then has it removed: a file that is only being made cannot be.
    pub(crate) async fn write_object(
        self: &Arc<Self>,
        id: u64,
        digest: &[u8; 16],
        body: &Bytes,
    ) -> Result<Unpublished<B>> {
        let len = body.len() as u64;
        let lease = self.lease_object(disk_size(len)).await?;
        let path = self.layout.object(id);
        let making = self.handle.spawn(self.clone().make_object(id, len, lease));
        let (unpublished, object, file) = match making.await {
            Ok(made) => made?,
            Err(died) => return Err(Error::io("create", path, io::Error::other(died))),
        };
        let checksums = checksums_of(&self.secret, id, body);
        let failed = |e| full_disk(disk_size(len), &path, e);
        let head = Bytes::from(format::encode_head(&self.uuid, id, digest, &self.secret));
        let mut at = 0;
        let mut front = vec![head];
        let mut offset = 0;
        while at < body.len() {
            let next = (at + WRITE).min(body.len());
            let mut bufs = std::mem::take(&mut front);
            bufs.push(body.slice(at..next));
            let written: u64 = bufs.iter().map(|b| b.len() as u64).sum();
            self.backend.write_at(&file, bufs, offset).await.map_err(failed)?;
            offset += written;
            at = next;
        }
        front.push(checksums.clone());
        self.backend.write_at(&file, front, offset).await.map_err(failed)?;
        self.backend.advise(&file, 0, format::file_len(len), cache_core::Advice::StartWriteback);
        self.counters.bytes_written.add(format::file_len(len));
        *object.open.lock() = Some(Open { file, checksums: Some(checksums) });
        self.objects.keep_open(id);
        Ok(unpublished)
    }

    /// Makes the file of a body of this length. What was made and is dropped is doomed, and so is what a failure leaves.
    async fn make_object(self: Arc<Self>, id: u64, len: u64, lease: Lease) -> Result<Made<B>> {
        let path = self.layout.object(id);
        let object = Arc::new(ObjectFile::new(id, path.clone(), lease));
        self.objects.all.lock().insert(id, object.clone());
        let unpublished = Unpublished { shared: self.clone(), object: Some(object.clone()) };
        let mode = OpenMode { preallocate: Some(format::file_len(len)), ..OpenMode::CREATE_NEW };
        let file = match self.backend.open(&path, mode).await {
            Err(error) if is_full(&error) => {
                if !self.drop_oldest().await? {
                    return Err(full_disk(disk_size(len), &path, error));
                }
                self.backend.open(&path, mode).await.map_err(|e| full_disk(disk_size(len), &path, e))?
            }
            other => other.map_err(|e| full_disk(disk_size(len), &path, e))?,
        };
        *object.open.lock() = Some(Open { file: file.clone(), checksums: None });
        if self.is_closed() {
            // Nobody unlinks any more.
            if self.backend.remove(&path).await.is_err() {
                self.counters.cleanup_errors.one();
            }
            return Err(Error::Closed);
        }
        Ok((unpublished, object, file))
    }

    /// Leases room for a large body: evicts and reclaims until there is some.
    async fn lease_object(&self, bytes: u64) -> Result<Lease> {
        let full = |reason: &str| Error::StorageFull { needed: bytes, reason: reason.to_owned() };
        if bytes > self.limits.live {
            return Err(full("it is larger than the cache can hold"));
        }
        self.evict_down_to(self.live_limit().saturating_sub(bytes));
        self.lease_room(bytes).await
    }

    /// [`Shared::lease_object`] for a stream, whose bytes are counted as uncommitted already.
    async fn lease_stream(&self, bytes: u64) -> Result<Lease> {
        self.evict_to_limit();
        self.lease_room(bytes).await
    }

    /// Waits until the quota has room, and reclaims for it.
    async fn lease_room(&self, bytes: u64) -> Result<Lease> {
        let full = |reason: &str| Error::StorageFull { needed: bytes, reason: reason.to_owned() };
        if !self.disk_has_room(bytes).await? && !self.drop_oldest().await? {
            return Err(full("the file system has less free space than min_free_space"));
        }
        let starved = self.objects.starved.load(Ordering::Acquire);
        let (mut wanted, mut patience) = (None, None);
        loop {
            let mut freed = pin!(self.space.freed.notified());
            freed.as_mut().enable();
            let mut starving = pin!(self.objects.starving.notified());
            starving.as_mut().enable();
            // A spare segment was opened: less must be left free for the log.
            let mut room = pin!(self.signals.room.notified());
            room.as_mut().enable();
            // The next segment and reclaim keep their room.
            let spare = self.log.lock().spare.is_some();
            let leave = self.limits.kept + if spare { 0 } else { self.limits.segment };
            if let Some(lease) = self.space.try_lease(bytes, leave) {
                return Ok(lease);
            }
            if self.log.lock().closed {
                return Err(Error::Closed);
            }
            if wanted.is_some() && self.objects.starved.load(Ordering::Acquire) != starved {
                let patience = patience.get_or_insert_with(|| Box::pin(self.sleep(PATIENCE)));
                if patience.is_elapsed() {
                    return Err(full("what occupies the quota is held by readers or writers"));
                }
            }
            if wanted.is_none() {
                self.objects.wanted.fetch_add(bytes, Ordering::AcqRel);
                wanted = Some(Wanted(&self.objects.wanted, bytes));
            }
            // Once reclaim has said that it has nothing it is not asked again: the two would keep each other awake.
            let Some(runs_out) = patience.as_mut() else {
                self.signals.reclaim.notify_one();
                tokio::select! {
                    () = freed => {}
                    () = starving => {}
                    () = room => {}
                }
                continue;
            };
            tokio::select! {
                () = freed => {}
                () = room => {}
                () = runs_out => {}
            }
        }
    }

    /// A timer of the cache's runtime: the caller's may have none.
    fn sleep(&self, time: Duration) -> tokio::time::Sleep {
        let _entered = self.handle.enter();
        tokio::time::sleep(time)
    }

    /// Opens a large body for reading. `Ok(None)`: it is missing or damaged.
    pub(crate) async fn open_object(
        self: &Arc<Self>,
        tag: Tag,
        id: u64,
        digest: &[u8; 16],
        body_len: u64,
    ) -> Result<Option<ObjectSource<B>>> {
        let Some(object) = self.objects.get(id) else { return Ok(None) };
        let opened = {
            let open = object.open.lock();
            open.as_ref().and_then(|o| o.checksums.clone().map(|c| (o.file.clone(), c)))
        };
        let (file, checksums) = if let Some(both) = opened {
            both
        } else {
            let Some((file, checksums)) = self.read_checksums(&object, digest, body_len).await? else {
                return Ok(None);
            };
            *object.open.lock() = Some(Open { file: file.clone(), checksums: Some(checksums.clone()) });
            self.objects.keep_open(id);
            (file, checksums)
        };
        let source = ObjectSource { shared: self.clone(), object, file, checksums, len: body_len, tag };
        if source.object.unproven.load(Ordering::Acquire) {
            let mut at = 0;
            while at < body_len {
                match source.read_verified(at..body_len).await {
                    Ok(piece) => at += piece.len() as u64,
                    Err(Error::Corrupt { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            source.object.unproven.store(false, Ordering::Release);
        }
        Ok(Some(source))
    }

    async fn read_checksums(
        &self,
        object: &ObjectFile<B>,
        digest: &[u8; 16],
        body_len: u64,
    ) -> Result<Option<(B::File, Bytes)>> {
        // The memory for the checksums is as long as the record says, so it must not say more than is on disk.
        if disk_size(body_len) > object.lease.bytes() {
            return Ok(None);
        }
        let io = |e: io::Error| {
            self.counters.read_errors.one();
            Error::io("read", &object.path, e)
        };
        let file = match self.backend.open(&object.path, OpenMode::READ).await {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        let (head, _) = read(&self.backend, &file, BytesMut::new(), 64, 0, true).await.map_err(io)?;
        if !format::head_fits(&head, &self.uuid, object.id, digest, &self.secret) {
            return Ok(None);
        }
        let want = format::chunks(body_len) as usize * 4;
        let (sums, _) =
            read(&self.backend, &file, BytesMut::new(), want, BODY_AT + body_len, true).await.map_err(io)?;
        Ok((sums.len() == want).then(|| (file, sums.freeze())))
    }

    /// Runs until the cache shuts: unlinks what nobody refers to.
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

fn checksums_of(secret: &Secret, id: u64, body: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(format::chunks(body.len() as u64) as usize * 4);
    for (n, chunk) in body.chunks(CHUNK as usize).enumerate() {
        out.extend_from_slice(&format::chunk_crc(secret, id, n as u64, chunk).to_le_bytes());
    }
    out.freeze()
}

/// A large body being read. Holds its file, and with it its place in the quota.
pub(crate) struct ObjectSource<B: DiskBackend> {
    shared: Arc<Shared<B>>,
    object: Arc<ObjectFile<B>>,
    file: B::File,
    checksums: Bytes,
    len: u64,
    tag: Tag,
}

impl<B: DiskBackend> ObjectSource<B> {
    /// A verified prefix of `range`, at most [`PIECE`] long.
    async fn read_verified(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.len);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let first = range.start / CHUNK;
        let from = first * CHUNK;
        let to = end.min(from + PIECE);
        let buf = BytesMut::with_capacity((self.len.min(to.next_multiple_of(CHUNK)) - from) as usize);
        let buf = self.append_chunks(buf, first, self.len.min(to.next_multiple_of(CHUNK))).await?;
        let (skip, take) = ((range.start - from) as usize, (to - from) as usize);
        Ok(buf.freeze().slice(skip..take))
    }

    /// Reads and verifies whole chunks from chunk `first` on, up to byte `to` of the body.
    async fn append_chunks(&self, buf: BytesMut, first: u64, to: u64) -> Result<BytesMut> {
        let from = first * CHUNK;
        let start = buf.len();
        let len = (to - from) as usize;
        let done = read(&self.shared.backend, &self.file, buf, len, BODY_AT + from, true).await;
        let (buf, _) = done.map_err(|e| {
            self.shared.counters.read_errors.one();
            Error::io("read", &self.object.path, e)
        })?;
        let whole = buf.len() == start + len;
        let bytes = buf.get(start..).unwrap_or_default();
        let fits = |(n, chunk): (usize, &[u8])| {
            let number = first + n as u64;
            let at = number as usize * 4;
            let crc = format::chunk_crc(&self.shared.secret, self.object.id, number, chunk);
            self.checksums.get(at..at + 4) == Some(&crc.to_le_bytes()[..])
        };
        if whole && bytes.chunks(CHUNK as usize).enumerate().all(fits) {
            return Ok(buf);
        }
        self.shared.counters.corruptions.one();
        self.shared.drop_object_entry(self.tag, self.object.id);
        let reason =
            format!("a chunk in bytes {from}..{to} does not fit its checksum; fetch the entry again");
        Err(Error::Corrupt { path: self.object.path.clone(), reason })
    }
}

impl<B: DiskBackend> BodySource for ObjectSource<B> {
    fn len(&self) -> Option<u64> {
        Some(self.len)
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.read_verified(range))
    }

    fn read_all(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            if range.start >= range.end {
                return Ok(Bytes::new());
            }
            let first = range.start / CHUNK;
            let end = self.len.min(range.end.next_multiple_of(CHUNK));
            let mut buf = BytesMut::with_capacity((end - first * CHUNK) as usize);
            let mut at = first * CHUNK;
            while at < end {
                let to = end.min(at + SPAN);
                buf = self.append_chunks(buf, at / CHUNK, to).await?;
                at = to;
                tokio::task::coop::consume_budget().await;
            }
            let skip = (range.start - first * CHUNK) as usize;
            Ok(buf.freeze().slice(skip..skip + (range.end - range.start) as usize))
        })
    }
}
