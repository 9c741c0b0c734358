//! Purges by scope: a table of (scope, position). Entries of the scope that lie earlier are hit from that moment on, and
//! are dropped as they are met.
//!
//! **Invariants**
//! - A scope's later purge of the same mode takes the place of its earlier one.
//! - At most [`MAX_PREFIX_ROWS`] rows by prefix, which are kept in full; past that the oldest becomes a purge of its whole
//!   namespace at its own position. All other scopes are kept as a keyed 64-bit hash, which means the same after a
//!   restart: at most [`MAX_HASHED_ROWS`] of them; past that the oldest quarter becomes a purge of everything as of its end. All
//!   of these can only purge too much.
//! - `newest` is the latest position of any row: an entry at or after it is not hit by anything.
//!
//! **Concurrency**: a read lock per check, none for entries after `newest`. Calls nothing that takes another lock, so it
//! may be used under the lock of an index shard.

use crate::{
    Flags, Position, SegmentId,
    marks::{HashMarks, Marks},
    prefixes::Prefixes,
    scope_hash::ScopeHasher,
    sync::{AtomicU64, Ordering, RwLock},
};
use cache_core::{CacheKey, PurgeMode, PurgeScope};
use hashbrown::HashTable;

/// How many purges by prefix are kept as they are.
pub const MAX_PREFIX_ROWS: usize = 1024;
/// How many namespaces, paths and tags are kept: a snapshot of an index has room for two marks of each.
pub const MAX_HASHED_ROWS: usize = 1 << 20;

/// One row of the table, to be stored in a snapshot. Hashes are keyed with what [`Purges::new`] was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeRow {
    /// Everything, a namespace or a path.
    Hashed {
        /// Of the scope.
        hash: u64,
        /// What it does.
        mode: PurgeMode,
        /// Entries before this are hit.
        at: Position,
    },
    /// A tag.
    Tag {
        /// Of the tag.
        hash: u64,
        /// What it does.
        mode: PurgeMode,
        /// Entries before this are hit.
        at: Position,
    },
    /// A prefix.
    Prefix {
        /// Hash of the namespace: that of a `Hashed` row for all of it.
        namespace: u64,
        /// How a path or label begins.
        prefix: Box<[u8]>,
        /// What it does.
        mode: PurgeMode,
        /// Entries before this are hit.
        at: Position,
    },
}

/// What the purges say about one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It is gone.
    pub removed: bool,
    /// It is stale.
    pub stale: bool,
    /// Its label and tags must be seen first, with [`Purges::check_record`]. Never together with `removed`.
    pub ask_record: bool,
}

/// The purge table; see the module text.
#[derive(Debug)]
pub struct Purges {
    hasher: ScopeHasher,
    newest: AtomicU64,
    rows: RwLock<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    hashed: HashMarks,
    tags: HashMarks,
    /// By namespace hash.
    prefixes: HashTable<(u64, Prefixes)>,
    prefix_marks: usize,
    folded: u64,
}

impl Purges {
    /// An empty table whose hashes are keyed with `hash_key`.
    pub fn new(hash_key: [u8; 16]) -> Self {
        Self { hasher: ScopeHasher::new(&hash_key), newest: AtomicU64::new(0), rows: RwLock::default() }
    }

    /// Purges a scope: entries before `at` are hit.
    pub fn add(&self, scope: &PurgeScope, mode: PurgeMode, at: Position) {
        let marks = Marks::of(mode, at);
        let hash = &self.hasher;
        self.change(|rows| match scope {
            PurgeScope::Namespace(namespace) => rows.hashed.add(hash.namespace(namespace), marks),
            PurgeScope::Path { namespace, path } => rows.hashed.add(hash.path(namespace, path), marks),
            PurgeScope::Prefix { namespace, prefix } => {
                rows.add_prefix(hash.namespace(namespace), prefix, marks);
            }
            PurgeScope::Tag(tag) => rows.tags.add(hash.tag(tag), marks),
            // A scope that this version does not know is everything: purging too much is safe.
            _ => rows.hashed.add(hash.all(), marks),
        });
    }

    /// How many rows were widened so far: those by prefix to their namespace, others to everything.
    pub fn folded(&self) -> u64 {
        self.rows.read().folded
    }

    /// The latest position of any row. An entry at or after it needs no check.
    pub fn newest(&self) -> Position {
        Position::from_raw(self.newest.load(Ordering::Acquire))
    }

    /// What the key of an entry at `at` alone tells.
    ///
    /// `ask_record`: a younger purge by tag may hit it, or a younger one by prefix in its namespace: what has a label is met
    /// by its label only, what has none by its path only.
    pub fn check(&self, key: &CacheKey, at: Position, flags: Flags) -> Verdict {
        if at >= self.newest() {
            return Verdict::default();
        }
        let rows = self.rows.read();
        let (mut marks, prefixes) = rows.of_key(&self.hasher, key);
        let mut ask_record = flags.tagged && at < rows.tags.newest();
        if let Some(prefixes) = prefixes {
            if flags.labelled {
                ask_record |= at < prefixes.newest();
            } else {
                marks = marks.later(prefixes.marks(key.path()));
            }
        }
        let verdict = marks.verdict(at);
        Verdict { ask_record: ask_record && !verdict.removed, ..verdict }
    }

    /// What all purges say about an entry at `at`, whose label and tags are known.
    pub fn check_record<'a>(
        &self,
        key: &CacheKey,
        label: Option<&[u8]>,
        tags: impl Iterator<Item = &'a [u8]>,
        at: Position,
    ) -> Verdict {
        if at >= self.newest() {
            return Verdict::default();
        }
        let rows = self.rows.read();
        let (mut marks, prefixes) = rows.of_key(&self.hasher, key);
        if let Some(prefixes) = prefixes {
            marks = marks.later(prefixes.marks(label.unwrap_or(key.path())));
        }
        if at < rows.tags.newest() {
            marks = tags.fold(marks, |marks, tag| marks.later(rows.tags.get(self.hasher.tag(tag))));
        }
        marks.verdict(at)
    }

    /// Drops the rows in segments before `oldest`, the oldest segment there is: all entries they could hit are gone.
    pub fn forget_before(&self, oldest: SegmentId) {
        self.change(|rows| rows.forget_before(oldest));
    }

    /// All rows, in no order.
    pub fn rows(&self) -> Vec<PurgeRow> {
        let rows = self.rows.read();
        let mut out = Vec::with_capacity(rows.len());
        for (hash, marks) in rows.hashed.iter() {
            out.extend(marks.rows().map(|(mode, at)| PurgeRow::Hashed { hash, mode, at }));
        }
        for (hash, marks) in rows.tags.iter() {
            out.extend(marks.rows().map(|(mode, at)| PurgeRow::Tag { hash, mode, at }));
        }
        for (namespace, prefixes) in &rows.prefixes {
            for (prefix, marks) in prefixes.iter() {
                out.extend(marks.rows().map(|(mode, at)| PurgeRow::Prefix {
                    namespace: *namespace,
                    prefix: prefix.into(),
                    mode,
                    at,
                }));
            }
        }
        out
    }

    /// Takes a row in again that [`Self::rows`] gave, of a table with the same key.
    pub fn restore(&self, row: PurgeRow) {
        self.change(|rows| match row {
            PurgeRow::Hashed { hash, mode, at } => rows.hashed.add(hash, Marks::of(mode, at)),
            PurgeRow::Tag { hash, mode, at } => rows.tags.add(hash, Marks::of(mode, at)),
            PurgeRow::Prefix { namespace, prefix, mode, at } => {
                rows.add_prefix(namespace, &prefix, Marks::of(mode, at));
            }
        });
    }

    /// How many rows there are; a scope with purges of both modes has two.
    pub fn len(&self) -> usize {
        self.rows.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the latest purge of everything lies that removes; earlier entries are gone whatever their keys are.
    pub(crate) fn all_removed_before(&self) -> Position {
        self.rows.read().hashed.get(self.hasher.all()).remove
    }

    fn change(&self, change: impl FnOnce(&mut Rows)) {
        let mut rows = self.rows.write();
        change(&mut rows);
        rows.bound_hashed(self.hasher.all());
        // Under the lock, so that two changes cannot store in the other order.
        self.newest.store(rows.newest().raw(), Ordering::Release);
    }
}

impl Rows {
    /// What the scopes say that a key alone decides, and the rows by prefix of its namespace.
    fn of_key(&self, hash: &ScopeHasher, key: &CacheKey) -> (Marks, Option<&Prefixes>) {
        let namespace = hash.namespace(key.namespace());
        let marks = [hash.all(), namespace, hash.path(key.namespace(), key.path())]
            .into_iter()
            .fold(Marks::default(), |marks, scope| marks.later(self.hashed.get(scope)));
        (marks, self.prefixes.find(namespace, |row| row.0 == namespace).map(|row| &row.1))
    }

    fn add_prefix(&mut self, namespace: u64, prefix: &[u8], marks: Marks) {
        if marks.is_empty() {
            return;
        }
        self.prefixes
            .entry(namespace, |row| row.0 == namespace, |row| row.0)
            .or_insert_with(|| (namespace, Prefixes::default()))
            .into_mut()
            .1
            .add(prefix, marks);
        self.count_prefixes();
        while self.prefix_marks > MAX_PREFIX_ROWS {
            self.fold_oldest();
        }
    }

    /// Makes the oldest purge by prefix one of its whole namespace, where it lies.
    fn fold_oldest(&mut self) {
        let all =
            self.prefixes.iter().flat_map(|(namespace, p)| p.iter().map(|(_, marks)| (*namespace, marks)));
        let rows =
            all.flat_map(|(namespace, marks)| marks.rows().map(move |(mode, at)| (at, namespace, mode)));
        let Some((at, namespace, mode)) = rows.min_by_key(|(at, ..)| *at) else { return };
        let oldest = Marks::of(mode, at);
        self.hashed.add(namespace, oldest);
        // All rows of this mode, namespace and position say less than the new one.
        let before = self.prefix_marks;
        if let Some((_, prefixes)) = self.prefixes.find_mut(namespace, |row| row.0 == namespace) {
            prefixes.update(|marks| {
                for (mark, gone) in [(&mut marks.remove, oldest.remove), (&mut marks.expire, oldest.expire)] {
                    if *mark <= gone {
                        *mark = Position::ZERO;
                    }
                }
            });
        }
        self.count_prefixes();
        self.folded += (before - self.prefix_marks) as u64;
    }

    /// Makes the oldest purges one of everything, where there are too many.
    fn bound_hashed(&mut self, all: u64) {
        if self.hashed.scopes() + self.tags.scopes() <= MAX_HASHED_ROWS {
            return;
        }
        let before = self.hashed.len() + self.tags.len();
        let mut newest: Vec<Position> =
            self.hashed.iter().chain(self.tags.iter()).map(|(_, marks)| marks.newest()).collect();
        let quarter = newest.len() / 4;
        let last = *newest.select_nth_unstable(quarter).1;
        let folded = self.hashed.take_through(last).later(self.tags.take_through(last));
        self.hashed.add(all, folded);
        self.folded += (before - self.hashed.len() - self.tags.len()) as u64;
    }

    fn forget_before(&mut self, oldest: SegmentId) {
        for (_, prefixes) in &mut self.prefixes {
            prefixes.update(|marks| marks.forget_before(oldest));
        }
        self.hashed.forget_before(oldest);
        self.tags.forget_before(oldest);
        self.count_prefixes();
    }

    fn count_prefixes(&mut self) {
        self.prefixes.retain(|(_, prefixes)| !prefixes.is_empty());
        self.prefix_marks =
            self.prefixes.iter().flat_map(|(_, p)| p.iter()).map(|(_, marks)| marks.rows().count()).sum();
    }

    fn newest(&self) -> Position {
        let prefixes = self.prefixes.iter().map(|(_, p)| p.newest()).max().unwrap_or_default();
        self.hashed.newest().max(self.tags.newest()).max(prefixes)
    }

    fn len(&self) -> usize {
        self.hashed.len() + self.tags.len() + self.prefix_marks
    }
}
