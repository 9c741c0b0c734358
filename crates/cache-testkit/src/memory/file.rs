//! An open handle: what it points to, what it may do, and the lock that goes with it.

use super::{names::Ino, world::World};
use parking_lot::Mutex;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open file. Clones are the same handle; the last one releases its lock.
#[derive(Clone)]
pub struct MemoryFile(Arc<Handle>);

pub(super) struct Handle {
    pub(super) ino: Ino,
    pub(super) id: u64,
    pub(super) writable: bool,
    pub(super) direct: bool,
    pub(super) path: PathBuf,
    world: Arc<Mutex<World>>,
}

impl MemoryFile {
    pub(super) fn new(
        world: &Arc<Mutex<World>>,
        locked: &mut World,
        ino: Ino,
        path: &Path,
        (writable, direct): (bool, bool),
    ) -> Self {
        let id = locked.process.next_handle;
        locked.process.next_handle += 1;
        *locked.process.open.entry(ino).or_default() += 1;
        Self(Arc::new(Handle { ino, id, writable, direct, path: path.to_owned(), world: world.clone() }))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0
    }

    /// What a failed sync does to the file: the bytes that were not durable may or may not be now, and no later sync makes
    /// them so, unless they are written again.
    pub fn fail_sync(&self) {
        self.0.world.lock().inode_mut(self.0.ino).fail_sync();
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("path", &self.0.path).field("handle", &self.0.id).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        if world.process.locks.get(&self.ino) == Some(&self.id) {
            world.process.locks.remove(&self.ino);
        }
        let last = match world.process.open.get_mut(&self.ino) {
            Some(count) => {
                *count -= 1;
                *count == 0
            }
            None => false,
        };
        if last {
            world.process.open.remove(&self.ino);
            world.collect();
        }
    }
}
