//! All files, names, locks and open handles of one machine's disk.

use super::{
    fate::{CrashPlan, Fate, Unsynced},
    inode::{Inode, Pending},
    names::{Ino, Names},
    op::Step,
};
use std::{collections::BTreeMap, sync::Arc};

/// The state. A copy costs a pointer per file and no file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) names: Names,
    pub(super) inodes: BTreeMap<Ino, Arc<Inode>>,
    next_ino: Ino,
    /// What the process has: gone when it is killed.
    pub(super) process: Process,
}

/// What dies with the process, and what is only for watching.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) next_handle: u64,
    /// Handles by file.
    pub(super) open: BTreeMap<Ino, usize>,
    /// The handle that has the file's lock.
    pub(super) locks: BTreeMap<Ino, u64>,
    pub(super) ops: u64,
    pub(super) recording: Option<Vec<Step>>,
}

/// A copy of a disk is a disk without the process that used it.
impl Clone for Process {
    fn clone(&self) -> Self {
        Self { next_handle: self.next_handle, ..Self::default() }
    }
}

impl World {
    pub(super) fn inode(&self, ino: Ino) -> &Inode {
        self.inodes.get(&ino).expect("a file with a name or a handle exists")
    }

    pub(super) fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        Arc::make_mut(self.inodes.get_mut(&ino).expect("a file with a name or a handle exists"))
    }

    pub(super) fn make_inode(&mut self) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.inodes.insert(ino, Arc::default());
        ino
    }

    /// Forgets the files that nothing can reach any more.
    pub(super) fn collect(&mut self) {
        let reachable = self.names.reachable();
        let open = &self.process.open;
        self.inodes.retain(|ino, _| reachable.contains(ino) || open.contains_key(ino));
    }

    /// Everything that a power cut may undo: names first, then file by file.
    pub(super) fn unsynced(&self) -> Vec<Unsynced> {
        let paths = self.names.by_ino();
        let files = self.inodes.iter().flat_map(|(ino, inode)| {
            let path = paths.get(ino);
            inode.pending().map(move |pending| describe(pending, path.cloned()))
        });
        self.names.pending().chain(files).collect()
    }

    /// The disk after a power cut.
    pub(super) fn crashed(&self, choice: impl FnMut(&Unsynced) -> Fate) -> Self {
        let unsynced = self.unsynced();
        let mut fates = unsynced.iter().map(choice);
        let names = self.names.pending().count();
        let names = self.names.crashed(fates.by_ref().take(names).collect::<Vec<_>>());
        let mut inodes = BTreeMap::new();
        for (ino, inode) in &self.inodes {
            let own: Vec<_> = fates.by_ref().take(inode.pending().count()).collect();
            inodes.insert(*ino, Arc::new(inode.crashed(own)));
        }
        let mut world = Self { names, inodes, next_ino: self.next_ino, process: Process::default() };
        world.collect();
        world
    }

    /// The disk after a power cut by plan.
    pub(super) fn crashed_with(&self, plan: CrashPlan) -> Self {
        self.crashed(plan.fates(self.unsynced().len()))
    }
}

fn describe(pending: &Pending, path: Option<std::path::PathBuf>) -> Unsynced {
    match pending {
        Pending::SetLen(len) => Unsynced::SetLen { path, len: *len },
        Pending::Write { parts, .. } => {
            let offset = parts.first().map_or(0, |(offset, _)| *offset);
            let len = parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            Unsynced::Write { path, offset, len }
        }
    }
}
