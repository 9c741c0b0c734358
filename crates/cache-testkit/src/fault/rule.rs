//! Which operations fail, and how.

use super::Gate;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The verbs of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// `open`
    Open,
    /// `len`
    Len,
    /// `set_len`
    SetLen,
    /// `read_at`
    Read,
    /// `try_read_cached`, counted and faulted only while [`fault_cached_reads`](super::FaultBackend::fault_cached_reads) is on
    ReadCached,
    /// `write_at`
    Write,
    /// `sync_data`
    SyncData,
    /// `rename`
    Rename,
    /// `remove`
    Remove,
    /// `list`
    List,
    /// `create_dir`
    CreateDir,
    /// `sync_dir`
    SyncDir,
    /// `free_space`
    FreeSpace,
    /// `try_lock`
    TryLock,
}

impl Verb {
    /// The verbs that change something or make it durable. (`open` may, so it is among them.)
    pub const CHANGING: [Self; 8] = [
        Self::Open,
        Self::SetLen,
        Self::Write,
        Self::SyncData,
        Self::Rename,
        Self::Remove,
        Self::CreateDir,
        Self::SyncDir,
    ];
}

/// What happens to an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It does not happen and gives this errno.
    Errno(i32),
    /// It does not happen and gives this kind of error.
    Kind(io::ErrorKind),
    /// A write is half done and then gives this errno. Other verbs are as with `Errno`.
    Torn(i32),
    /// A read stops half way as if the file ended there; a write is half done and gives `WriteZero`; other verbs are done
    /// and unharmed.
    Short,
    /// It happens, and gives this errno all the same.
    DoneThenErrno(i32),
    /// It waits at the gate, then happens. Where its future is dropped meanwhile, it never happens.
    HoldBefore(Gate),
    /// It happens, then waits at the gate before its caller hears of it. Page-cache reads never wait.
    HoldAfter(Gate),
}

/// The Nth operation that fits, once or from then on.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) verbs: Option<Vec<Verb>>,
    pub(super) path: Option<PathBuf>,
    pub(super) nth: u64,
    pub(super) times: u64,
    pub(super) fault: Fault,
    pub(super) seen: u64,
}

impl Rule {
    /// The first operation of any verb on any path, once.
    pub fn new(fault: Fault) -> Self {
        Self { verbs: None, path: None, nth: 1, times: 1, fault, seen: 0 }
    }

    /// Only operations of these verbs fit.
    pub fn verbs(mut self, verbs: impl Into<Vec<Verb>>) -> Self {
        self.verbs = Some(verbs.into());
        self
    }

    /// Only operations on this path fit, or on files opened by it, or on anything in the directory of that name. (The path
    /// that a rename goes to counts too.)
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The Nth operation that fits, counted from 1.
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = nth;
        self
    }

    /// That one and this many less one after it.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// That one and all after it.
    pub fn from_then_on(self) -> Self {
        self.times(u64::MAX)
    }

    /// Counts an operation and says whether the rule strikes it.
    pub(super) fn strikes(&mut self, verb: Verb, paths: &[&Path]) -> bool {
        let fits = self.verbs.as_ref().is_none_or(|verbs| verbs.contains(&verb))
            && self.path.as_ref().is_none_or(|own| paths.iter().any(|path| path.starts_with(own)));
        if !fits {
            return false;
        }
        self.seen += 1;
        self.seen >= self.nth && self.seen - self.nth < self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_only_what_fits() {
        let mut rule = Rule::new(Fault::Short).verbs([Verb::Read]).path("/dir/a").nth(2).times(2);
        let mut strikes = |verb, path: &str| rule.strikes(verb, &[Path::new(path)]);
        assert!(!strikes(Verb::Read, "/dir/a"));
        assert!(!strikes(Verb::Write, "/dir/a"));
        assert!(!strikes(Verb::Read, "/dir/ab"));
        assert!(strikes(Verb::Read, "/dir/a"));
        assert!(strikes(Verb::Read, "/dir/a/inside"));
        assert!(!strikes(Verb::Read, "/dir/a"));
    }
}
