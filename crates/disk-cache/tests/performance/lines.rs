//! Counts what a cache says of itself.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Counts the events whose message has a certain part.
#[derive(Clone)]
pub(crate) struct Lines {
    part: &'static str,
    seen: Arc<AtomicUsize>,
}

impl Lines {
    pub(crate) fn with(part: &'static str) -> Self {
        Self { part, seen: Arc::default() }
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        if message.0.contains(self.part) {
            self.seen.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
