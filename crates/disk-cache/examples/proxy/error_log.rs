//! Failures of the cache, logged once per kind: a full disk must not flood the log.

use disk_cache::Error;
use std::{
    collections::HashSet,
    mem::{self, Discriminant},
    sync::{Mutex, PoisonError},
};

/// Which kinds of failure were logged.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog(Mutex<HashSet<Discriminant<Error>>>);

impl ErrorLog {
    /// Logs the first error of a kind. No error of the cache fails a request.
    pub(crate) fn report(&self, error: &Error) {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(mem::discriminant(error));
        if first {
            tracing::warn!(%error, "the cache failed, going on without it; logged once per kind");
        }
    }
}
