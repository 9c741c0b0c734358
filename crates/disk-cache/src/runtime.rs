//! The cache's own small runtime.

use cache_core::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// Ends in the background when dropped: a plain runtime panics when it is dropped inside an asynchronous context. Held by
/// the cache, and by its backend, so that a hit of a large body can be read to its end after the cache is gone.
#[derive(Debug)]
pub(crate) struct OwnRuntime(Option<Runtime>);

/// Threads for background work. Waiting for the device happens on the pool of blocking threads, or on rings.
const WORKERS: usize = 2;

impl OwnRuntime {
    /// # Errors
    /// [`Error::Io`] where no thread can be started.
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("disk-cache")
            .enable_time()
            .build()
            .map_err(|e| Error::io("start threads", "disk-cache", e))?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
