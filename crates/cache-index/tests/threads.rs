//! Many threads on one index; what must hold at the end, and at every moment.

mod common;

use cache_core::{CacheKey, PurgeMode, PurgeScope};
use cache_index::{Entry, Index, Purges, Touch};
use common::{ROW, Random, at, entry, id, index, tag, with_object};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

const THREADS: u64 = 4;
const STEPS: u64 = 20_000;

fn step(index: &Index<u32>, random: &mut Random, place: &AtomicU64) {
    let key = tag(random.below(400));
    let n = place.fetch_add(1, Ordering::Relaxed);
    let mut new = entry(at(1 + (n % 4) as u32, n * 8), 8 + random.below(100) as u32 * 8);
    if random.below(4) == 0 {
        new = with_object(new, n + 1, 4096);
    }
    match random.below(12) {
        0..4 => {
            index.publish(key, new);
        }
        4..8 => {
            let agrees = index.get(key, |e, s| (Touch::Yes, e.position.segment() == id(*s)));
            assert_ne!(agrees, Some(false), "an entry with the wrong segment");
        }
        8 => {
            if let Some(old) = index.peek(key)
                && let Some(gone) = index.replace(key, old.position, new)
            {
                assert_eq!(Entry { flags: old.flags, ..gone }, old);
            }
        }
        9 => {
            index.remove(key);
        }
        10 => {
            index.mark_stale(key, None);
        }
        _ => {
            index.evict();
        }
    }
}

#[test]
fn threads_at_work_leave_every_count_right() {
    let seed = 0x5EED_2024;
    println!("seed {seed}");
    let index = index(4);
    let place = AtomicU64::new(0);
    thread::scope(|scope| {
        for t in 0..THREADS {
            let (index, place) = (&index, &place);
            scope.spawn(move || {
                let mut random = Random::new(seed ^ (t << 32 | t));
                for n in 0..STEPS {
                    step(index, &mut random, place);
                    if n % 4096 == t {
                        assert_eq!(index.check_invariants(), Ok(()));
                    }
                }
            });
        }
    });
    assert_eq!(index.check_invariants(), Ok(()));
    let mut listed = 0;
    index.export(|_, _| listed += 1);
    assert_eq!(listed, index.len());
    while index.evict().is_some() {}
    assert_eq!((index.len(), index.live_bytes()), (0, 0));
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn every_entry_is_evicted_exactly_once() {
    let index = index(1);
    for n in 0..STEPS {
        index.publish(tag(n), entry(at(1, n * 8), 8));
    }
    let victims = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mine: Vec<u64> =
                    std::iter::from_fn(|| index.evict()).map(|v| v.1.position.offset() / 8).collect();
                victims.lock().expect("no panic").extend(mine);
            });
        }
    });
    let mut all = victims.into_inner().expect("no panic");
    all.sort_unstable();
    assert_eq!(all, (0..STEPS).collect::<Vec<_>>());
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn an_entry_always_finds_its_segment_while_the_log_turns_over() {
    let index = Index::new(ROW);
    index.attach(id(1), 1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for t in 0..2 {
            let (index, done) = (&index, &done);
            scope.spawn(move || {
                let mut random = Random::new(99 + t);
                while !done.load(Ordering::Relaxed) {
                    let seen =
                        index.get(tag(random.below(64)), |e, s| (Touch::Yes, e.position.segment() == id(*s)));
                    assert_ne!(seen, Some(false));
                }
            });
        }
        for n in 2..600 {
            index.attach(id(n), n);
            for k in 0..64 {
                match index.peek(tag(k)) {
                    // Some are moved, as by reclaim, the others stored anew.
                    Some(old) if k % 2 == 0 => {
                        index.replace(tag(k), old.position, entry(at(n, k * 8), 8));
                    }
                    _ => {
                        index.publish(tag(k), entry(at(n, k * 8), 8));
                    }
                }
            }
            assert_eq!(index.segment_live_bytes(id(n - 1)), 0);
            assert_eq!(index.detach(id(n - 1)), Some(n - 1));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((index.len(), index.check_invariants()), (64, Ok(())));
}

#[test]
fn a_purge_that_was_added_is_seen_by_every_thread_after_it() {
    let purges = Purges::new([1; 16]);
    let added = AtomicU64::new(0);
    let key = CacheKey::new("n", "p");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = added.load(Ordering::Acquire);
                    if n > 0 {
                        let verdict = purges.check(&key, at(1, (n - 1) * 8), cache_index::Flags::default());
                        assert!(verdict.removed, "purge {n}");
                    }
                    if n == 2000 {
                        break;
                    }
                }
            });
        }
        let scope = PurgeScope::Path { namespace: "n".into(), path: "p".into() };
        for n in 1..=2000 {
            purges.add(&scope, PurgeMode::Remove, at(1, n * 8));
            added.store(n, Ordering::Release);
        }
    });
}
