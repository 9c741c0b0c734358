//! Which new entries are worth a write to the disk.
//!
//! **Invariant**: bounded memory, whatever keys come: two bit fields of fixed size, each replaced when it has taken as many
//! keys as it was made for.

use crate::CacheKey;
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// Decides whether a key that the cache does not hold is stored. Asked once for each write, on the caller's thread: it must
/// be quick.
pub trait Admission: fmt::Debug + Send + Sync + 'static {
    /// Whether to store this key now.
    fn admit(&self, key: &CacheKey) -> bool;
}

/// Admits a key the second time it is offered, so that what is asked for once does not wear the disk. Remembers at least the
/// last `keys` different ones in 2 to 3 bytes each; one in a hundred or so is admitted at first sight.
pub struct SecondHit {
    keys: usize,
    sketch: Mutex<Sketch>,
}

/// Two Bloom filters: the younger one takes keys, the older one is dropped when the younger is full.
struct Sketch {
    young: Vec<u64>,
    old: Vec<u64>,
    taken: usize,
}

/// Bits per key and filter, and how many of them a key sets.
const BITS: usize = 10;
const PROBES: usize = 5;

impl fmt::Debug for SecondHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondHit").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl SecondHit {
    /// Remembers at least the last `keys` different keys: about as many as the cache holds entries is a good start.
    pub fn new(keys: usize) -> Self {
        let keys = keys.max(64);
        let words = (keys * BITS).div_ceil(64);
        Self { keys, sketch: Mutex::new(Sketch { young: vec![0; words], old: vec![0; words], taken: 0 }) }
    }
}

impl Admission for SecondHit {
    fn admit(&self, key: &CacheKey) -> bool {
        let (first, step) = halves(key);
        let mut sketch = self.sketch.lock().unwrap_or_else(PoisonError::into_inner);
        let bits = sketch.young.len() * 64;
        let probes: [usize; PROBES] =
            std::array::from_fn(|n| (first.wrapping_add(step.wrapping_mul(n as u64)) % bits as u64) as usize);
        let set = |filter: &[u64]| probes.iter().all(|bit| filter[bit / 64] >> (bit % 64) & 1 == 1);
        if set(&sketch.young) {
            return true;
        }
        let seen = set(&sketch.old);
        if sketch.taken >= self.keys {
            let Sketch { young, old, taken } = &mut *sketch;
            std::mem::swap(young, old);
            young.fill(0);
            *taken = 0;
        }
        for bit in probes {
            sketch.young[bit / 64] |= 1 << (bit % 64);
        }
        sketch.taken += 1;
        seen
    }
}

/// Two words of the key's digest; the second is odd, so that probes differ.
fn halves(key: &CacheKey) -> (u64, u64) {
    let word = |from: usize| {
        key.digest()[from..from + 8].iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte))
    };
    (word(16), word(24) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> CacheKey {
        CacheKey::from(format!("{n}"))
    }

    #[test]
    fn a_key_is_admitted_the_second_time_while_it_is_remembered() {
        let policy = SecondHit::new(1000);
        let early = (0..1000).filter(|n| policy.admit(&key(*n))).count();
        assert!(early < 30, "{early} of 1000 were taken for known");
        assert!((0..1000).all(|n| policy.admit(&key(n))));
    }

    #[test]
    fn keys_from_long_ago_are_forgotten_and_memory_stays_as_it_is() {
        let policy = SecondHit::new(1000);
        let words = || policy.sketch.lock().unwrap().young.len();
        let before = words();
        for n in 0..100_000 {
            policy.admit(&key(n));
        }
        let known = (0..1000).filter(|n| policy.admit(&key(*n))).count();
        assert!(known < 60, "{known} of 1000 are still known");
        assert_eq!(words(), before);
    }
}
