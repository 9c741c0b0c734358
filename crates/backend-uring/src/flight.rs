//! How many operations the kernel has of one ring.

use std::{cell::Cell, rc::Rc};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// Counts the operations of one ring that own something the kernel may touch.
#[derive(Default)]
pub(crate) struct Flights {
    count: Cell<usize>,
    landed: Notify,
}

/// One operation in flight. It is part of what the operation owns until its completion, so it lands no earlier than that,
/// even where the task that waited for it is gone.
pub(crate) struct Flight {
    flights: Rc<Flights>,
    /// The caller's place among those allowed at once.
    _slot: OwnedSemaphorePermit,
}

impl Flights {
    pub(crate) fn start(self: &Rc<Self>, slot: OwnedSemaphorePermit) -> Flight {
        self.count.set(self.count.get() + 1);
        Flight { flights: self.clone(), _slot: slot }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn landed(&self) {
        while self.count.get() > 0 {
            self.landed.notified().await;
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let left = self.flights.count.get() - 1;
        self.flights.count.set(left);
        if left == 0 {
            self.flights.landed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn all_have_landed_when_the_last_one_has() {
        let (flights, slots) = (Rc::new(Flights::default()), Arc::new(Semaphore::new(2)));
        assert!(flights.landed().now_or_never().is_some(), "nothing is in flight");
        let slot = || slots.clone().try_acquire_owned().expect("a slot");
        let (one, two) = (flights.start(slot()), flights.start(slot()));
        assert_eq!((flights.count(), slots.available_permits()), (2, 0));
        let mut landed = std::pin::pin!(flights.landed());
        assert!(landed.as_mut().now_or_never().is_none());
        drop(one);
        assert!(landed.as_mut().now_or_never().is_none());
        drop(two);
        assert!(landed.as_mut().now_or_never().is_some());
        assert_eq!(slots.available_permits(), 2);
    }
}
