//! Turns of those who wait for room in the log.
//!
//! **Invariant**: who begins to wait later is at most [`AT_ONCE`] places ahead. Whoever was just served would else be back before
//! those are awake who have waited longest: on a busy runtime some waited a hundred times as long as others.

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many try at the same time: one after the other, each would wait for the one before to be woken.
const AT_ONCE: usize = 16;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

/// One of those who may try; the next one's turn comes when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }

    /// Whether nobody waits.
    pub(crate) fn are_free(&self) -> bool {
        self.0.available_permits() == AT_ONCE
    }

    /// Waits for its turn, first come, first served.
    ///
    /// # Cancellation
    /// Dropped, it gives its place up.
    pub(crate) async fn take(&self) -> Turn<'_> {
        // The semaphore is never closed.
        Turn { _permit: self.0.acquire().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, pin::pin, task::Context};

    #[test]
    fn turns_come_in_the_order_of_asking_and_a_dropped_one_is_passed_on() {
        let turns = Turns::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(turns.are_free());
        let mut held: Vec<_> = (0..AT_ONCE).map(|_| Box::pin(turns.take())).collect();
        let mut held: Vec<_> = held.iter_mut().map(|turn| turn.as_mut().poll(&mut context)).collect();
        assert!(held.iter().all(std::task::Poll::is_ready));
        let (mut first, mut second) = (Box::pin(turns.take()), pin!(turns.take()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        held.pop();
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        let passed_on = second.as_mut().poll(&mut context);
        drop(held);
        assert!(passed_on.is_ready() && !turns.are_free(), "the second has its turn");
        drop(passed_on);
        assert!(turns.are_free());
    }
}
