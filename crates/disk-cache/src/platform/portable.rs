//! Without `io_uring`: the tokio backend.

use crate::runtime::OwnRuntime;
use backend_tokio::TokioBackend;
use cache_core::{BackendChoice, BackendKind, Error, Result};
use std::{path::Path, sync::Arc};

/// What the engine runs on.
pub(crate) type Platform = TokioBackend;

pub(crate) async fn choose(
    choice: BackendChoice,
    runtime: &Arc<OwnRuntime>,
    _dir: &Path,
) -> Result<Platform> {
    if choice == BackendChoice::IoUring {
        return Err(Error::BackendUnavailable {
            backend: BackendKind::IoUring,
            reason: "it is Linux's, and the feature io-uring must be on".to_owned(),
        });
    }
    let Some(handle) = runtime.handle().cloned() else { return Err(Error::Closed) };
    Ok(TokioBackend::keeping(handle, runtime.clone()))
}
