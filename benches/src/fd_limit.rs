//! Room for as many open files as the system gives.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; a cache keeps all its segments open.
///
/// # Errors
/// That of `setrlimit(2)`.
pub fn raise() -> crate::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
