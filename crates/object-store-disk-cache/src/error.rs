//! Errors that several callers get at once.

use object_store::Error;
use std::{error, fmt, sync::Arc};

/// What the store's errors are named after where they are this crate's own.
pub(crate) const NAME: &str = "DiskCacheStore";

/// An error of the store, in the hands of all that waited for its answer. `object_store`'s is not `Clone`.
#[derive(Clone, Debug)]
struct Shared(Arc<dyn error::Error + Send + Sync>);

/// The text of its cause: the variant around it says the rest.
impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => write!(f, "{cause}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl error::Error for Shared {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source()
    }
}

/// The store's error, of the same kind, if a fetch failed with one.
pub(crate) fn of_store(failed: &disk_cache::Error) -> Option<Error> {
    let disk_cache::Error::Fetch(failed) = failed else { return None };
    let source = Box::new(Shared(failed.clone()));
    Some(match failed.downcast_ref::<Error>()? {
        Error::NotFound { path, .. } => Error::NotFound { path: path.clone(), source },
        Error::NotSupported { .. } => Error::NotSupported { source },
        Error::Precondition { path, .. } => Error::Precondition { path: path.clone(), source },
        Error::NotModified { path, .. } => Error::NotModified { path: path.clone(), source },
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path: path.clone(), source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path: path.clone(), source },
        Error::NotImplemented { operation, implementer } => {
            Error::NotImplemented { operation: operation.clone(), implementer: implementer.clone() }
        }
        Error::Generic { store, .. } => Error::Generic { store, source },
        _ => Error::Generic { store: NAME, source },
    })
}

/// Whether an object is not, or no longer, what it was taken for.
pub(crate) fn is_outdated(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. } | Error::NotFound { .. })
}

/// An object that is not, or no longer, what it was taken for.
pub(crate) fn outdated(path: &object_store::path::Path, why: impl fmt::Display) -> Error {
    Error::Precondition { path: path.to_string(), source: why.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_wait_get_an_error_of_the_kind_that_the_store_gave() {
        let given = Error::NotFound { path: "a".to_owned(), source: "no such key".into() };
        let text = given.to_string();
        let failed = disk_cache::Error::Fetch(Arc::new(given));
        for _ in 0..2 {
            let got = of_store(&failed).expect("an error of the store");
            assert!(matches!(&got, Error::NotFound { path, .. } if path == "a"), "{got:?}");
            assert_eq!(got.to_string(), text);
        }
    }

    #[test]
    fn an_error_of_the_cache_is_not_the_stores() {
        let stored = disk_cache::Error::Fetch(Arc::new(disk_cache::Error::Closed));
        assert!(of_store(&stored).is_none());
        assert!(of_store(&disk_cache::Error::Closed).is_none());
    }
}
