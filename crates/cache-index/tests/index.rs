//! What one operation on the index does, and what it leaves alone.

mod common;

use cache_index::{Entry, Flags, Index, MAX_SEGMENTS, ObjectRef, Position, Tag, Touch};
use common::{ROW, at, entry, exported, id, index, neighbour, tag, with_object};
use std::sync::Arc;

fn use_of(index: &Index<u32>, tag: Tag) {
    index.get(tag, |_, _| (Touch::Yes, ())).expect("an entry");
}

#[test]
fn an_empty_index_has_nothing_to_give() {
    let index = index(1);
    assert!(index.is_empty() && index.evict().is_none() && index.peek(tag(1)).is_none());
    assert!(index.get(tag(1), |_, _| (Touch::Yes, ())).is_none());
    assert!(index.remove(tag(1)).is_none() && index.mark_stale(tag(1), None).is_none());
    assert_eq!((index.len(), index.live_bytes(), exported(&index)), (0, 0, vec![]));
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn an_entry_comes_back_as_it_went_in_at_every_bound() {
    let index = Index::new(ROW);
    let newest = u32::MAX;
    let oldest = newest - (MAX_SEGMENTS - 1);
    index.attach_all([(id(oldest), oldest), (id(newest), newest)]);
    let mut n = 0;
    for segment in [oldest, newest] {
        for (offset, len) in [(0, 8), (Position::MAX_OFFSET - 8, Entry::MAX_LEN - 8)] {
            for expires_ms in [0, 1, Entry::MAX_EXPIRES_MS] {
                for object in [None, Some(ObjectRef { id: u64::MAX, disk: 1 << 50 })] {
                    for bits in 0..16 {
                        let flags = Flags {
                            stale: bits & 1 > 0,
                            tagged: bits & 2 > 0,
                            labelled: bits & 4 > 0,
                            unproven: bits & 8 > 0,
                        };
                        let e = Entry { position: at(segment, offset), len, expires_ms, flags, object };
                        n += 1;
                        assert_eq!(index.publish(tag(n), e), None);
                        assert_eq!(index.peek(tag(n)), Some(e));
                        assert_eq!(index.get(tag(n), |e, s| (Touch::No, (*e, *s))), Some((e, segment)));
                    }
                }
            }
        }
    }
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn tags_that_share_the_bits_of_a_shard_or_bucket_stay_apart() {
    let index = index(1);
    let tags = [Tag(0), Tag(1 << 63), Tag(1 << 40), Tag(1), Tag(u64::MAX), Tag(u64::MAX ^ 1 << 30)];
    for (i, &tag) in tags.iter().enumerate() {
        index.publish(tag, entry(at(1, i as u64 * 8), 64));
    }
    for (i, &tag) in tags.iter().enumerate() {
        assert_eq!(index.peek(tag).map(|e| e.position), Some(at(1, i as u64 * 8)));
    }
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn a_get_that_does_not_count_leaves_the_order_alone() {
    let index = index(1);
    for n in 0..3 {
        index.publish(tag(n), entry(at(1, n * 8), 8));
    }
    index.get(tag(0), |_, _| (Touch::No, ()));
    index.peek(tag(0));
    assert_eq!(index.evict().map(|v| v.0), Some(tag(0)));
}

#[test]
fn victims_come_in_the_order_of_use_across_shards() {
    let index = index(1);
    for n in 0..2000 {
        index.publish(tag(n), entry(at(1, n * 8), 8));
    }
    for n in (0..2000).step_by(3) {
        use_of(&index, tag(n));
    }
    let expected = (0..2000).filter(|n| n % 3 != 0).chain((0..2000).step_by(3));
    for n in expected {
        assert_eq!(index.evict().map(|v| v.0), Some(tag(n)));
    }
    assert!(index.evict().is_none());
}

#[test]
fn victims_come_in_the_order_of_use_inside_a_shard() {
    let index = index(1);
    for n in 0..600 {
        index.publish(neighbour(n), entry(at(1, n * 8), 8));
    }
    use_of(&index, neighbour(0));
    use_of(&index, neighbour(599));
    index.remove(neighbour(1));
    let order: Vec<Tag> = std::iter::from_fn(|| index.evict()).map(|v| v.0).collect();
    let expected: Vec<Tag> = (2..599).chain([0, 599]).map(neighbour).collect();
    assert_eq!(order, expected);
}

#[test]
fn an_overwrite_is_a_use_and_gives_the_replaced_entry() {
    let index = index(2);
    let first = with_object(entry(at(1, 0), 96), 7, 8192);
    index.publish(tag(1), first);
    index.publish(tag(2), entry(at(1, 96), 8));
    assert_eq!(index.publish(tag(1), entry(at(2, 0), 8)), Some(first));
    assert_eq!(index.evict().map(|v| v.0), Some(tag(2)));
    assert_eq!(index.evict(), Some((tag(1), entry(at(2, 0), 8))));
}

#[test]
fn a_replacement_happens_only_at_the_expected_place() {
    let index = index(2);
    let (old, new) = (entry(at(1, 0), 64), entry(at(2, 0), 64));
    index.publish(tag(1), old);
    assert_eq!(index.replace(tag(1), at(1, 8), new), None);
    assert_eq!(index.replace(tag(2), at(1, 0), new), None);
    assert_eq!(index.peek(tag(1)), Some(old));
    assert_eq!(index.replace(tag(1), at(1, 0), new), Some(old));
    assert_eq!(index.replace(tag(1), at(1, 0), old), None, "the place has changed meanwhile");
    assert_eq!((index.peek(tag(1)), index.len()), (Some(new), 1));
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn a_replacement_keeps_tick_and_place_in_the_order_of_use() {
    let index = index(2);
    for n in 0..3 {
        index.publish(tag(n), entry(at(1, n * 8), 8));
    }
    let tick = index.tick_of(tag(0), at(1, 0));
    index.replace(tag(0), at(1, 0), entry(at(2, 0), 8)).expect("at its place");
    assert!(tick.is_some());
    assert_eq!((index.tick_of(tag(0), at(2, 0)), index.tick_of(tag(0), at(1, 0))), (tick, None));
    assert_eq!(index.evict().map(|v| v.0), Some(tag(0)));
}

#[test]
fn ticks_tell_who_was_used_later() {
    let index = index(1);
    index.publish(tag(1), entry(at(1, 0), 8));
    index.publish(tag(2), entry(at(1, 8), 8));
    assert!(index.tick_of(tag(1), at(1, 0)) < index.tick_of(tag(2), at(1, 8)));
    use_of(&index, tag(1));
    assert!(index.tick_of(tag(1), at(1, 0)) > index.tick_of(tag(2), at(1, 8)));
}

#[test]
fn a_removal_by_place_spares_a_newer_entry() {
    let index = index(1);
    index.publish(tag(1), entry(at(1, 0), 8));
    index.publish(tag(1), entry(at(1, 8), 8));
    assert_eq!(index.remove_at(tag(1), at(1, 0)), None);
    assert_eq!(index.remove_at(tag(1), at(1, 8)), Some(entry(at(1, 8), 8)));
    assert_eq!((index.peek(tag(1)), index.check_invariants()), (None, Ok(())));
}

#[test]
fn a_stale_mark_changes_nothing_else_and_is_no_use() {
    let index = index(1);
    let first = with_object(Entry { expires_ms: 5, ..entry(at(1, 0), 8) }, 3, 4096);
    index.publish(tag(1), first);
    index.publish(tag(2), entry(at(1, 8), 8));
    assert_eq!(index.mark_stale(tag(1), Some(at(1, 8))), None);
    assert_eq!(index.peek(tag(1)), Some(first));
    assert_eq!(index.mark_stale(tag(1), Some(at(1, 0))), Some(first));
    let stale = Entry { flags: Flags { stale: true, ..first.flags }, ..first };
    assert_eq!(index.mark_stale(tag(1), None), Some(stale));
    assert_eq!(index.evict(), Some((tag(1), stale)));
}

#[test]
fn live_bytes_follow_every_change() {
    let index = index(2);
    let row = u64::from(ROW);
    index.publish(tag(1), with_object(entry(at(1, 0), 64), 1, 1 << 20));
    index.publish(tag(2), entry(at(1, 64), 128));
    assert_eq!(index.live_bytes(), 64 + 128 + 2 * row + (1 << 20));
    assert_eq!(index.segment_live_bytes(id(1)), 64 + 128 + 2 * row);
    index.replace(tag(1), at(1, 0), with_object(entry(at(2, 0), 32), 1, 1 << 20)).expect("at its place");
    assert_eq!(index.segment_live_bytes(id(1)), 128 + row);
    assert_eq!(index.segment_live_bytes(id(2)), 32 + row);
    index.publish(tag(1), entry(at(2, 32), 8));
    assert_eq!(index.live_bytes(), 8 + 128 + 2 * row);
    index.remove(tag(1));
    assert_eq!((index.live_bytes(), index.segment_live_bytes(id(2))), (128 + row, 0));
    index.evict();
    assert_eq!((index.live_bytes(), index.len(), index.segment_live_bytes(id(1))), (0, 0, 0));
    assert_eq!(index.segment_live_bytes(id(9)), 0, "not attached");
}

#[test]
fn the_size_of_an_entry_counts_record_row_and_object() {
    let index = index(1);
    assert_eq!(index.disk_size(&entry(at(1, 0), 64)), 64 + u64::from(ROW));
    assert_eq!(index.disk_size(&with_object(entry(at(1, 0), 64), 1, 4096)), 64 + u64::from(ROW) + 4096);
}

#[test]
fn objects_come_and_go_with_overwrites() {
    let index = index(1);
    let plain = entry(at(1, 0), 8);
    let (one, two) = (with_object(plain, 1, 4096), with_object(plain, 2, 8192));
    for (new, old) in [(plain, None), (one, Some(plain)), (two, Some(one)), (plain, Some(two))] {
        assert_eq!(index.publish(tag(1), new), old);
        assert_eq!((index.peek(tag(1)), index.check_invariants()), (Some(new), Ok(())));
    }
    // The slot is used again by an entry without an object.
    index.publish(neighbour(1), one);
    index.remove(neighbour(1));
    index.publish(neighbour(2), plain);
    assert_eq!((index.peek(neighbour(2)), index.check_invariants()), (Some(plain), Ok(())));
}

#[test]
fn export_shows_the_least_recently_used_first() {
    let index = index(1);
    for n in 0..1500 {
        index.publish(tag(n), entry(at(1, n * 8), 8));
    }
    for n in (0..1500).rev().step_by(2) {
        use_of(&index, tag(n));
    }
    let order: Vec<Tag> = exported(&index).into_iter().map(|(tag, _)| tag).collect();
    let expected: Vec<Tag> = (0..1500).step_by(2).chain((0..1500).rev().step_by(2)).map(tag).collect();
    assert_eq!(order, expected);
}

#[test]
fn an_exported_index_published_again_evicts_in_the_same_order() {
    let (first, second) = (index(1), index(1));
    for n in 0..500 {
        first.publish(tag(n), entry(at(1, n * 8), 8));
    }
    use_of(&first, tag(17));
    second.reserve(first.len());
    first.export(|tag, entry| assert_eq!(second.publish(tag, *entry), None));
    assert_eq!(exported(&second), exported(&first));
    assert_eq!((second.live_bytes(), second.check_invariants()), (first.live_bytes(), Ok(())));
    assert_eq!(std::iter::from_fn(|| second.evict()).last().map(|v| v.0), Some(tag(17)));
}

#[test]
fn entries_published_all_at_once_are_as_if_published_one_after_another() {
    published_at_once_or_not(3000, 700);
}

#[test]
fn entries_published_by_several_threads_are_as_if_published_one_after_another() {
    published_at_once_or_not(100_000, 40_000);
}

fn published_at_once_or_not(count: u64, batch: usize) {
    let (one_by_one, mut at_once) = (index(2), index(2));
    // Some of a tag that was there before, some of one that comes twice, some with a body of their own.
    let entries: Vec<_> = (0..count)
        .map(|n| {
            let plain = entry(at(1 + (n % 2) as u32, n * 8), 8 * (1 + n as u32 % 5));
            (tag(n * 7 % (count * 2 / 3)), if n % 11 == 0 { with_object(plain, n + 1, 4096) } else { plain })
        })
        .collect();
    for all in [&one_by_one, &at_once] {
        all.publish(tag(5), entry(at(2, 8_000_000), 16));
    }
    for (tag, entry) in &entries {
        one_by_one.publish(*tag, *entry);
    }
    for some in entries.chunks(batch) {
        at_once.publish_all(some);
    }
    assert_eq!(exported(&at_once), exported(&one_by_one));
    assert_eq!((at_once.live_bytes(), at_once.check_invariants()), (one_by_one.live_bytes(), Ok(())));
    at_once.publish(tag(999_999), entry(at(1, 9_000_000), 8));
    assert_eq!(exported(&at_once).last().map(|last| last.0), Some(tag(999_999)));
}

#[test]
fn retain_drops_what_it_is_told_to_and_no_shard_is_beyond_the_last() {
    let index = index(2);
    for n in 0..1000 {
        index.publish(tag(n), entry(at(1 + (n % 2) as u32, n * 8), 8));
    }
    let dropped: usize =
        (0..index.shards()).map(|s| index.retain(s, |_, e| e.position.segment() == id(2)).len()).sum();
    assert_eq!((dropped, index.len(), index.segment_live_bytes(id(1))), (500, 500, 0));
    assert_eq!(index.retain(index.shards(), |_, _| false), []);
    assert_eq!((index.detach(id(1)), index.check_invariants()), (Some(1), Ok(())));
}

#[test]
fn segments_are_found_until_they_are_detached() {
    let index = Index::new(ROW);
    for n in [3, 1, 2] {
        index.attach(id(n), n);
    }
    assert_eq!(index.segment_ids(), [id(1), id(2), id(3)]);
    assert_eq!((index.segment(id(2)), index.segment(id(4))), (Some(2), None));
    assert_eq!((index.detach(id(2)), index.detach(id(2)), index.segment(id(2))), (Some(2), None, None));
    assert_eq!(index.segment_ids(), [id(1), id(3)]);
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn a_detached_handle_is_the_last_one() {
    let index = Index::new(ROW);
    index.attach(id(1), Arc::new("file"));
    index.attach(id(2), Arc::new("next"));
    let handle = index.detach(id(1)).expect("attached");
    assert_eq!(Arc::strong_count(&handle), 1, "so the file closes when the caller is done");
}

#[test]
fn a_segment_attached_again_has_a_new_handle_and_its_old_bytes() {
    let index = index(1);
    index.publish(tag(1), entry(at(1, 0), 8));
    index.attach(id(1), 77);
    assert_eq!(index.get(tag(1), |_, s| (Touch::No, *s)), Some(77));
    assert_eq!(index.segment_live_bytes(id(1)), 8 + u64::from(ROW));
}

#[test]
fn ids_are_told_apart_while_the_log_turns_over_the_wrap() {
    // A log of three segments goes on over the point where the stored bits of the id begin anew, twice.
    let index = Index::new(ROW);
    let first = MAX_SEGMENTS - 4;
    for n in first..first + MAX_SEGMENTS + 8 {
        index.attach(id(n), n);
        let key = tag(u64::from(n));
        index.publish(key, entry(at(n, 64), 8));
        if n >= first + 3 {
            let (victim, e) = index.evict().expect("an entry");
            assert_eq!((victim, e.position), (tag(u64::from(n - 3)), at(n - 3, 64)));
            assert_eq!(index.detach(id(n - 3)), Some(n - 3));
        }
        if n % 1024 < 8 {
            assert_eq!(index.check_invariants(), Ok(()));
        }
        assert_eq!(index.get(key, |e, s| (Touch::No, (e.position, *s))), Some((at(n, 64), n)));
    }
}

#[test]
#[should_panic(expected = "span more than")]
fn ids_too_far_apart_are_refused() {
    let index = index(1);
    index.attach(id(1 + MAX_SEGMENTS), 0);
}

#[test]
fn a_reserved_index_does_not_grow_its_tables() {
    let index = index(1);
    index.reserve(20_000);
    let empty = index.memory_bytes();
    for n in 0..20_000 {
        index.publish(tag(n), entry(at(1, n * 8), 8));
    }
    // Slots come in chunks of 128 for each of 256 shards; their lists of chunks are small.
    let slots = index.memory_bytes() - empty;
    assert!(slots < (20_000 + 128 * 256) * 36 + 256 * 64, "{slots} bytes");
    assert_eq!(index.check_invariants(), Ok(()));
}

#[test]
fn an_absurd_reservation_is_only_a_hint() {
    let index = index(1);
    index.reserve(u64::MAX);
    index.publish(tag(1), entry(at(1, 0), 8));
    assert_eq!((index.len(), index.check_invariants()), (1, Ok(())));
}

#[test]
fn emptied_slots_are_used_again() {
    let index = index(1);
    let fill = || {
        for n in 0..5000 {
            index.publish(tag(n), entry(at(1, n * 8), 8));
        }
    };
    fill();
    let full = index.memory_bytes();
    while index.evict().is_some() {}
    assert_eq!(index.check_invariants(), Ok(()));
    fill();
    assert_eq!(index.memory_bytes(), full);
}

#[test]
fn each_object_shows_the_entries_with_a_body_of_their_own_and_no_others() {
    let index = index(2);
    for n in 0..600 {
        let plain = entry(at(1 + (n % 2) as u32, n * 8), 8);
        index.publish(tag(n), if n % 3 == 0 { with_object(plain, n + 1, 4096) } else { plain });
    }
    index.remove(tag(3));
    index.publish(tag(6), entry(at(1, 6000), 8));
    let mut shown = Vec::new();
    index.each_object(|tag, entry| shown.push((tag, *entry)));
    let mut expected = exported(&index);
    expected.retain(|(_, entry)| entry.object.is_some());
    assert_eq!((shown.len(), expected.len()), (198, 198));
    shown.sort_by_key(|(tag, _)| *tag);
    expected.sort_by_key(|(tag, _)| *tag);
    assert_eq!(shown, expected);
}
