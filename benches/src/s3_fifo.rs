//! The hit ratio of S3-FIFO, a policy that scans and one-hit wonders do not get far in: what an exact LRU is held against.
//! (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.)

use std::collections::{HashMap, VecDeque};

/// Of the capacity, what new keys get.
const SMALL_SHARE: u64 = 10;
/// Hits that are remembered of a key.
const MOST_HITS: u8 = 3;

/// Hits per access in the second half of `keys`, the first half being warm-up; every miss is filled.
pub fn hit_ratio_by(keys: &[u32], capacity: u64, cost: impl Fn(u32) -> u64) -> f64 {
    let mut cache = Cache { capacity, ..Cache::default() };
    let half = keys.len() / 2;
    let mut hits = 0usize;
    for (n, &key) in keys.iter().enumerate() {
        if let Some(count) = cache.held.get_mut(&key) {
            *count = (*count + 1).min(MOST_HITS);
            hits += usize::from(n >= half);
        } else if cost(key) <= capacity / SMALL_SHARE {
            cache.insert(key, &cost);
        }
    }
    hits as f64 / (keys.len() - half).max(1) as f64
}

#[derive(Default)]
struct Cache {
    capacity: u64,
    /// What is in one of the queues, and how often it was hit there.
    held: HashMap<u32, u8>,
    small: Queue,
    main: Queue,
    /// Keys that left the small queue without a hit, and the turn at which they did.
    ghosts: HashMap<u32, u64>,
    ghost_order: VecDeque<(u32, u64)>,
    turn: u64,
}

#[derive(Default)]
struct Queue {
    keys: VecDeque<u32>,
    cost: u64,
}

impl Queue {
    fn push(&mut self, key: u32, cost: u64) {
        self.keys.push_back(key);
        self.cost += cost;
    }

    fn pop(&mut self, cost: impl Fn(u32) -> u64) -> Option<u32> {
        let key = self.keys.pop_front()?;
        self.cost -= cost(key);
        Some(key)
    }
}

impl Cache {
    fn insert(&mut self, key: u32, cost: &impl Fn(u32) -> u64) {
        while self.small.cost + self.main.cost + cost(key) > self.capacity {
            if self.small.cost > self.capacity / SMALL_SHARE || self.main.keys.is_empty() {
                self.evict_small(cost);
            } else {
                self.evict_main(cost);
            }
        }
        self.held.insert(key, 0);
        if self.ghosts.remove(&key).is_some() {
            self.main.push(key, cost(key));
        } else {
            self.small.push(key, cost(key));
        }
    }

    fn evict_small(&mut self, cost: &impl Fn(u32) -> u64) {
        while let Some(key) = self.small.pop(cost) {
            if self.held.get(&key).is_some_and(|&hits| hits > 0) {
                self.held.insert(key, 0);
                self.main.push(key, cost(key));
                continue;
            }
            self.held.remove(&key);
            self.turn += 1;
            self.ghosts.insert(key, self.turn);
            self.ghost_order.push_back((key, self.turn));
            self.forget_ghosts();
            return;
        }
    }

    fn evict_main(&mut self, cost: &impl Fn(u32) -> u64) {
        while let Some(key) = self.main.pop(cost) {
            let hits = self.held.get(&key).copied().unwrap_or(0);
            if hits == 0 {
                self.held.remove(&key);
                return;
            }
            self.held.insert(key, hits - 1);
            self.main.push(key, cost(key));
        }
    }

    /// As many as the main queue has room for, counted in entries like those that are held now.
    fn forget_ghosts(&mut self) {
        while self.ghosts.len() > self.held.len() * 9 / 10 {
            let Some((key, turn)) = self.ghost_order.pop_front() else { return };
            if self.ghosts.get(&key) == Some(&turn) {
                self.ghosts.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lru;

    #[test]
    fn a_scan_costs_it_less_than_it_costs_lru() {
        // Fifty keys asked for again and again, and a key that never comes back after each.
        let keys: Vec<u32> = (0..20_000).map(|n| if n % 2 == 0 { n / 2 % 50 } else { 100 + n }).collect();
        let (fifo, lru) = (hit_ratio_by(&keys, 60, |_| 1), lru::hit_ratio(&keys, 60));
        assert!(lru < 0.01 && fifo > 0.4, "{fifo} and {lru}");
    }
}
