//! Writes and fetches under way, by key.
//!
//! **Invariants**: a flight is entered, and doomed, inside the sequencer's section, and its commit reads the doom there: what
//! was inserted, removed, purged or expired after it began is never followed by what it brings. A doomed flight is found by
//! its exact id only, until it ends. What a purge by tag or label means for a fetch that does not know its tags yet is
//! decided when it does.
//!
//! **Concurrency**: one short lock, taken inside the sequencer's or alone; nothing is locked inside it but a flight's own.

use crate::{
    growth::Growth,
    object::UncommittedBytes,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};
use bytes::Bytes;
use cache_core::{CacheKey, DiskBackend, EntryId, Error, InsertOptions, PurgeScope};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::watch;

/// Purges that a fetch without tags remembers; past that it is doomed, which is safe.
const MAX_UNDECIDED: usize = 64;

/// How far a flight is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The fetch has not said what it got.
    Fetching,
    /// The body is being written, with this meta.
    Writing(Bytes),
    /// Not to be stored.
    Uncacheable,
    Failed(Error),
    /// The fetch went away. `done`: it returned without an error.
    Abandoned {
        done: bool,
    },
}

/// One write or fetch under way.
pub(crate) struct Flight<B: DiskBackend> {
    pub(crate) key: CacheKey,
    digest: [u8; 16],
    pub(crate) id: EntryId,
    pub(crate) growth: Arc<Growth<B>>,
    doomed: AtomicBool,
    phase: watch::Sender<Phase>,
    about: Mutex<About>,
}

/// What purges by tag and label look at.
enum About {
    Unknown(Vec<PurgeScope>),
    Known { tags: Vec<Bytes>, label: Option<Bytes> },
}

impl<B: DiskBackend> Flight<B> {
    pub(crate) fn new(key: &CacheKey, digest: [u8; 16], id: u64) -> Arc<Self> {
        Arc::new(Self {
            key: key.clone(),
            digest,
            id: EntryId(id),
            growth: Growth::new(),
            doomed: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Fetching),
            about: Mutex::new(About::Unknown(Vec::new())),
        })
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Whether it will not be published, or may not be: a purge came that only its tags or its label can decide.
    pub(crate) fn may_be_doomed(&self) -> bool {
        let about = self.about.lock();
        self.is_doomed() || matches!(&*about, About::Unknown(scopes) if !scopes.is_empty())
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Goes on from fetching; a flight that has done so stays as it is.
    pub(crate) fn becomes(&self, next: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let fetching = matches!(phase, Phase::Fetching);
            if fetching {
                *phase = next;
            }
            fetching
        })
    }

    /// Waits until the fetch has said what it got.
    pub(crate) async fn decided(&self) -> Phase {
        let mut phase = self.phase.subscribe();
        // The sender is this flight's own: it is not dropped meanwhile.
        match phase.wait_for(|phase| !matches!(phase, Phase::Fetching)).await {
            Ok(phase) => phase.clone(),
            Err(_) => Phase::Abandoned { done: false },
        }
    }

    /// The tags and the label are known: purges that came before are decided. Inside the sequencer's section.
    pub(crate) fn describe(&self, options: &InsertOptions) {
        let known = About::Known { tags: options.get_tags().to_vec(), label: options.get_label().cloned() };
        let before = std::mem::replace(&mut *self.about.lock(), known);
        if let About::Unknown(scopes) = before {
            for scope in &scopes {
                self.meet(scope);
            }
        }
    }

    /// Dooms the flight if a purge means it.
    fn meet(&self, scope: &PurgeScope) {
        let mut about = self.about.lock();
        let key = &self.key;
        let hit = match (scope, &mut *about) {
            (PurgeScope::Namespace(namespace), _) => key.namespace() == namespace,
            (PurgeScope::Path { namespace, path }, _) => key.namespace() == namespace && key.path() == path,
            (PurgeScope::Prefix { namespace, prefix }, About::Known { label, .. }) => {
                let seen = label.as_deref().unwrap_or(key.path());
                key.namespace() == namespace && seen.starts_with(prefix)
            }
            (PurgeScope::Tag(tag), About::Known { tags, .. }) => tags.contains(tag),
            (PurgeScope::Prefix { namespace, .. }, _) if key.namespace() != namespace => false,
            (PurgeScope::Prefix { .. } | PurgeScope::Tag(_), About::Unknown(scopes)) => {
                if !scopes.contains(scope) {
                    scopes.push(scope.clone());
                }
                scopes.len() > MAX_UNDECIDED
            }
            // Everything, and what this version does not know.
            _ => true,
        };
        if hit {
            self.doom();
        }
    }
}

/// Flights by half of their key's digest.
type Flights<B> = HashMap<[u8; 16], Vec<Arc<Flight<B>>>>;

/// All flights.
pub(crate) struct Inflight<B: DiskBackend> {
    flights: Mutex<Flights<B>>,
    /// Keys in the table, so that an insert need not take its lock where there are none.
    keys: AtomicU64,
    /// Bytes leased by bodies that are not published.
    pub(crate) uncommitted: UncommittedBytes,
}

impl<B: DiskBackend> Inflight<B> {
    pub(crate) fn new() -> Self {
        let flights = Mutex::new(HashMap::new());
        Self { flights, keys: AtomicU64::new(0), uncommitted: UncommittedBytes::new(0) }
    }

    /// Enters a flight. Inside the sequencer's section.
    pub(crate) fn enter(&self, flight: &Arc<Flight<B>>) {
        let mut flights = self.flights.lock();
        flights.entry(flight.digest).or_default().push(flight.clone());
        self.keys.store(flights.len() as u64, Ordering::Release);
    }

    pub(crate) fn remove(&self, flight: &Arc<Flight<B>>) {
        let mut flights = self.flights.lock();
        if let Some(of_key) = flights.get_mut(&flight.digest) {
            of_key.retain(|other| !Arc::ptr_eq(other, flight));
            if of_key.is_empty() {
                flights.remove(&flight.digest);
            }
        }
        self.keys.store(flights.len() as u64, Ordering::Release);
    }

    /// The flight of this id, or the latest of the key that is not doomed.
    pub(crate) fn find(
        &self,
        key: &CacheKey,
        digest: &[u8; 16],
        id: Option<EntryId>,
    ) -> Option<Arc<Flight<B>>> {
        let flights = self.flights.lock();
        let fits = |f: &&Arc<Flight<B>>| f.key == *key && id.map_or_else(|| !f.is_doomed(), |id| f.id == id);
        flights.get(digest)?.iter().rev().find(fits).cloned()
    }

    /// Ids of all flights.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.flights.lock().values().flatten().map(|f| f.id.0).collect()
    }

    /// Dooms all flights of a key but one. Inside the sequencer's section, as all that follow.
    pub(crate) fn doom_key(&self, digest: &[u8; 16], but: Option<u64>) {
        if self.keys.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(of_key) = self.flights.lock().get(digest) {
            of_key.iter().filter(|f| Some(f.id.0) != but).for_each(|f| f.doom());
        }
    }

    /// Dooms the flight of this id; `false` where there is none.
    pub(crate) fn doom_exactly(&self, key: &CacheKey, digest: &[u8; 16], id: EntryId) -> bool {
        let found = self.find(key, digest, Some(id));
        found.inspect(|flight| flight.doom()).is_some()
    }

    /// Dooms what a purge means.
    pub(crate) fn doom_scope(&self, scope: &PurgeScope) {
        if self.keys.load(Ordering::Acquire) > 0 {
            self.flights.lock().values().flatten().for_each(|flight| flight.meet(scope));
        }
    }
}
