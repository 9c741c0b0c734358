//! Without `io_uring`: the tokio backend.

use backend_tokio::TokioBackend;
use cache_core::{BackendChoice, BackendKind, Error, Result};
use std::path::Path;
use tokio::runtime::Handle;

/// What the engine runs on.
pub(crate) type Platform = TokioBackend;

pub(crate) async fn choose(choice: BackendChoice, handle: Handle, _dir: &Path) -> Result<Platform> {
    if choice == BackendChoice::IoUring {
        return Err(Error::BackendUnavailable {
            backend: BackendKind::IoUring,
            reason: "it is Linux's, and the feature io-uring must be on".to_owned(),
        });
    }
    Ok(TokioBackend::new(handle))
}
