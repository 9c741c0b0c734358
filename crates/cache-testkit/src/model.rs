//! The naive model of a cache: what each key may hold in this process, after a kill and after a power cut.
//!
//! **Invariants**: an operation is entered before it is called and acknowledged after it returned, so that whatever happens
//! in between is covered; a durable operation leaves only what it makes of the states before it, any other one leaves those
//! as well. Nothing here knows of segments, records or reclaim.
//!
//! Moments are numbers that never fall; a harness that opens crash states takes the count of operations of its backend, so
//! that one history answers for every moment of the run.

use bytes::Bytes;
use cache_core::{CacheKey, Durability, PurgeMode, PurgeScope};
use std::{collections::HashMap, fmt};

/// An entry as the model knows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The body.
    pub body: Bytes,
    /// The meta.
    pub meta: Bytes,
    /// The tags.
    pub tags: Vec<Bytes>,
    /// The label.
    pub label: Option<Bytes>,
    /// When it turns stale, Unix milliseconds; `None`: never.
    pub expires_ms: Option<u64>,
    /// Whether a soft purge made it stale.
    pub stale: bool,
    /// Whether the body lies outside of its record. A crash may keep the record and lose the body, as long as neither is
    /// durable; the newest record decides all the same, so that the key is absent then.
    pub out_of_line: bool,
}

/// What a look at the cache gave, stale entries allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// The body.
    pub body: Bytes,
    /// The meta.
    pub meta: Bytes,
    /// Whether the cache called it stale.
    pub stale: bool,
}

/// What happened to the machine before the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: it is the same process.
    Nothing,
    /// The process was killed: what was acknowledged as written must be there.
    Kill,
    /// The power went: what was acknowledged as synced must be there.
    PowerCut,
}

/// An operation that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(usize);

/// What a key may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// Any of these.
    pub values: Vec<Stored>,
    /// Or nothing.
    pub miss: bool,
}

#[derive(Clone, Debug)]
enum Effect {
    Put(CacheKey, Stored),
    /// The same, except that a failure leaves the entry as it was.
    Meta(CacheKey, Stored),
    Remove(CacheKey),
    Purge(PurgeScope, PurgeMode),
    Expire(CacheKey),
}

#[derive(Clone, Debug)]
struct Op {
    begun: u64,
    effect: Effect,
    /// When it was acknowledged at which level.
    acks: Vec<(u64, Durability)>,
    /// When it returned an error: it may have happened or not.
    failed: Option<u64>,
}

/// The states a key may be in, `None` for absent.
type States = Vec<Option<Stored>>;

/// All operations so far; see the module text.
#[derive(Clone, Debug, Default)]
pub struct Model {
    ops: Vec<Op>,
    /// Keys that were looked at after a crash: what they may hold, and the first operation after that.
    settled: HashMap<Bytes, (States, usize)>,
}

impl Model {
    /// A model of an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// An insert is called.
    pub fn insert(&mut self, now: u64, key: &CacheKey, stored: Stored) -> Ticket {
        self.enter(now, Effect::Put(key.clone(), stored))
    }

    /// A new meta is called for; what it makes of the entry is told by the caller, who has just seen it.
    pub fn update_meta(
        &mut self,
        now: u64,
        key: &CacheKey,
        meta: Bytes,
        expires_ms: Option<u64>,
    ) -> Option<Ticket> {
        let held = self.current(key)?;
        let stored = Stored { meta, expires_ms, stale: false, ..held };
        Some(self.enter(now, Effect::Meta(key.clone(), stored)))
    }

    /// A remove is called.
    pub fn remove(&mut self, now: u64, key: &CacheKey) -> Ticket {
        self.enter(now, Effect::Remove(key.clone()))
    }

    /// A purge is called.
    pub fn purge(&mut self, now: u64, scope: PurgeScope, mode: PurgeMode) -> Ticket {
        self.enter(now, Effect::Purge(scope, mode))
    }

    /// An expiry by hand is called.
    pub fn expire(&mut self, now: u64, key: &CacheKey) -> Ticket {
        self.enter(now, Effect::Expire(key.clone()))
    }

    /// The operation returned and promised this much.
    pub fn acknowledge(&mut self, ticket: Ticket, now: u64, level: Durability) {
        if let Some(op) = self.ops.get_mut(ticket.0) {
            op.acks.push((now, level));
        }
    }

    /// The operation returned an error: what it was about may have happened or not.
    pub fn fail(&mut self, ticket: Ticket, now: u64) {
        if let Some(op) = self.ops.get_mut(ticket.0) {
            op.failed = Some(now);
        }
    }

    /// The operation did nothing, and said so.
    pub fn withdraw(&mut self, ticket: Ticket) {
        if let Some(op) = self.ops.get_mut(ticket.0) {
            op.effect = Effect::Purge(PurgeScope::Tag(Bytes::from_static(b"\0nothing")), PurgeMode::Expire);
        }
    }

    /// A flush, or a clean close, returned: all operations so far are on stable storage.
    pub fn flushed(&mut self, now: u64) {
        for op in &mut self.ops {
            op.acks.push((now, Durability::Synced));
        }
    }

    /// What the key holds if nothing was evicted or lost; the newest value where that is not certain.
    pub fn current(&self, key: &CacheKey) -> Option<Stored> {
        self.states(key, Loss::Nothing, u64::MAX).pop().flatten()
    }

    /// What the key may hold after a loss at that moment.
    pub fn permitted(&self, key: &CacheKey, loss: Loss, at: u64) -> Permitted {
        let states = self.states(key, loss, at);
        let miss = states.contains(&None);
        Permitted { values: states.into_iter().flatten().collect(), miss }
    }

    /// A new process has looked at the key after a loss: it holds this from now on. `excused`: something was evicted, so
    /// that what it might have held may still come back after the next crash.
    pub fn settle(&mut self, key: &CacheKey, loss: Loss, seen: Option<&Seen>, excused: bool) {
        let states = self.states(key, loss, u64::MAX);
        let left: States = match seen {
            Some(seen) => states.into_iter().filter(|s| s.as_ref().is_some_and(|s| s.holds(seen))).collect(),
            None if excused => states.into_iter().flatten().map(Some).chain([None]).collect(),
            None => vec![None],
        };
        self.settled.insert(Bytes::copy_from_slice(key.as_bytes()), (left, self.ops.len()));
    }

    fn enter(&mut self, now: u64, effect: Effect) -> Ticket {
        self.ops.push(Op { begun: now, effect, acks: Vec::new(), failed: None });
        Ticket(self.ops.len() - 1)
    }

    /// The last one is the newest.
    fn states(&self, key: &CacheKey, loss: Loss, at: u64) -> States {
        let (mut states, from) = self.settled.get(key.as_bytes()).cloned().unwrap_or_else(|| (vec![None], 0));
        for op in self.ops[from..].iter().filter(|op| op.begun <= at) {
            if !op.effect.is_about(key) {
                continue;
            }
            let mut after: States = Vec::new();
            for state in &states {
                add(&mut after, op.effect.apply(key, state.as_ref()));
            }
            let failed = op.failed.is_some_and(|when| when <= at);
            if failed {
                add(&mut after, None);
            }
            // The older value is gone in this process; a failed new meta leaves it.
            let leaves = failed && matches!(op.effect, Effect::Meta(..));
            if leaves || !op.is_definite(loss, at) {
                if loss != Loss::Nothing && op.effect.is_out_of_line() {
                    add(&mut states, None);
                }
                for state in std::mem::take(&mut after) {
                    add(&mut states, state);
                }
            } else {
                states = after;
            }
        }
        states
    }
}

/// Keeps the newest last.
fn add(states: &mut States, state: Option<Stored>) {
    states.retain(|s| s != &state);
    states.push(state);
}

impl Op {
    /// Whether a loss at that moment leaves no way around it.
    fn is_definite(&self, loss: Loss, at: u64) -> bool {
        let reached = self.acks.iter().filter(|(when, _)| *when <= at).map(|(_, level)| *level).max();
        match loss {
            Loss::Nothing => reached.is_some() || self.failed.is_some_and(|when| when <= at),
            Loss::Kill => reached >= Some(Durability::Written),
            Loss::PowerCut => reached >= Some(Durability::Synced),
        }
    }
}

impl Effect {
    fn is_about(&self, key: &CacheKey) -> bool {
        match self {
            Self::Put(own, _) | Self::Meta(own, _) | Self::Remove(own) | Self::Expire(own) => own == key,
            Self::Purge(..) => true,
        }
    }

    fn is_out_of_line(&self) -> bool {
        matches!(self, Self::Put(_, stored) | Self::Meta(_, stored) if stored.out_of_line)
    }

    fn apply(&self, key: &CacheKey, state: Option<&Stored>) -> Option<Stored> {
        let stale = |state: Option<&Stored>| state.map(|s| Stored { stale: true, ..s.clone() });
        match self {
            Self::Put(_, stored) | Self::Meta(_, stored) => Some(stored.clone()),
            Self::Remove(_) => None,
            Self::Expire(_) => stale(state),
            Self::Purge(scope, mode) => {
                let hit = state.is_some_and(|s| s.is_in(key, scope));
                match mode {
                    _ if !hit => state.cloned(),
                    PurgeMode::Expire => stale(state),
                    _ => None,
                }
            }
        }
    }
}

/// Short, since bodies are long and say who they are in their first bytes.
fn show(f: &mut fmt::Formatter<'_>, body: &Bytes, meta: &Bytes, rest: &dyn fmt::Debug) -> fmt::Result {
    let head = body.get(..body.len().min(16)).unwrap_or_default();
    write!(f, "[{} bytes, {head:02x?}, {:?}, {rest:?}]", body.len(), String::from_utf8_lossy(meta))
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.body, &self.meta, &(self.stale, self.expires_ms))
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.body, &self.meta, &self.stale)
    }
}

impl Stored {
    /// Whether a purge of this scope hits the entry.
    pub fn is_in(&self, key: &CacheKey, scope: &PurgeScope) -> bool {
        match scope {
            PurgeScope::Namespace(namespace) => key.namespace() == namespace,
            PurgeScope::Path { namespace, path } => key.namespace() == namespace && key.path() == path,
            PurgeScope::Prefix { namespace, prefix } => {
                let named = self.label.as_deref().unwrap_or(key.path());
                key.namespace() == namespace && named.starts_with(prefix)
            }
            PurgeScope::Tag(tag) => self.tags.contains(tag),
            _ => true,
        }
    }

    fn holds(&self, seen: &Seen) -> bool {
        self.body == seen.body && self.meta == seen.meta && (seen.stale || !self.stale)
    }
}

impl Permitted {
    /// Checks a look, stale entries allowed, at that wall-clock time. `excused`: something was evicted, so that a miss says
    /// nothing.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, seen: Option<&Seen>, now_ms: u64, excused: bool) -> Result<(), String> {
        let Some(seen) = seen else {
            let fine = self.miss || excused;
            return if fine { Ok(()) } else { Err(format!("lost: permitted is {self:?}")) };
        };
        let fits = |s: &Stored| {
            let stale = s.stale || s.expires_ms.is_some_and(|at| now_ms >= at);
            s.body == seen.body && s.meta == seen.meta && stale == seen.stale
        };
        if self.values.iter().any(fits) {
            Ok(())
        } else {
            Err(format!("wrong: saw {seen:?}, permitted is {self:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(body: &'static str) -> Stored {
        Stored { body: Bytes::from_static(body.as_bytes()), ..Stored::default() }
    }

    fn bodies(model: &Model, key: &CacheKey, loss: Loss, at: u64) -> (Vec<String>, bool) {
        let permitted = model.permitted(key, loss, at);
        let name = |s: &Stored| String::from_utf8_lossy(&s.body).into_owned();
        (permitted.values.iter().map(name).collect(), permitted.miss)
    }

    #[test]
    fn a_synced_value_is_all_that_a_power_cut_may_leave() {
        let (mut model, key) = (Model::new(), CacheKey::from("k"));
        let a = model.insert(1, &key, stored("a"));
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 1), (vec!["a".into()], true));
        model.acknowledge(a, 4, Durability::Synced);
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 3), (vec!["a".into()], true));
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 4), (vec!["a".into()], false));
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 0), (vec![], true));
    }

    #[test]
    fn a_written_remove_may_be_undone_by_a_power_cut_but_not_by_a_kill() {
        let (mut model, key) = (Model::new(), CacheKey::from("k"));
        let a = model.insert(1, &key, stored("a"));
        model.acknowledge(a, 2, Durability::Synced);
        let gone = model.remove(3, &key);
        model.acknowledge(gone, 4, Durability::Written);
        assert_eq!(bodies(&model, &key, Loss::Kill, 4), (vec![], true));
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 4), (vec!["a".into()], true));
        model.flushed(5);
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 5), (vec![], true));
    }

    #[test]
    fn a_failed_replacement_leaves_no_older_value_in_this_process() {
        let (mut model, key) = (Model::new(), CacheKey::from("k"));
        let a = model.insert(1, &key, stored("a"));
        model.acknowledge(a, 2, Durability::Synced);
        let b = model.insert(3, &key, stored("b"));
        model.fail(b, 4);
        assert_eq!(bodies(&model, &key, Loss::Nothing, 4), (vec!["b".into()], true));
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 4), (vec!["a".into(), "b".into()], true));
    }

    #[test]
    fn a_purge_by_prefix_sees_the_label_where_there_is_one() {
        let (mut model, key) = (Model::new(), CacheKey::new("n", "path"));
        let labelled = Stored { label: Some(Bytes::from_static(b"label")), ..stored("a") };
        let a = model.insert(1, &key, labelled);
        model.acknowledge(a, 1, Durability::Buffered);
        let prefix = |p: &'static str| PurgeScope::Prefix { namespace: "n".into(), prefix: p.into() };
        let purge = model.purge(2, prefix("pa"), PurgeMode::Remove);
        model.acknowledge(purge, 2, Durability::Synced);
        assert!(model.current(&key).is_some());
        let purge = model.purge(3, prefix("la"), PurgeMode::Expire);
        model.acknowledge(purge, 3, Durability::Synced);
        assert!(model.current(&key).unwrap().stale);
    }

    #[test]
    fn what_was_seen_after_a_crash_is_what_a_key_holds() {
        let (mut model, key) = (Model::new(), CacheKey::from("k"));
        let tickets = [model.insert(1, &key, stored("a")), model.insert(2, &key, stored("b"))];
        for ticket in tickets {
            model.acknowledge(ticket, 3, Durability::Buffered);
        }
        let seen = Seen { body: "a".into(), meta: Bytes::new(), stale: false };
        assert_eq!(model.permitted(&key, Loss::PowerCut, 3).check(Some(&seen), 0, false), Ok(()));
        model.settle(&key, Loss::PowerCut, Some(&seen), false);
        assert_eq!(bodies(&model, &key, Loss::PowerCut, 3), (vec!["a".into()], false));
    }
}
