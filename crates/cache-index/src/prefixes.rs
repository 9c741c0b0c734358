//! The purges by prefix of one namespace.
//!
//! **Invariants**: rows are sorted by prefix, each prefix once, and each row knows the row of its longest proper prefix.
//! Every row that is a prefix of some bytes is then on the way up from the last row that sorts at or before those bytes.

use crate::{Position, marks::Marks};

#[derive(Debug)]
struct Row {
    prefix: Box<[u8]>,
    marks: Marks,
    parent: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    rows: Vec<Row>,
    newest: Position,
}

impl Prefixes {
    /// The latest position of any row.
    pub(crate) fn newest(&self) -> Position {
        self.newest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Marks)> {
        self.rows.iter().map(|row| (&*row.prefix, row.marks))
    }

    /// What all rows together say about `bytes`.
    pub(crate) fn marks(&self, bytes: &[u8]) -> Marks {
        let mut found = Marks::default();
        let mut at = self.rows.partition_point(|row| *row.prefix <= *bytes).checked_sub(1);
        while let Some(row) = at.and_then(|i| self.rows.get(i)) {
            if bytes.starts_with(&row.prefix) {
                found = found.later(row.marks);
            }
            at = row.parent;
        }
        found
    }

    /// Adds to the marks of a prefix.
    pub(crate) fn add(&mut self, prefix: &[u8], marks: Marks) {
        self.newest = self.newest.max(marks.newest());
        match self.rows.binary_search_by(|row| (*row.prefix).cmp(prefix)) {
            Ok(i) => {
                if let Some(row) = self.rows.get_mut(i) {
                    row.marks = row.marks.later(marks);
                }
            }
            Err(i) => {
                self.rows.insert(i, Row { prefix: prefix.into(), marks, parent: None });
                self.link();
            }
        }
    }

    /// Changes all marks, and drops the rows that have none left.
    pub(crate) fn update(&mut self, mut change: impl FnMut(&mut Marks)) {
        self.rows.retain_mut(|row| {
            change(&mut row.marks);
            !row.marks.is_empty()
        });
        self.newest = self.rows.iter().map(|row| row.marks.newest()).max().unwrap_or_default();
        self.link();
    }

    /// Sorted, the rows that begin with a prefix follow it directly; so its rows are closed when another begins.
    fn link(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for i in 0..self.rows.len() {
            let prefix = &self.rows[i].prefix;
            while open.last().is_some_and(|&p| !prefix.starts_with(&self.rows[p].prefix)) {
                open.pop();
            }
            self.rows[i].parent = open.last().copied();
            open.push(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentId;
    use proptest::prelude::*;

    fn at(n: u64) -> Marks {
        Marks { remove: Position::new(SegmentId::new(1), n * 8), expire: Position::ZERO }
    }

    #[test]
    fn the_empty_prefix_meets_everything() {
        let mut rows = Prefixes::default();
        assert!(rows.is_empty() && rows.marks(b"").is_empty());
        rows.add(b"", at(5));
        assert_eq!((rows.marks(b""), rows.marks(b"any")), (at(5), at(5)));
    }

    #[test]
    fn nested_and_neighbouring_prefixes_are_told_apart() {
        let mut rows = Prefixes::default();
        for (prefix, n) in [(&b"a"[..], 1), (b"a/b", 2), (b"a/b/c", 3), (b"a/c", 4), (b"b", 9)] {
            rows.add(prefix, at(n));
        }
        for (path, n) in
            [(&b"a"[..], 1), (b"a/bz", 2), (b"a/b/cd", 3), (b"a/d", 4 - 3), (b"a/c/x", 4), (b"bb", 9)]
        {
            assert_eq!(rows.marks(path), at(n), "{}", path.escape_ascii());
        }
        assert!(rows.marks(b"c").is_empty() && rows.marks(b"").is_empty());
        assert_eq!(rows.newest(), at(9).remove);
    }

    proptest! {
        #[test]
        fn every_prefix_is_found_and_nothing_else(
            rows in prop::collection::vec(("[ab]{0,5}", 1..100u64), 0..40),
            paths in prop::collection::vec("[abc]{0,7}", 1..40),
        ) {
            let mut table = Prefixes::default();
            for (prefix, n) in &rows {
                table.add(prefix.as_bytes(), at(*n));
            }
            for path in &paths {
                let naive = rows.iter().filter(|(p, _)| path.starts_with(p)).map(|(_, n)| *n).max();
                prop_assert_eq!(table.marks(path.as_bytes()), naive.map_or(Marks::default(), at));
            }
            table.update(|m| if m.remove < at(50).remove { *m = Marks::default() });
            for path in &paths {
                let naive = rows.iter().filter(|(p, n)| path.starts_with(p) && *n >= 50).map(|(_, n)| *n).max();
                prop_assert_eq!(table.marks(path.as_bytes()), naive.map_or(Marks::default(), at));
            }
        }
    }
}
