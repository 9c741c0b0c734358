//! What a thread may meet half way through an operation of another, under a model checker:
//! `cargo xtask faults interleavings`.
#![allow(clippy::unwrap_used, reason = "clippy does not take a module of two conditions for tests")]

use crate::{Entry, Flags, Index, Position, Purges, SegmentId, Tag, Touch, sync::explore};
use cache_core::{CacheKey, PurgeMode, PurgeScope};
use shuttle::thread;
use std::sync::Arc;

/// A tag of one of the shards.
fn tag(shard: u64, n: u64) -> Tag {
    Tag(shard << 40 | n)
}

fn at(segment: u32, offset: u64) -> Position {
    Position::new(SegmentId::new(segment), offset)
}

fn entry(position: Position) -> Entry {
    Entry { position, len: 8, expires_ms: 0, flags: Flags::default(), object: None }
}

/// An index of one segment with these entries, the first of them used least recently.
fn filled(tags: &[Tag]) -> Arc<Index<u32>> {
    let index = Index::new(64);
    index.attach(SegmentId::new(1), 1);
    for (n, tag) in tags.iter().enumerate() {
        index.publish(*tag, entry(at(1, n as u64 * 8)));
    }
    Arc::new(index)
}

#[test]
fn two_evictions_at_once_take_the_two_least_recently_used() {
    explore(|| {
        let (first, second) = (tag(0, 1), tag(1, 2));
        let index = filled(&[first, second, tag(0, 3)]);
        let evict = {
            let index = index.clone();
            move || index.evict().map(|(tag, _)| tag)
        };
        let other = thread::spawn(evict.clone());
        let mut victims = [evict(), other.join().unwrap()];
        victims.sort();
        assert_eq!(victims, [Some(first), Some(second)]);
        assert_eq!(index.check_invariants(), Ok(()));
    });
}

#[test]
fn an_entry_that_is_used_before_it_is_evicted_stays_and_the_next_one_goes() {
    explore(|| {
        let (first, second) = (tag(0, 1), tag(1, 2));
        let index = filled(&[first, second, tag(2, 3)]);
        let user = {
            let index = index.clone();
            thread::spawn(move || index.get(first, |_, _| (Touch::Yes, ())).is_some())
        };
        let victim = index.evict().map(|(tag, _)| tag);
        let used = user.join().unwrap();
        assert_eq!(victim, Some(if used { second } else { first }));
    });
}

#[test]
fn an_entry_and_its_segment_are_found_at_every_moment_of_a_move() {
    explore(|| {
        let moved = tag(0, 1);
        let index = filled(&[moved]);
        let mover = {
            let index = index.clone();
            thread::spawn(move || {
                index.attach(SegmentId::new(2), 2);
                assert!(index.replace(moved, at(1, 0), entry(at(2, 0))).is_some());
                assert_eq!(index.detach(SegmentId::new(1)), Some(1));
            })
        };
        for _ in 0..2 {
            let fits = index.get(moved, |e, s| (Touch::Yes, e.position.segment().get() == *s));
            assert_eq!(fits, Some(true));
        }
        mover.join().unwrap();
        assert_eq!(index.check_invariants(), Ok(()));
    });
}

#[test]
fn every_count_is_right_at_every_moment() {
    explore(|| {
        let (one, two) = (tag(0, 1), tag(1, 2));
        let index = filled(&[one, two]);
        let run = |work: fn(&Index<u32>, Tag), tag: Tag| {
            let index = index.clone();
            thread::spawn(move || work(&index, tag))
        };
        let all = [
            run(
                |index, tag| {
                    index.publish(tag, entry(at(1, 80)));
                    index.remove(tag);
                },
                one,
            ),
            run(
                |index, tag| {
                    index.replace(tag, at(1, 0), entry(at(1, 88)));
                    index.mark_stale(tag, None);
                },
                one,
            ),
            run(
                |index, tag| {
                    index.evict();
                    index.publish(tag, entry(at(1, 96)));
                },
                two,
            ),
        ];
        assert_eq!(index.check_invariants(), Ok(()));
        for thread in all {
            thread.join().unwrap();
        }
        assert_eq!(index.check_invariants(), Ok(()));
    });
}

#[test]
fn a_purge_that_was_added_is_seen_whatever_is_forgotten_meanwhile() {
    explore(|| {
        let purges = Arc::new(Purges::new([1; 16]));
        let path = |path: &'static [u8]| PurgeScope::Path { namespace: "n".into(), path: path.into() };
        purges.add(&path(b"old"), PurgeMode::Remove, at(1, 0));
        let cleaner = {
            let purges = purges.clone();
            thread::spawn(move || purges.forget_before(SegmentId::new(2)))
        };
        purges.add(&path(b"p"), PurgeMode::Remove, at(3, 0));
        let hit = || purges.check(&CacheKey::new("n", "p"), at(2, 0), Flags::default()).removed;
        assert!(hit());
        cleaner.join().unwrap();
        assert!(hit());
        assert_eq!(purges.len(), 1);
    });
}
