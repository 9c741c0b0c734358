//! Random workloads, the same for the same seed.

use super::drive::Action;
use bytes::Bytes;
use cache_core::{Durability, PurgeMode, PurgeScope};
use cache_testkit::Rng;

/// All verbs on a few keys, of which two have large bodies now and then, so that everything fits into a small cache.
pub fn random(rng: &mut Rng, len: usize, keys: u64) -> Vec<Action> {
    (0..len).map(|_| action(rng, keys)).collect()
}

fn action(rng: &mut Rng, keys: u64) -> Action {
    let levels = [Durability::Buffered, Durability::Buffered, Durability::Written, Durability::Synced];
    let key = rng.below(keys) as usize;
    let level = levels[rng.below(4) as usize];
    match rng.below(32) {
        0..=16 => Action::Insert { key, len: rng.below(512) as usize, level },
        17 => Action::Stream { key, len: rng.below(512) as usize, level },
        18 => Action::Insert { key: key % 2, len: 600 + rng.below(2000) as usize, level },
        19 => Action::Stream { key: key % 2, len: 600 + rng.below(2000) as usize, level },
        20..=21 => Action::Remove { key, level },
        22 => {
            let choices = overtakers(key);
            let by = vec![choices[rng.below(choices.len() as u64) as usize].clone()];
            Action::Overtaken { key, len: rng.below(2600) as usize, fetch: rng.chance(1, 2), by }
        }
        23..=25 => Action::UpdateMeta { key },
        26 => Action::Expire { key },
        27 => Action::Flush,
        28 => Action::Rest,
        n => {
            let scope = match rng.below(5) {
                0 => PurgeScope::All,
                1 => PurgeScope::Namespace("ns".into()),
                2 => PurgeScope::Path { namespace: "ns".into(), path: format!("path-{key}").into() },
                3 => {
                    let prefix = format!("{}-{key}", ["label", "path"][key % 2]);
                    PurgeScope::Prefix { namespace: "ns".into(), prefix: prefix.into() }
                }
                _ => PurgeScope::Tag("even".into()),
            };
            let mode = if n == 29 { PurgeMode::Remove } else { PurgeMode::Expire };
            Action::Purge { scope, mode }
        }
    }
}

/// Two keys whose bodies are written past the page cache, one of them replaced and one removed.
pub fn past_the_page_cache() -> Vec<Action> {
    const BLOCK: usize = 1 << 20;
    let insert = |key, len, level| Action::Insert { key, len, level };
    vec![
        insert(0, BLOCK + 5_000, Durability::Synced),
        insert(1, BLOCK, Durability::Buffered),
        insert(0, 2 * BLOCK - 1, Durability::Buffered),
        Action::Flush,
        Action::Remove { key: 0, level: Durability::Synced },
        insert(1, BLOCK + 1, Durability::Synced),
        insert(0, 300, Durability::Buffered),
    ]
}

/// All that keeps a stream of the key out, durably.
pub fn overtakers(key: usize) -> Vec<Action> {
    let namespace = Bytes::from_static(b"ns");
    let seen = if key.is_multiple_of(3) { "label" } else { "path" };
    let prefix = format!("{seen}-{key}").into();
    let mut scopes = vec![
        PurgeScope::All,
        PurgeScope::Namespace(namespace.clone()),
        PurgeScope::Path { namespace: namespace.clone(), path: format!("path-{key}").into() },
        PurgeScope::Prefix { namespace, prefix },
    ];
    if key.is_multiple_of(2) {
        scopes.push(PurgeScope::Tag("even".into()));
    }
    let purge = |scope: PurgeScope| {
        [PurgeMode::Remove, PurgeMode::Expire].map(|mode| Action::Purge { scope: scope.clone(), mode })
    };
    let others = [Action::Remove { key, level: Durability::Synced }, Action::Expire { key }];
    scopes.into_iter().flat_map(purge).chain(others).collect()
}
