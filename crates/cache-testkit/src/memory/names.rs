//! The names of files and directories, as they are and as a power cut may leave them.
//!
//! **Invariants**: the current names are the durable ones with every pending change applied in order; the parts of a change
//! are kept or lost together, so a rename never loses the file. Directories are names in their parents like files are.

use super::fate::{Fate, Unsynced};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf, is_separator},
    sync::Arc,
};

/// A file's number.
pub(super) type Ino = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(Ino),
    Dir,
}

/// A path as it was written: paths compare part by part, which is what a search of many states would spend most of its
/// time on.
type Name = Arc<OsStr>;
type Table = BTreeMap<Name, Node>;
type Change = (Name, Option<Node>);

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

/// Whether a name lies in a directory, and not in one below it.
fn is_in(name: &OsStr, dir: &Path) -> bool {
    let Some(rest) = name.as_encoded_bytes().strip_prefix(dir.as_os_str().as_encoded_bytes()) else {
        return false;
    };
    let separator = |byte: &u8| is_separator(char::from(*byte));
    let rest = match rest.split_first() {
        _ if dir.parent().is_none() => rest,
        Some((first, rest)) if separator(first) => rest,
        _ => return false,
    };
    !rest.is_empty() && !rest.iter().any(separator)
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> io::Result<Node> {
        if is_root(path) {
            return Ok(Node::Dir);
        }
        if let Some(&node) = self.now.get(path.as_os_str()) {
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
        self.apply(vec![(path.as_os_str().into(), Some(Node::File(ino)))]);
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
        self.apply(vec![(path.as_os_str().into(), Some(Node::Dir))]);
        Ok(made + 1)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.file(from)?;
        self.need_parent(to)?;
        if self.get(to).is_ok_and(|node| node == Node::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from != to {
            self.apply(vec![(from.as_os_str().into(), None), (to.as_os_str().into(), Some(Node::File(ino)))]);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.apply(vec![(path.as_os_str().into(), None)]);
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(PathBuf, Node)>> {
        self.need_dir(dir)?;
        let inside = self.now.iter().filter(|(path, _)| is_in(path, dir));
        Ok(inside.map(|(path, node)| (path.as_ref().into(), *node)).collect())
    }

    /// The names in `dir`, as they are now, become durable.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        self.need_dir(dir)?;
        let durable = Arc::make_mut(&mut self.durable);
        durable.retain(|path, _| !is_in(path, dir));
        durable.extend(self.now.iter().filter(|(path, _)| is_in(path, dir)).map(|(p, n)| (p.clone(), *n)));
        for change in &mut self.pending {
            if change.iter().any(|(path, _)| is_in(path, dir)) {
                Arc::make_mut(change).retain(|(path, _)| !is_in(path, dir));
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
            changes: change.iter().map(|(path, node)| (path.as_ref().into(), node.is_some())).collect(),
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
            let parent = Path::new(path).parent();
            let held = parent.is_some_and(|parent| is_root(parent) || dirs.contains(parent.as_os_str()));
            if held && *node == Node::Dir {
                dirs.insert(path.clone());
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
        self.now.iter().filter_map(|(path, node)| Some((ino(*node)?, path.as_ref().into()))).collect()
    }
}

fn ino(node: Node) -> Option<Ino> {
    match node {
        Node::File(ino) => Some(ino),
        Node::Dir => None,
    }
}

fn set(table: &mut Table, path: &Name, node: Option<Node>) {
    match node {
        Some(node) => table.insert(path.clone(), node),
        None => table.remove(path),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lies_in_the_directory_that_is_its_parent_and_in_no_other() {
        for name in ["/", "/a", "/a/b", "/ab", "/ab/c", "/a/b/c", "a", "a/b", "ab/c"] {
            for dir in ["/", "/a", "/a/b", "/ab", "", "a", "a/b"].map(Path::new) {
                assert_eq!(
                    is_in(name.as_ref(), dir),
                    Path::new(name).parent() == Some(dir),
                    "{name} in {dir:?}"
                );
            }
        }
    }
}
