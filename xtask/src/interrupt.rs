//! Ctrl-C: children on the terminal get it by themselves, a container has to be told. Whoever waits for a child goes on, cleans
//! up and then learns of it here.

use std::{
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static CONTAINER: Mutex<Option<String>> = Mutex::new(None);

/// Takes over Ctrl-C and SIGTERM.
///
/// # Errors
/// The system's.
pub(crate) fn install() -> Result<(), String> {
    let handler = || {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let container = CONTAINER.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(container) = container {
            remove(&container);
        }
    };
    ctrlc::set_handler(handler).map_err(|e| format!("Ctrl-C: {e}"))
}

/// # Errors
/// That this process was told to stop.
pub(crate) fn check() -> Result<(), String> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err("interrupted".to_owned()) } else { Ok(()) }
}

/// A container that is gone when this is dropped, or at an interrupt.
pub(crate) struct Container(String);

impl Container {
    /// Takes the name; one that an earlier run left behind, killed without a chance to clean up, goes.
    pub(crate) fn named(name: &str) -> Self {
        remove(name);
        *CONTAINER.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
        Self(name.to_owned())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        *CONTAINER.lock().unwrap_or_else(PoisonError::into_inner) = None;
        remove(&self.0);
    }
}

/// Removes a container with its nameless volumes; there may be none.
fn remove(name: &str) {
    let mut command = Command::new("docker");
    command.args(["rm", "--force", "--volumes", name]);
    drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
}
