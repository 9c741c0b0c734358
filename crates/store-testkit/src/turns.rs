//! Who goes on next: a seed decides at every await, of the callers and of the background work.
//!
//! **Invariant**: every backend operation that matters stands at the gate of its verb until a turn lets one through, and a
//! caller's future is polled when its turn comes: the same seed gives the same order.

use cache_testkit::{Fault, FaultBackend, Gate, MemoryBackend, Rng, Rule, Verb};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// The verbs whose order the turns decide; the others do not change what is on disk.
const HELD: [Verb; 8] = [
    Verb::Open,
    Verb::SetLen,
    Verb::Read,
    Verb::Write,
    Verb::SyncData,
    Verb::Remove,
    Verb::SyncDir,
    Verb::FreeSpace,
];

/// A caller's work.
pub type Caller = Pin<Box<dyn Future<Output = ()>>>;

/// The gates of a backend.
pub struct Turns {
    faults: FaultBackend<MemoryBackend>,
    gates: [Gate; HELD.len()],
}

impl Turns {
    /// Holds every operation from now on.
    pub fn hold(faults: &FaultBackend<MemoryBackend>) -> Self {
        let gates = HELD.map(|verb| {
            let gate = Gate::new();
            faults.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([verb]).from_then_on());
            gate
        });
        Self { faults: faults.clone(), gates }
    }

    /// Gives turns until every caller is done.
    ///
    /// # Panics
    /// Where they come to no end.
    pub async fn give(&self, rng: &mut Rng, mut callers: Vec<Caller>) {
        let mut turns = 0u64;
        while !callers.is_empty() {
            turns += 1;
            assert!(turns < 1_000_000, "{} callers come to no end", callers.len());
            match rng.below(4) {
                0 => self.gates[rng.below(self.gates.len() as u64) as usize].release_one(),
                // Background work goes on, up to its next gate or timer.
                1 => tokio::time::sleep(Duration::from_millis(rng.below(4))).await,
                _ => {
                    let chosen = rng.below(callers.len() as u64) as usize;
                    let poll = |context: &mut Context<'_>| {
                        Poll::Ready(callers[chosen].as_mut().poll(context).is_ready())
                    };
                    if poll_fn(poll).await {
                        drop(callers.swap_remove(chosen));
                    }
                }
            }
        }
    }

    /// Holds nothing any more.
    pub fn end(self) {
        for gate in &self.gates {
            gate.open();
        }
        self.faults.clear();
    }
}
