//! Holds operations until a test has arranged the race it wants.

use std::{fmt, sync::Arc};
use tokio::sync::Semaphore;

/// A gate that is shut at first. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    arrived: Semaphore,
    open: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A shut gate.
    pub fn new() -> Self {
        Self(Arc::new(Inner { arrived: Semaphore::new(0), open: Semaphore::new(0) }))
    }

    /// Waits until an operation stands at the gate; the second call for the second one, and so on.
    pub async fn arrived(&self) {
        if let Ok(permit) = self.0.arrived.acquire().await {
            permit.forget();
        }
    }

    /// Lets one operation through, now or when it comes.
    pub fn release_one(&self) {
        self.0.open.add_permits(1);
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.0.open.close();
    }

    pub(super) async fn pass(&self) {
        self.0.arrived.add_permits(1);
        if let Ok(permit) = self.0.open.acquire().await {
            permit.forget();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.0.open.is_closed()).finish_non_exhaustive()
    }
}
