//! The backend over a world in memory.

use super::{
    MemoryFile,
    fate::{CrashPlan, Fate, Unsynced},
    names::Node,
    op::{MemoryOp, Phase, Step},
    world::World,
};
use bytes::{Bytes, BytesMut};
use cache_core::{BackendKind, BufResult, DirEntry, DiskBackend, OpenMode};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What direct operations are multiples of.
const BLOCK: u64 = 4096;

type Hook = Arc<dyn Fn(&MemoryOp, Phase) + Send + Sync>;

/// Files in memory. Clones share them; [`fork`](Self::fork) copies them.
///
/// Page-cache reads answer nothing unless [`answer_cached_reads`](Self::answer_cached_reads) says so, so that a modelled run
/// takes the same way as one on a cold disk. Direct handles take aligned operations only, as on a disk.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    world: Arc<Mutex<World>>,
    settings: Arc<Settings>,
}

#[derive(Default)]
struct Settings {
    cached_reads: AtomicBool,
    no_direct: AtomicBool,
    /// Free bytes to report, plus one; 0 is "does not tell".
    free_space: AtomicU64,
    hook: RwLock<Option<Hook>>,
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world.lock();
        f.debug_struct("MemoryBackend")
            .field("files", &world.inodes.len())
            .field("ops", &world.process.ops)
            .finish_non_exhaustive()
    }
}

impl MemoryBackend {
    /// An empty disk. Only the root directories `/`, `.` and the empty path exist.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk on which this directory and its parents exist durably.
    ///
    /// # Panics
    /// If a path that cannot be made is asked for, such as one without a parent.
    pub fn with_dir(dir: impl AsRef<Path>) -> Self {
        let backend = Self::new();
        let mut world = backend.world.lock();
        world.names.create_dir(dir.as_ref()).expect("an empty disk has room for a directory");
        world.names.sync_all();
        drop(world);
        backend
    }

    /// Whether `try_read_cached` answers, as if every byte were in the page cache.
    pub fn answer_cached_reads(&self, answers: bool) {
        self.settings.cached_reads.store(answers, Ordering::Relaxed);
    }

    /// Whether a direct open is refused from now on, as by a file system that has none.
    pub fn refuse_direct(&self, refuses: bool) {
        self.settings.no_direct.store(refuses, Ordering::Relaxed);
    }

    /// What `free_space` answers; at first `None`.
    pub fn set_free_space(&self, bytes: Option<u64>) {
        self.settings.free_space.store(bytes.map_or(0, |b| b.saturating_add(1)), Ordering::Relaxed);
    }

    /// Calls a function before and after every operation that changes something, `After` only where it succeeded. No lock
    /// is held meanwhile, so it may [`fork`](Self::fork); for exact copies under concurrency, [`record`](Self::record).
    pub fn set_hook(&self, hook: impl Fn(&MemoryOp, Phase) + Send + Sync + 'static) {
        *self.settings.hook.write() = Some(Arc::new(hook));
    }

    /// Starts to keep every changing operation that succeeds, with a copy of the disk as it left it.
    pub fn record(&self) {
        self.world.lock().process.recording = Some(Vec::new());
    }

    /// Ends the recording and hands it out, in the order of the operations.
    pub fn recorded(&self) -> Vec<Step> {
        self.world.lock().process.recording.take().unwrap_or_default()
    }

    /// How many changing operations succeeded on this disk (not on the one it was copied from).
    pub fn ops(&self) -> u64 {
        self.world.lock().process.ops
    }

    /// Handles that are open.
    pub fn open_handles(&self) -> usize {
        self.world.lock().process.open.values().sum()
    }

    /// A copy of the disk as it is, pages that no sync has seen included. It has no handles, no locks, no hook.
    pub fn fork(&self) -> Self {
        Self::of(self.world.lock().clone())
    }

    /// The disk after the process was killed: all that was written is there, every lock is free. Handles that are still
    /// around go on with the old disk and do not reach this one.
    pub fn kill(&self) -> Self {
        self.fork()
    }

    /// Everything that a power cut may undo now, in the order in which [`crash`](Self::crash) asks for its fate.
    pub fn unsynced(&self) -> Vec<Unsynced> {
        self.world.lock().unsynced()
    }

    /// The disk after a power cut that did to every unsynced change what `choice` says. This one is unharmed.
    pub fn crash(&self, choice: impl FnMut(&Unsynced) -> Fate) -> Self {
        let world = self.world.lock().clone();
        Self::of(world.crashed(choice))
    }

    /// The disk after a power cut by plan. This one is unharmed.
    pub fn crash_with(&self, plan: CrashPlan) -> Self {
        let world = self.world.lock().clone();
        Self::of(world.crashed_with(plan))
    }

    fn of(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), settings: Arc::default() }
    }

    /// Performs a changing operation between its hooks, counts and records it.
    fn change<T>(
        &self,
        op: &MemoryOp,
        change: impl FnOnce(&mut MutexGuard<'_, World>) -> io::Result<T>,
    ) -> io::Result<T> {
        let hook = self.settings.hook.read().clone();
        if let Some(hook) = &hook {
            hook(op, Phase::Before);
        }
        let mut world = self.world.lock();
        let done = change(&mut world)?;
        world.process.ops += 1;
        if world.process.recording.is_some() {
            let step = Step { op: op.clone(), after: Self::of(world.clone()) };
            world.process.recording.get_or_insert_default().push(step);
        }
        drop(world);
        if let Some(hook) = &hook {
            hook(op, Phase::After);
        }
        Ok(done)
    }

    fn open_handle(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        let writable = mode.write || mode.create || mode.create_new;
        if mode.preallocate.is_some() && !writable {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        check_range(mode.preallocate.unwrap_or(0), 0)?;
        if mode.direct && self.settings.no_direct.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let may = (writable, mode.direct);
        let handle = |world: &mut World, ino| MemoryFile::new(&self.world, world, ino, path, may);
        let existing = {
            let mut world = self.world.lock();
            match world.names.get(path) {
                Ok(_) if mode.create_new => return Err(io::ErrorKind::AlreadyExists.into()),
                Ok(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
                Ok(Node::File(ino)) => Some(handle(&mut world, ino)),
                Err(e) if e.kind() == io::ErrorKind::NotFound && (mode.create || mode.create_new) => None,
                Err(e) => return Err(e),
            }
        };
        let file = match existing {
            Some(file) => file,
            None => self.change(&MemoryOp::Create(path.into()), |world| {
                // Between the two looks another may have made it.
                match world.names.get(path) {
                    Ok(Node::File(ino)) if !mode.create_new => return Ok(handle(world, ino)),
                    Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                    Err(_) => {}
                }
                let ino = world.make_inode();
                if let Err(e) = world.names.create(path, ino) {
                    world.collect();
                    return Err(e);
                }
                Ok(handle(world, ino))
            })?,
        };
        if let Some(len) = mode.preallocate {
            self.change(&MemoryOp::Preallocate(path.into(), len), |world| {
                let inode = world.inode_mut(file.handle().ino);
                if inode.len() < len {
                    inode.set_len(len);
                }
                Ok(())
            })?;
        }
        Ok(file)
    }
}

/// As every backend: a range within the signed numbers.
fn check_range(offset: u64, len: u64) -> io::Result<()> {
    match offset.checked_add(len) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// What a disk asks of operations that bypass the page cache.
fn check_aligned(file: &MemoryFile, offset: u64, len: u64, place: usize) -> io::Result<()> {
    let aligned = [offset, len, place as u64].iter().all(|n| n.is_multiple_of(BLOCK));
    if aligned || !file.handle().direct { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn need_writable(file: &MemoryFile) -> io::Result<()> {
    if file.handle().writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

impl DiskBackend for MemoryBackend {
    type File = MemoryFile;

    fn kind(&self) -> BackendKind {
        BackendKind::Memory
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        self.open_handle(path, mode)
    }

    async fn len(&self, file: &MemoryFile) -> io::Result<u64> {
        Ok(self.world.lock().inode(file.handle().ino).len())
    }

    async fn set_len(&self, file: &MemoryFile, len: u64) -> io::Result<()> {
        need_writable(file)?;
        check_range(len, 0)?;
        let handle = file.handle();
        self.change(&MemoryOp::SetLen(handle.path.clone(), len), |world| {
            world.inode_mut(handle.ino).set_len(len);
            Ok(())
        })
    }

    async fn read_at(&self, file: &MemoryFile, mut buf: BytesMut, len: usize, offset: u64) -> BufResult {
        if let Err(e) = check_range(offset, len as u64) {
            return (Err(e), buf);
        }
        buf.reserve(len);
        let place = buf.as_ptr() as usize + buf.len();
        let read = check_aligned(file, offset, len as u64, place)
            .map(|()| self.world.lock().inode(file.handle().ino).read(offset, len, &mut buf));
        (read, buf)
    }

    fn try_read_cached(
        &self,
        file: &MemoryFile,
        buf: &mut BytesMut,
        len: usize,
        offset: u64,
    ) -> io::Result<usize> {
        if file.handle().direct || !self.settings.cached_reads.load(Ordering::Relaxed) {
            return Ok(0);
        }
        check_range(offset, len as u64)?;
        Ok(self.world.lock().inode(file.handle().ino).read(offset, len, buf))
    }

    async fn write_at(&self, file: &MemoryFile, bufs: Vec<Bytes>, offset: u64) -> io::Result<()> {
        need_writable(file)?;
        let len = bufs.iter().map(|b| b.len() as u64).sum();
        check_range(offset, len)?;
        for buf in &bufs {
            check_aligned(file, offset, buf.len() as u64, buf.as_ptr() as usize)?;
        }
        let handle = file.handle();
        self.change(&MemoryOp::Write { path: handle.path.clone(), offset, len }, |world| {
            world.inode_mut(handle.ino).write(&bufs, offset);
            Ok(())
        })
    }

    async fn sync_data(&self, file: &MemoryFile) -> io::Result<()> {
        let handle = file.handle();
        self.change(&MemoryOp::SyncData(handle.path.clone()), |world| {
            world.inode_mut(handle.ino).sync();
            Ok(())
        })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(&MemoryOp::Rename(from.into(), to.into()), |world| world.names.rename(from, to))
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(&MemoryOp::Remove(path.into()), |world| world.names.remove(path))
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.world.lock();
        let names = world.names.list(dir)?.into_iter();
        let len = |node| match node {
            Node::File(ino) => world.inode(ino).len(),
            Node::Dir => 0,
        };
        Ok(names.map(|(path, node)| DirEntry { path, len: len(node) }).collect())
    }

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if matches!(self.world.lock().names.get(dir), Ok(Node::Dir)) {
            return Ok(());
        }
        self.change(&MemoryOp::CreateDir(dir.into()), |world| world.names.create_dir(dir).map(|_| ()))
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(&MemoryOp::SyncDir(dir.into()), |world| {
            world.names.sync(dir)?;
            world.collect();
            Ok(())
        })
    }

    async fn free_space(&self, _dir: &Path) -> io::Result<Option<u64>> {
        Ok(self.settings.free_space.load(Ordering::Relaxed).checked_sub(1))
    }

    async fn try_lock(&self, file: &MemoryFile) -> io::Result<bool> {
        let handle = file.handle();
        let holder = *self.world.lock().process.locks.entry(handle.ino).or_insert(handle.id);
        Ok(holder == handle.id)
    }
}
