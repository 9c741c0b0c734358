//! The names of files and directories, as they are and as a power cut may leave them.
//!
//! **Invariants**: the current names are the durable ones with every pending change applied in order; the parts of a change
//! are kept or lost together, so a rename never loses the file. Directories are names in their parents like files are.

use super::fate::{Fate, Unsynced};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file's number.
pub(super) type Ino = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(Ino),
    Dir,
}

type Table = BTreeMap<Arc<Path>, Node>;
type Change = (Arc<Path>, Option<Node>);

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    now: Arc<Table>,
    durable: Arc<Table>,
    pending: Vec<Arc<Vec<Change>>>,
}

/// Whether a path is one that no directory needs to hold.
fn is_root(path: &Path) -> bool {
    path.parent().is_none() || path == Path::new(".")
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> io::Result<Node> {
        if is_root(path) {
            return Ok(Node::Dir);
        }
        if let Some(&node) = self.now.get(path) {
            return Ok(node);
        }
        self.need_parent(path)?;
        Err(io::ErrorKind::NotFound.into())
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Ino> {
        match self.get(path)? {
            Node::File(ino) => Ok(ino),
            Node::Dir => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn need_dir(&self, path: &Path) -> io::Result<()> {
        match self.get(path)? {
            Node::Dir => Ok(()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn need_parent(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.need_dir(parent))
    }

    fn apply(&mut self, change: Vec<Change>) {
        for (path, node) in &change {
            set(Arc::make_mut(&mut self.now), path, *node);
        }
        self.pending.push(Arc::new(change));
    }

    pub(super) fn create(&mut self, path: &Path, ino: Ino) -> io::Result<()> {
        self.need_parent(path)?;
        self.apply(vec![(path.into(), Some(Node::File(ino)))]);
        Ok(())
    }

    /// Makes a directory and its missing parents; says how many.
    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<usize> {
        match self.get(path) {
            Ok(Node::Dir) => return Ok(0),
            Ok(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let made = path.parent().map_or(Ok(0), |parent| self.create_dir(parent))?;
        self.apply(vec![(path.into(), Some(Node::Dir))]);
        Ok(made + 1)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.file(from)?;
        self.need_parent(to)?;
        if self.get(to).is_ok_and(|node| node == Node::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from != to {
            self.apply(vec![(from.into(), None), (to.into(), Some(Node::File(ino)))]);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.apply(vec![(path.into(), None)]);
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(PathBuf, Node)>> {
        self.need_dir(dir)?;
        let inside = self.now.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside.map(|(path, node)| (path.to_path_buf(), *node)).collect())
    }

    /// The names in `dir`, as they are now, become durable.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        self.need_dir(dir)?;
        let durable = Arc::make_mut(&mut self.durable);
        durable.retain(|path, _| path.parent() != Some(dir));
        durable.extend(
            self.now.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(p, n)| (p.clone(), *n)),
        );
        for change in &mut self.pending {
            if change.iter().any(|(path, _)| path.parent() == Some(dir)) {
                Arc::make_mut(change).retain(|(path, _)| path.parent() != Some(dir));
            }
        }
        self.pending.retain(|change| !change.is_empty());
        Ok(())
    }

    /// Everything becomes durable.
    pub(super) fn sync_all(&mut self) {
        self.durable = self.now.clone();
        self.pending.clear();
    }

    /// What a power cut may undo, in order.
    pub(super) fn pending(&self) -> impl Iterator<Item = Unsynced> {
        self.pending.iter().map(|change| Unsynced::Names {
            changes: change.iter().map(|(path, node)| (path.to_path_buf(), node.is_some())).collect(),
        })
    }

    /// The names after a power cut, with one fate for each pending change in order. All of it is durable then.
    pub(super) fn crashed(&self, fates: impl IntoIterator<Item = Fate>) -> Self {
        let mut table = (*self.durable).clone();
        for (change, fate) in self.pending.iter().zip(fates) {
            if fate != Fate::Lost {
                for (path, node) in change.iter() {
                    set(&mut table, path, *node);
                }
            }
        }
        // What lay in a directory that was lost is gone with it; parents sort before what is in them.
        let mut dirs = BTreeSet::new();
        table.retain(|path, node| {
            let held = path.parent().is_some_and(|parent| is_root(parent) || dirs.contains(parent));
            if held && *node == Node::Dir {
                dirs.insert(path.to_path_buf());
            }
            held
        });
        let table = Arc::new(table);
        Self { now: table.clone(), durable: table, pending: Vec::new() }
    }

    /// Every file that has a name, had one that a power cut may bring back, or may get one.
    pub(super) fn reachable(&self) -> BTreeSet<Ino> {
        let pending = self.pending.iter().flat_map(|change| change.iter().filter_map(|(_, node)| *node));
        let tables = self.now.values().chain(self.durable.values()).copied();
        tables.chain(pending).filter_map(ino).collect()
    }

    /// The name that each file has now.
    pub(super) fn by_ino(&self) -> BTreeMap<Ino, PathBuf> {
        self.now.iter().filter_map(|(path, node)| Some((ino(*node)?, path.to_path_buf()))).collect()
    }
}

fn ino(node: Node) -> Option<Ino> {
    match node {
        Node::File(ino) => Some(ino),
        Node::Dir => None,
    }
}

fn set(table: &mut Table, path: &Arc<Path>, node: Option<Node>) {
    match node {
        Some(node) => table.insert(path.clone(), node),
        None => table.remove(path),
    };
}
