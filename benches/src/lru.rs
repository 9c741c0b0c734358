//! The hit ratio that an exact LRU of so many entries has on a sequence of keys: the reference for the cache's own.

const NONE: u32 = u32::MAX;

/// Hits per access in the second half of `keys`, the first half being warm-up; every miss is filled.
pub fn hit_ratio(keys: &[u32], capacity: usize) -> f64 {
    hit_ratio_by(keys, capacity as u64, |_| 1)
}

/// The same where keys cost differently, bytes for instance; what costs more than the capacity is never held.
pub fn hit_ratio_by(keys: &[u32], capacity: u64, cost: impl Fn(u32) -> u64) -> f64 {
    let len = keys.iter().max().map_or(0, |&k| k as usize + 1);
    let mut list = List { links: vec![(NONE, NONE); len], held: vec![false; len], head: NONE, tail: NONE };
    let (mut taken, mut hits) = (0, 0usize);
    let half = keys.len() / 2;
    for (n, &key) in keys.iter().enumerate() {
        if list.held[key as usize] {
            hits += usize::from(n >= half);
            list.unlink(key);
            list.push(key);
        } else if cost(key) <= capacity {
            taken += cost(key);
            while taken > capacity {
                let victim = list.tail;
                list.unlink(victim);
                taken -= cost(victim);
            }
            list.push(key);
        }
    }
    hits as f64 / (keys.len() - half).max(1) as f64
}

struct List {
    /// Towards the head, towards the tail.
    links: Vec<(u32, u32)>,
    held: Vec<bool>,
    head: u32,
    tail: u32,
}

impl List {
    fn push(&mut self, key: u32) {
        self.links[key as usize] = (NONE, self.head);
        if self.head == NONE {
            self.tail = key;
        } else {
            self.links[self.head as usize].0 = key;
        }
        self.head = key;
        self.held[key as usize] = true;
    }

    fn unlink(&mut self, key: u32) {
        let (newer, older) = self.links[key as usize];
        if newer == NONE {
            self.head = older;
        } else {
            self.links[newer as usize].1 = older;
        }
        if older == NONE {
            self.tail = newer;
        } else {
            self.links[older as usize].0 = newer;
        }
        self.held[key as usize] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::hit_ratio;

    #[test]
    fn an_entry_takes_its_cost() {
        // Keys 0 and 1 fit together, 2 takes all the room.
        let keys = [0, 1, 0, 1, 0, 1, 2, 0];
        let ratio = super::hit_ratio_by(&keys, 4, |key| if key == 2 { 4 } else { 2 });
        assert!((ratio - 0.5).abs() < f64::EPSILON, "{ratio}: two hits among the last four");
    }

    #[test]
    fn a_loop_over_one_key_too_many_never_hits() {
        let keys: Vec<u32> = (0..400).map(|n| n % 4).collect();
        assert!(hit_ratio(&keys, 3) < f64::EPSILON);
        assert!((hit_ratio(&keys, 4) - 1.0).abs() < f64::EPSILON);
    }
}
