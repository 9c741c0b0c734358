//! The workloads: all short ones, long ones whose log turns over, and bodies that something overtakes on their way.

use cache_core::{Durability, PurgeMode, PurgeScope};
use cache_testkit::Rng;
use store_testkit::{drive::Action, workload};

/// Six kinds of operations on two keys.
pub(crate) fn operations() -> Vec<Action> {
    let mut all = vec![
        Action::Purge { scope: PurgeScope::Namespace("ns".into()), mode: PurgeMode::Remove },
        Action::Flush,
    ];
    for key in 0..2 {
        all.push(Action::Insert { key, len: 100, level: Durability::Buffered });
        all.push(Action::Insert { key, len: 900, level: Durability::Buffered });
        all.push(Action::Remove { key, level: Durability::Written });
        all.push(Action::UpdateMeta { key });
    }
    all
}

/// The workload of that number: all of one operation, then all of two, then of three.
pub(crate) fn numbered(number: usize, operations: &[Action]) -> Vec<Action> {
    let base = operations.len();
    let (mut rest, mut len, mut count) = (number, 1, base);
    while rest >= count {
        rest -= count;
        count *= base;
        len += 1;
    }
    (0..len)
        .map(|_| {
            let action = operations[rest % base].clone();
            rest /= base;
            action
        })
        .collect()
}

/// Keys that are written and then left alone, so that reclaim has something to move.
pub(crate) const SURVIVORS: usize = 3;

/// A workload whose survivors outlive their segments: most purges of more than one key are left out of it.
pub(crate) fn with_survivors(workload: Vec<Action>, rng: &mut Rng) -> Vec<Action> {
    // Without them every record was dead before its segment was the oldest, and a reclaim that unlinked it before its copies were
    // synced went unnoticed.
    let store = |all: &mut Vec<Action>| {
        for key in 6..6 + SURVIVORS {
            all.push(Action::Insert { key, len: 100 + 50 * key, level: Durability::Synced });
        }
    };
    let mut all = Vec::new();
    store(&mut all);
    for action in workload {
        let wide =
            matches!(&action, Action::Purge { scope, .. } if !matches!(scope, PurgeScope::Path { .. }));
        if wide && rng.chance(19, 20) {
            continue;
        }
        all.push(action);
        if wide {
            store(&mut all);
        }
    }
    all
}

/// Everything that keeps a body out which is on its way, in every way in which it can be on its way.
pub(crate) fn overtaken() -> Vec<Vec<Action>> {
    let mut all = Vec::new();
    for (key, fetch, older, len) in [0, 1].into_iter().flat_map(|key| {
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        // In its record; a part in a file when it is overtaken; all of it, some of it written in portions.
        let lengths = [100, 900, 600_000];
        ways.into_iter().flat_map(move |(fetch, older)| lengths.map(|len| (key, fetch, older, len)))
    }) {
        for by in workload::overtakers(key) {
            let stored = Action::Insert { key, len: 300, level: Durability::Synced };
            // What comes between the purge and the commit puts other records behind the purge's.
            let between = Action::Insert { key: 2, len: 200, level: Durability::Synced };
            let overtaken = Action::Overtaken { key, len, fetch, by: vec![by, between] };
            all.push(older.then_some(stored).into_iter().chain([overtaken, Action::Flush]).collect());
        }
    }
    all
}
