//! The index against a list that is searched from end to end.

mod common;

use cache_index::{Entry, Flags, Index, ObjectRef, Position, Tag, Touch};
use common::{ROW, at, exported, id, index, neighbour, tag};
use proptest::prelude::*;

const SEGMENTS: u32 = 5;

/// Entries, the least recently used first.
#[derive(Default)]
struct Model(Vec<(Tag, Entry)>);

impl Model {
    fn find(&self, tag: Tag) -> Option<usize> {
        self.0.iter().position(|(t, _)| *t == tag)
    }

    fn find_at(&self, tag: Tag, position: Position) -> Option<usize> {
        self.find(tag).filter(|&i| self.0[i].1.position == position)
    }

    fn take(&mut self, i: Option<usize>) -> Option<Entry> {
        i.map(|i| self.0.remove(i).1)
    }

    fn live_bytes(&self) -> u64 {
        let size = |e: &Entry| u64::from(e.len + ROW) + e.object.map_or(0, |o| o.disk);
        self.0.iter().map(|(_, e)| size(e)).sum()
    }

    fn segment_live_bytes(&self, segment: u32) -> u64 {
        let here = self.0.iter().filter(|(_, e)| e.position.segment() == id(segment));
        here.map(|(_, e)| u64::from(e.len + ROW)).sum()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Publish(u64, Shape),
    Get(u64, bool),
    Peek(u64),
    Replace(u64, bool, Shape),
    Remove(u64),
    RemoveAt(u64, bool),
    MarkStale(u64, Option<bool>),
    Evict,
    Retain(u32),
}

/// What an entry is like beyond its position, which no two of them share.
#[derive(Clone, Debug)]
struct Shape {
    segment: u32,
    len: u32,
    expires_ms: u64,
    flags: (bool, bool, bool),
    object: Option<u64>,
}

impl Shape {
    fn entry(&self, step: usize) -> Entry {
        Entry {
            position: at(self.segment, step as u64 * 8),
            len: self.len * 8,
            expires_ms: self.expires_ms,
            flags: Flags {
                stale: self.flags.0,
                tagged: self.flags.1,
                labelled: self.flags.2,
                unproven: false,
            },
            object: self.object.map(|blocks| ObjectRef { id: step as u64 + 1, disk: blocks * 4096 }),
        }
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (
        1..=SEGMENTS,
        1..(1u32 << 17),
        0..=Entry::MAX_EXPIRES_MS,
        any::<(bool, bool, bool)>(),
        any::<Option<u16>>(),
    )
        .prop_map(|(segment, len, expires_ms, flags, object)| Shape {
            segment,
            len,
            expires_ms,
            flags,
            object: object.map(u64::from),
        })
}

fn ops() -> impl Strategy<Value = Op> {
    let key = || 0..14u64;
    prop_oneof![
        6 => (key(), shapes()).prop_map(|(k, s)| Op::Publish(k, s)),
        6 => (key(), any::<bool>()).prop_map(|(k, t)| Op::Get(k, t)),
        1 => key().prop_map(Op::Peek),
        2 => (key(), any::<bool>(), shapes()).prop_map(|(k, right, s)| Op::Replace(k, right, s)),
        1 => key().prop_map(Op::Remove),
        1 => (key(), any::<bool>()).prop_map(|(k, right)| Op::RemoveAt(k, right)),
        1 => (key(), any::<Option<bool>>()).prop_map(|(k, right)| Op::MarkStale(k, right)),
        2 => Just(Op::Evict),
        1 => (1..=SEGMENTS).prop_map(Op::Retain),
    ]
}

/// Half of the tags share a shard, so that the list inside one and the choice between them are both tried.
fn tag_of(key: u64) -> Tag {
    if key.is_multiple_of(2) { neighbour(key) } else { tag(key) }
}

fn apply(index: &Index<u32>, model: &mut Model, op: &Op, step: usize) -> Result<(), TestCaseError> {
    // A place that an operation expects: that of the entry, or one where nothing ever lies.
    let nowhere = at(1, Position::MAX_OFFSET - 8);
    let expect = |model: &Model, tag: Tag, right: bool| match model.find(tag) {
        Some(i) if right => model.0[i].1.position,
        _ => nowhere,
    };
    match op {
        Op::Publish(key, shape) => {
            let (tag, entry) = (tag_of(*key), shape.entry(step));
            let old = model.take(model.find(tag));
            model.0.push((tag, entry));
            prop_assert_eq!(index.publish(tag, entry), old);
        }
        Op::Get(key, touch) => {
            let tag = tag_of(*key);
            let touched = if *touch { Touch::Yes } else { Touch::No };
            let seen = index.get(tag, |entry, segment| (touched, (*entry, *segment)));
            let found = model.find(tag).map(|i| model.0[i].1);
            prop_assert_eq!(seen, found.map(|e| (e, e.position.segment().get())));
            if let (true, Some(i)) = (*touch, model.find(tag)) {
                let used = model.0.remove(i);
                model.0.push(used);
            }
        }
        Op::Peek(key) => {
            let found = model.find(tag_of(*key)).map(|i| model.0[i].1);
            prop_assert_eq!(index.peek(tag_of(*key)), found);
        }
        Op::Replace(key, right, shape) => {
            let (tag, entry) = (tag_of(*key), shape.entry(step));
            let place = expect(model, tag, *right);
            let old = model.find_at(tag, place).map(|i| std::mem::replace(&mut model.0[i].1, entry));
            let tick = index.tick_of(tag, place);
            prop_assert_eq!(index.replace(tag, place, entry), old);
            prop_assert_eq!(index.tick_of(tag, entry.position), tick);
        }
        Op::Remove(key) => {
            let tag = tag_of(*key);
            let old = model.take(model.find(tag));
            prop_assert_eq!(index.remove(tag), old);
        }
        Op::RemoveAt(key, right) => {
            let tag = tag_of(*key);
            let place = expect(model, tag, *right);
            let old = model.take(model.find_at(tag, place));
            prop_assert_eq!(index.remove_at(tag, place), old);
        }
        Op::MarkStale(key, right) => {
            let tag = tag_of(*key);
            let place = right.map(|right| expect(model, tag, right));
            let found = match place {
                Some(place) => model.find_at(tag, place),
                None => model.find(tag),
            };
            let before = found.map(|i| model.0[i].1);
            if let Some(i) = found {
                model.0[i].1.flags.stale = true;
            }
            prop_assert_eq!(index.mark_stale(tag, place), before);
        }
        Op::Evict => {
            let victim = (!model.0.is_empty()).then(|| model.0.remove(0));
            prop_assert_eq!(index.evict(), victim);
        }
        Op::Retain(segment) => {
            let mut dropped: Vec<Entry> = Vec::new();
            for shard in 0..index.shards() {
                dropped.extend(index.retain(shard, |_, e| e.position.segment() != id(*segment)));
            }
            let gone = model.0.iter().filter(|(_, e)| e.position.segment() == id(*segment));
            let mut expected: Vec<Entry> = gone.map(|(_, e)| *e).collect();
            expected.sort_by_key(|e| e.position);
            dropped.sort_by_key(|e| e.position);
            prop_assert_eq!(dropped, expected);
            model.0.retain(|(_, e)| e.position.segment() != id(*segment));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_is_an_exact_lru_whatever_is_done(ops in prop::collection::vec(ops(), 1..120)) {
        let index = index(SEGMENTS);
        let mut model = Model::default();
        for (step, op) in ops.iter().enumerate() {
            apply(&index, &mut model, op, step)?;
            prop_assert_eq!(index.check_invariants(), Ok(()));
            prop_assert_eq!(index.len(), model.0.len() as u64);
            prop_assert_eq!(index.live_bytes(), model.live_bytes());
            for segment in 1..=SEGMENTS {
                prop_assert_eq!(index.segment_live_bytes(id(segment)), model.segment_live_bytes(segment));
            }
        }
        prop_assert_eq!(exported(&index), model.0.clone());
        let mut victims = Vec::new();
        while let Some(victim) = index.evict() {
            victims.push(victim);
        }
        prop_assert_eq!(victims, model.0);
        prop_assert_eq!((index.len(), index.live_bytes(), index.check_invariants()), (0, 0, Ok(())));
    }
}
