//! What callers and ring threads share.

use crate::request::Message;
use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{Semaphore, mpsc};

/// A ring as its callers see it. Each has an allocation of its own, and so cache lines of its own.
pub(crate) struct Lane {
    pub(crate) sender: mpsc::UnboundedSender<Message>,
    /// Bounds what is in flight, and so the channel.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

impl Lane {
    pub(crate) fn new(sender: mpsc::UnboundedSender<Message>, depth: u32) -> Self {
        Self {
            sender,
            slots: Arc::new(Semaphore::new(depth as usize)),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }
    }

    /// Sends a message, or hands its request back where the thread takes no more.
    pub(crate) fn send(&self, message: Message) {
        if let Err(mpsc::error::SendError(message)) = self.sender.send(message) {
            message.hand_back();
        }
    }

    fn stop(&self) {
        // Those who wait for a place go elsewhere.
        self.slots.close();
        self.send(Message::Stop);
    }
}

/// Whether the rings are in use, and why not.
#[derive(Default)]
pub(crate) struct Shared {
    lanes: OnceLock<Box<[Arc<Lane>]>>,
    ended: OnceLock<String>,
}

impl Shared {
    /// Makes the rings known; once.
    pub(crate) fn set_lanes(&self, lanes: Vec<Arc<Lane>>) {
        let set = self.lanes.set(lanes.into());
        debug_assert!(set.is_ok(), "the rings are made once");
        // A ring that died before this could not stop the others.
        if self.ended.get().is_some() {
            self.stop_all();
        }
    }

    pub(crate) fn lanes(&self) -> &[Arc<Lane>] {
        self.lanes.get().map_or(&[], |lanes| lanes)
    }

    /// Why the rings are not in use any more.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    /// Ends the use of all rings, the first time with a warning.
    pub(crate) fn fall_back(&self, reason: String) {
        if self.ended.set(reason).is_ok() {
            tracing::warn!(
                reason = self.ended(),
                "io_uring is given up, disk operations go to blocking threads"
            );
            self.stop_all();
        }
    }

    /// Ends the use of all rings because that is wished.
    pub(crate) fn stop(&self, reason: &str) {
        if self.ended.set(reason.to_owned()).is_ok() {
            self.stop_all();
        }
    }

    fn stop_all(&self) {
        self.lanes().iter().for_each(|lane| lane.stop());
    }

    pub(crate) fn total(&self, count: impl Fn(&Lane) -> &AtomicU64) -> u64 {
        self.lanes().iter().map(|lane| count(lane).load(Ordering::Relaxed)).sum()
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
