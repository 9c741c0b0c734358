//! Objects that are deleted in bulk.
//!
//! **Invariant**: a location that the store was given is forgotten before the answer about it is handed on, whichever it is.

use crate::DiskCacheStore;
use futures_util::{StreamExt, future::join_all, stream::BoxStream};
use object_store::{ObjectStore as _, Result, path::Path};
use std::{
    collections::HashSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

const FORGOTTEN_AT_ONCE: usize = 64;

/// The locations that the store was given and has not answered for.
#[derive(Clone, Debug, Default)]
struct Unanswered(Arc<Mutex<HashSet<Path>>>);

impl Unanswered {
    fn with<T>(&self, change: impl FnOnce(&mut HashSet<Path>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The locations that an answer may be about: an error does not say, and may be about many.
    fn answered(&self, answer: &Result<Path>) -> HashSet<Path> {
        self.with(|paths| match answer {
            Ok(path) => {
                paths.remove(path);
                HashSet::from([path.clone()])
            }
            Err(_) => mem::take(paths),
        })
    }
}

/// The answers of the store to what it is to delete.
pub(crate) fn forgetting(
    store: &DiskCacheStore,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    let (unanswered, store) = (Unanswered::default(), store.clone());
    let given = unanswered.clone();
    let locations = locations.inspect(move |location| {
        if let Ok(location) = location {
            given.with(|paths| paths.insert(location.clone()));
        }
    });
    let answers = store.inner.delete_stream(locations.boxed());
    answers
        .map(move |answer| {
            let (store, paths) = (store.clone(), unanswered.answered(&answer));
            async move {
                join_all(paths.iter().map(|path| store.forget(path))).await;
                answer
            }
        })
        // Several at a time: what waits for the disk waits for one sync together.
        .buffered(FORGOTTEN_AT_ONCE)
        .boxed()
}
