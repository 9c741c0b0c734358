//! Logs replayed row by row.

mod common;

use cache_core::{CacheKey, PurgeMode, PurgeScope};
use cache_index::{Entry, Flags, Index, Position, Purges, Replay, Replayed, Row, Tag};
use common::{at, entry, exported, index, tag, with_object};

fn replay(rows: impl IntoIterator<Item = Row>) -> (Index<u32>, Purges, Replayed) {
    let (index, purges) = (index(9), Purges::new([3; 16]));
    let mut replay = Replay::new(&index, &purges);
    for row in rows {
        replay.apply(row);
    }
    let done = replay.finish();
    assert_eq!(index.check_invariants(), Ok(()));
    (index, purges, done)
}

fn insert(key: u64, position: Position) -> Row {
    Row::Insert { tag: tag(key), entry: entry(position, 64) }
}

fn tombstone(key: u64, as_of: Position) -> Row {
    Row::Tombstone { tag: tag(key), as_of }
}

fn expire(key: u64, as_of: Position) -> Row {
    Row::Expire { tag: tag(key), as_of }
}

fn purge(scope: PurgeScope, mode: PurgeMode, as_of: Position) -> Row {
    Row::Purge { scope, mode, as_of }
}

fn place(index: &Index<u32>, key: u64) -> Option<Position> {
    index.peek(tag(key)).map(|e| e.position)
}

#[test]
fn the_later_record_of_a_key_wins() {
    let (index, _, done) = replay([insert(1, at(1, 0)), insert(2, at(1, 64)), insert(1, at(2, 0))]);
    assert_eq!((place(&index, 1), place(&index, 2)), (Some(at(2, 0)), Some(at(1, 64))));
    assert_eq!((done.inserted, done.replaced, index.len()), (3, 1, 2));
}

#[test]
fn the_order_of_writing_becomes_the_order_of_use() {
    let (index, ..) =
        replay([insert(1, at(1, 0)), insert(2, at(1, 64)), insert(1, at(2, 0)), insert(3, at(2, 64))]);
    let order: Vec<Tag> = exported(&index).into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(order, [tag(2), tag(1), tag(3)]);
}

#[test]
fn a_tombstone_removes_what_lies_before_it() {
    let (index, _, done) = replay([insert(1, at(1, 0)), tombstone(1, at(1, 64)), tombstone(2, at(1, 128))]);
    assert_eq!((index.len(), done.removed, done.ignored), (0, 1, 1));
}

#[test]
fn a_key_stored_again_after_its_tombstone_is_there() {
    let (index, ..) = replay([insert(1, at(1, 0)), tombstone(1, at(1, 64)), insert(1, at(1, 128))]);
    assert_eq!(place(&index, 1), Some(at(1, 128)));
}

#[test]
fn a_tombstone_logged_again_spares_what_was_stored_since_its_first_place() {
    let rows = [insert(1, at(1, 0)), insert(1, at(3, 0)), insert(2, at(1, 64))];
    let again = [tombstone(1, at(2, 0)), tombstone(2, at(2, 8))];
    let (index, ..) = replay(rows.into_iter().chain(again));
    assert_eq!((place(&index, 1), place(&index, 2)), (Some(at(3, 0)), None));
}

#[test]
fn an_entry_at_the_very_place_of_a_tombstone_is_not_before_it() {
    let (index, ..) = replay([insert(1, at(1, 64)), tombstone(1, at(1, 64)), expire(1, at(1, 64))]);
    assert_eq!(index.peek(tag(1)), Some(entry(at(1, 64), 64)));
}

#[test]
fn an_expiry_makes_stale_what_lies_before_it_only() {
    let rows = [
        insert(1, at(1, 0)),
        insert(2, at(3, 0)),
        expire(1, at(2, 0)),
        expire(2, at(2, 0)),
        expire(3, at(4, 0)),
    ];
    let (index, _, done) = replay(rows);
    let stale = |key| index.peek(tag(key)).map(|e| e.flags.stale);
    assert_eq!((stale(1), stale(2), stale(3)), (Some(true), Some(false), None));
    assert_eq!((done.expired, done.ignored), (1, 2));
}

#[test]
fn a_key_stored_again_after_its_expiry_is_fresh() {
    let (index, ..) = replay([insert(1, at(1, 0)), expire(1, at(1, 64)), insert(1, at(1, 128))]);
    assert_eq!(index.peek(tag(1)).map(|e| e.flags), Some(Flags::default()));
}

#[test]
fn a_moved_record_keeps_its_flags_and_object() {
    let moved = Entry {
        flags: Flags { stale: true, tagged: true, labelled: true, unproven: true },
        expires_ms: 12_345,
        ..with_object(entry(at(4, 0), 128), 5, 1 << 20)
    };
    let (index, ..) = replay([insert(1, at(1, 0)), Row::Insert { tag: tag(1), entry: moved }]);
    assert_eq!(index.peek(tag(1)), Some(moved));
}

#[test]
fn a_purge_of_everything_is_swept_at_the_end() {
    let rows = [
        insert(1, at(1, 0)),
        purge(PurgeScope::All, PurgeMode::Remove, at(2, 0)),
        insert(2, at(2, 8)),
        insert(3, at(2, 72)),
    ];
    let (index, purges, done) = replay(rows);
    assert_eq!((place(&index, 1), index.len(), done.swept), (None, 2, 1));
    assert_eq!((purges.newest(), purges.len()), (at(2, 0), 1));
}

#[test]
fn a_purge_of_everything_logged_again_spares_what_was_stored_since() {
    let rows =
        [insert(1, at(1, 0)), insert(2, at(3, 0)), purge(PurgeScope::All, PurgeMode::Remove, at(2, 0))];
    let (index, _, done) = replay(rows);
    assert_eq!((place(&index, 1), place(&index, 2), done.swept), (None, Some(at(3, 0)), 1));
}

#[test]
fn purges_of_other_scopes_or_modes_wait_in_the_table() {
    let namespace = || PurgeScope::Namespace("n".into());
    let rows = [
        insert(1, at(1, 0)),
        purge(namespace(), PurgeMode::Remove, at(2, 0)),
        purge(PurgeScope::All, PurgeMode::Expire, at(2, 64)),
    ];
    let (index, purges, done) = replay(rows);
    assert_eq!((index.len(), done.swept, done.purges, purges.len()), (1, 0, 2, 2));
    let verdict = purges.check(&CacheKey::new("n", "p"), at(1, 0), Flags::default());
    assert!(verdict.removed && verdict.stale);
    let verdict = purges.check(&CacheKey::new("m", "p"), at(1, 0), Flags::default());
    assert!(!verdict.removed && verdict.stale);
}

#[test]
fn a_row_of_a_segment_that_is_not_kept_is_ignored() {
    let (index, _, done) = replay([insert(1, at(1, 0)), insert(2, at(77, 0))]);
    assert_eq!((index.len(), done.inserted, done.ignored), (1, 1, 1));
}

#[test]
fn a_row_out_of_order_does_not_bring_an_older_record_back() {
    let (index, _, done) = replay([insert(1, at(2, 0)), insert(1, at(1, 0))]);
    assert_eq!((place(&index, 1), done.ignored), (Some(at(2, 0)), 1));
}

#[test]
fn a_log_replayed_twice_gives_the_same_entries() {
    let rows = [insert(1, at(1, 0)), insert(2, at(1, 64)), tombstone(1, at(1, 128)), insert(3, at(2, 0))];
    let (once, ..) = replay(rows.clone());
    let (twice, ..) = replay(rows.clone().into_iter().chain(rows));
    let sorted = |index| {
        let mut all = exported(index);
        all.sort_by_key(|(_, e)| e.position);
        all
    };
    assert_eq!(sorted(&once), sorted(&twice));
}
