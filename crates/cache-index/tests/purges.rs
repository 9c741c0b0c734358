//! The purge table against a list of everything that was ever purged.

mod common;

use cache_core::{CacheKey, PurgeMode, PurgeScope};
use cache_index::{Flags, MAX_HASHED_ROWS, MAX_PREFIX_ROWS, Position, PurgeRow, Purges, Verdict};
use common::{at, id};
use proptest::prelude::*;

const GONE: Verdict = Verdict { removed: true, stale: false, ask_record: false };
const STALE: Verdict = Verdict { removed: false, stale: true, ask_record: false };
const ASK: Verdict = Verdict { removed: false, stale: false, ask_record: true };
const UNTOUCHED: Verdict = Verdict { removed: false, stale: false, ask_record: false };
const PLAIN: Flags = Flags { stale: false, tagged: false, labelled: false, unproven: false };
const LABELLED: Flags = Flags { labelled: true, ..PLAIN };
const TAGGED: Flags = Flags { tagged: true, ..PLAIN };

fn table() -> Purges {
    Purges::new([9; 16])
}

fn namespace(n: &str) -> PurgeScope {
    PurgeScope::Namespace(n.to_owned().into())
}

fn path(n: &str, p: &str) -> PurgeScope {
    PurgeScope::Path { namespace: n.to_owned().into(), path: p.to_owned().into() }
}

fn prefix(n: &str, p: &str) -> PurgeScope {
    PurgeScope::Prefix { namespace: n.to_owned().into(), prefix: p.to_owned().into() }
}

fn by_tag(t: &str) -> PurgeScope {
    PurgeScope::Tag(t.to_owned().into())
}

fn exact(purges: &Purges, key: &CacheKey, label: Option<&str>, tags: &[&str], place: Position) -> Verdict {
    purges.check_record(key, label.map(str::as_bytes), tags.iter().map(|t| t.as_bytes()), place)
}

fn sorted(mut rows: Vec<PurgeRow>) -> Vec<PurgeRow> {
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

#[test]
fn a_purge_hits_what_lies_before_it_and_nothing_from_there_on() {
    let purges = table();
    purges.add(&PurgeScope::All, PurgeMode::Remove, at(3, 64));
    let key = CacheKey::new("n", "p");
    assert_eq!(purges.newest(), at(3, 64));
    for (place, verdict) in
        [(at(1, 0), GONE), (at(3, 56), GONE), (at(3, 64), UNTOUCHED), (at(4, 0), UNTOUCHED)]
    {
        assert_eq!(purges.check(&key, place, PLAIN), verdict, "{place}");
        assert_eq!(exact(&purges, &key, None, &[], place), verdict, "{place}");
    }
}

#[test]
fn a_path_is_purged_with_all_its_variants_and_nothing_beside_it() {
    let purges = table();
    purges.add(&path("n", "p"), PurgeMode::Remove, at(2, 0));
    let check = |key: &CacheKey| purges.check(key, at(1, 0), PLAIN);
    assert_eq!(check(&CacheKey::new("n", "p")), GONE);
    assert_eq!(check(&CacheKey::new("n", "p").with_variant("gzip")), GONE);
    assert_eq!(check(&CacheKey::new("n", "pp")), UNTOUCHED);
    assert_eq!(check(&CacheKey::new("m", "p")), UNTOUCHED);
    assert_eq!(check(&CacheKey::new("np", "")), UNTOUCHED);
}

#[test]
fn a_namespace_is_purged_whole() {
    let purges = table();
    purges.add(&namespace("n"), PurgeMode::Expire, at(2, 0));
    assert_eq!(purges.check(&CacheKey::new("n", "any").with_variant("v"), at(1, 0), LABELLED), STALE);
    assert_eq!(purges.check(&CacheKey::new("nn", "any"), at(1, 0), PLAIN), UNTOUCHED);
}

#[test]
fn a_prefix_meets_paths_and_their_variants() {
    let purges = table();
    purges.add(&prefix("n", "img/"), PurgeMode::Remove, at(2, 0));
    let check = |p: &str| purges.check(&CacheKey::new("n", p).with_variant("v"), at(1, 0), PLAIN);
    assert_eq!(
        (check("img/a"), check("img/"), check("img"), check("imh/")),
        (GONE, GONE, UNTOUCHED, UNTOUCHED)
    );
    assert_eq!(purges.check(&CacheKey::new("m", "img/a"), at(1, 0), PLAIN), UNTOUCHED);
}

#[test]
fn what_has_a_label_is_met_by_its_label_only() {
    let purges = table();
    purges.add(&prefix("n", "img/"), PurgeMode::Remove, at(2, 0));
    let (path_fits, path_does_not) = (CacheKey::new("n", "img/a"), CacheKey::new("n", "0123"));
    assert_eq!(purges.check(&path_fits, at(1, 0), LABELLED), ASK);
    assert_eq!(purges.check(&path_does_not, at(1, 0), LABELLED), ASK);
    assert_eq!(purges.check(&CacheKey::new("m", "img/a"), at(1, 0), LABELLED), UNTOUCHED);
    assert_eq!(exact(&purges, &path_fits, Some("css/a"), &[], at(1, 0)), UNTOUCHED);
    assert_eq!(exact(&purges, &path_does_not, Some("img/a"), &[], at(1, 0)), GONE);
    assert_eq!(exact(&purges, &path_fits, None, &[], at(1, 0)), GONE);
    assert_eq!(exact(&purges, &path_fits, Some(""), &[], at(1, 0)), UNTOUCHED);
}

#[test]
fn a_tag_is_met_in_every_namespace_once_the_record_is_seen() {
    let purges = table();
    purges.add(&by_tag("red"), PurgeMode::Remove, at(2, 0));
    purges.add(&by_tag("blue"), PurgeMode::Expire, at(2, 64));
    for n in ["n", "m"] {
        let key = CacheKey::new(n, "p");
        assert_eq!(purges.check(&key, at(1, 0), TAGGED), ASK);
        assert_eq!(purges.check(&key, at(1, 0), PLAIN), UNTOUCHED);
        assert_eq!(exact(&purges, &key, None, &["green", "red"], at(1, 0)), GONE);
        assert_eq!(exact(&purges, &key, None, &["blue"], at(1, 0)), STALE);
        assert_eq!(exact(&purges, &key, None, &["green"], at(1, 0)), UNTOUCHED);
        assert_eq!(exact(&purges, &key, None, &["red", "blue"], at(2, 0)), STALE);
    }
}

#[test]
fn only_a_younger_purge_asks_for_the_record() {
    let purges = table();
    purges.add(&by_tag("red"), PurgeMode::Remove, at(2, 0));
    purges.add(&prefix("n", "a"), PurgeMode::Remove, at(3, 0));
    purges.add(&namespace("other"), PurgeMode::Remove, at(5, 0));
    let key = CacheKey::new("n", "p");
    assert_eq!(purges.check(&key, at(2, 0), TAGGED), UNTOUCHED);
    assert_eq!(purges.check(&key, at(2, 0), LABELLED), ASK);
    assert_eq!(purges.check(&key, at(3, 0), LABELLED), UNTOUCHED);
    purges.add(&namespace("n"), PurgeMode::Remove, at(4, 0));
    let both = Flags { tagged: true, labelled: true, ..PLAIN };
    assert_eq!(purges.check(&key, at(1, 0), both), GONE, "no question is open");
}

#[test]
fn removal_and_expiry_of_a_scope_keep_their_own_later_place() {
    let purges = table();
    let key = CacheKey::new("n", "p");
    for (mode, place) in [
        (PurgeMode::Remove, at(2, 0)),
        (PurgeMode::Expire, at(4, 0)),
        (PurgeMode::Remove, at(1, 0)),
        (PurgeMode::Expire, at(3, 0)),
    ] {
        for scope in [path("n", "p"), prefix("n", "p"), by_tag("t")] {
            purges.add(&scope, mode, place);
        }
    }
    assert_eq!((purges.len(), purges.newest()), (6, at(4, 0)));
    assert_eq!(purges.check(&key, at(2, 0), PLAIN), STALE);
    assert_eq!(
        purges.check(&key, at(1, 8), PLAIN),
        Verdict { removed: true, stale: true, ask_record: false }
    );
}

#[test]
fn the_oldest_prefix_past_the_limit_becomes_its_namespace_where_it_lies() {
    let purges = table();
    for n in 0..MAX_PREFIX_ROWS as u64 {
        purges.add(&prefix(&format!("n{}", n % 7), &format!("p{n}/")), PurgeMode::Remove, at(1, 800 + n * 8));
    }
    assert_eq!((purges.len(), purges.folded()), (MAX_PREFIX_ROWS, 0));
    // An older one than all others comes last, as a lost purge that is logged again.
    purges.add(&prefix("x", "late/"), PurgeMode::Expire, at(1, 80));
    assert_eq!((purges.len(), purges.folded()), (MAX_PREFIX_ROWS + 1, 1));
    assert_eq!(purges.check(&CacheKey::new("x", "other"), at(1, 72), PLAIN), STALE);
    assert_eq!(purges.check(&CacheKey::new("x", "late/"), at(1, 80), PLAIN), UNTOUCHED);

    purges.add(&prefix("y", "p/"), PurgeMode::Remove, at(2, 0));
    assert_eq!((purges.folded(), purges.newest()), (2, at(2, 0)));
    assert_eq!(purges.check(&CacheKey::new("n0", "other"), at(1, 792), PLAIN), GONE, "the first one, folded");
    assert_eq!(purges.check(&CacheKey::new("n0", "other"), at(1, 800), PLAIN), UNTOUCHED, "at its own place");
    assert_eq!(purges.check(&CacheKey::new("n1", "other"), at(1, 0), PLAIN), UNTOUCHED);
    assert_eq!(
        purges.check(&CacheKey::new("n1", "p1/a"), at(1, 800), PLAIN),
        GONE,
        "the second one, as it was"
    );
}

#[test]
fn rows_by_prefix_of_one_place_are_folded_together_and_each_is_counted() {
    let purges = table();
    // As after a restart: those that a failed write lost are logged again as of one place.
    for n in 0..3 {
        purges.add(&prefix("n", &format!("lost{n}/")), PurgeMode::Remove, at(1, 80));
    }
    for n in 3..=MAX_PREFIX_ROWS as u64 {
        purges.add(&prefix("n", &format!("p{n}/")), PurgeMode::Remove, at(1, 80 + n * 8));
    }
    assert_eq!((purges.folded(), purges.len()), (3, MAX_PREFIX_ROWS - 1));
    assert_eq!(purges.check(&CacheKey::new("n", "other"), at(1, 72), PLAIN), GONE);
}

#[test]
fn past_a_million_the_oldest_purges_become_one_of_everything_before_them() {
    let purges = table();
    for n in 0..MAX_HASHED_ROWS as u64 {
        let tag = PurgeScope::Tag(n.to_le_bytes().to_vec().into());
        purges.add(&tag, if n % 2 == 0 { PurgeMode::Remove } else { PurgeMode::Expire }, at(1, 8 + n * 8));
    }
    assert_eq!((purges.len(), purges.folded()), (MAX_HASHED_ROWS, 0));
    let key = CacheKey::new("n", "untagged");
    assert_eq!(purges.check(&key, at(1, 0), PLAIN), UNTOUCHED);
    purges.add(&PurgeScope::Tag("one more".into()), PurgeMode::Remove, at(2, 0));
    let folded = purges.folded();
    assert!(folded > MAX_HASHED_ROWS as u64 / 5, "{folded}");
    assert_eq!(purges.rows().len(), purges.len());
    assert!(purges.len() < MAX_HASHED_ROWS * 4 / 5);
    assert_eq!(
        purges.check(&key, at(1, 0), PLAIN),
        Verdict { removed: true, stale: true, ask_record: false },
        "what is older than all of them"
    );
    let quarter = at(1, 8 * (MAX_HASHED_ROWS as u64 / 4 + 2));
    assert_eq!(purges.check(&key, quarter, PLAIN), UNTOUCHED, "what is younger than the oldest ones");
}

#[test]
fn a_flood_of_prefixes_stays_within_the_limit_and_forgets_no_purge() {
    let purges = table();
    let many = 3 * MAX_PREFIX_ROWS as u64;
    for n in 0..many {
        purges.add(&prefix("n", &format!("{n:05}")), PurgeMode::Remove, at(1, 8 + n * 8));
    }
    let rows = purges.rows();
    let prefixes = rows.iter().filter(|row| matches!(row, PurgeRow::Prefix { .. })).count();
    assert_eq!((prefixes, purges.folded()), (MAX_PREFIX_ROWS, many - MAX_PREFIX_ROWS as u64));
    for n in 0..many {
        let key = CacheKey::new("n", format!("{n:05}/x"));
        assert_eq!(purges.check(&key, at(1, n * 8), PLAIN), GONE, "{n}");
    }
}

#[test]
fn rows_go_when_their_segment_is_gone() {
    let purges = table();
    purges.add(&path("n", "p"), PurgeMode::Remove, at(1, 64));
    purges.add(&path("n", "p"), PurgeMode::Expire, at(2, 64));
    purges.add(&by_tag("t"), PurgeMode::Remove, at(2, 128));
    purges.add(&prefix("n", "q"), PurgeMode::Remove, at(2, 192));
    purges.add(&PurgeScope::All, PurgeMode::Remove, at(3, 0));
    purges.forget_before(id(2));
    assert_eq!((purges.len(), purges.newest()), (4, at(3, 0)));
    purges.forget_before(id(3));
    assert_eq!((purges.len(), purges.newest()), (1, at(3, 0)));
    assert_eq!(purges.check(&CacheKey::new("n", "p"), at(2, 0), PLAIN), GONE);
    purges.forget_before(id(4));
    assert!(purges.is_empty() && purges.rows().is_empty());
    purges.add(&path("n", "q"), PurgeMode::Remove, at(4, 0));
    assert!(!purges.is_empty());
    purges.forget_before(id(5));
    assert_eq!(purges.newest(), Position::ZERO);
    assert_eq!(purges.check(&CacheKey::new("n", "q"), at(1, 0), LABELLED), UNTOUCHED);
}

#[test]
fn a_table_restored_from_its_rows_says_the_same() {
    let first = table();
    first.add(&PurgeScope::All, PurgeMode::Expire, at(1, 8));
    first.add(&namespace("n"), PurgeMode::Remove, at(1, 16));
    first.add(&path("m", "p"), PurgeMode::Remove, at(1, 24));
    first.add(&prefix("m", "q"), PurgeMode::Remove, at(1, 32));
    first.add(&prefix("m", "q"), PurgeMode::Expire, at(1, 40));
    first.add(&by_tag("t"), PurgeMode::Remove, at(1, 48));
    let second = table();
    first.rows().into_iter().for_each(|row| second.restore(row));
    assert_eq!((sorted(second.rows()), second.newest(), second.len()), (sorted(first.rows()), at(1, 48), 6));
    for key in
        [CacheKey::new("n", "p"), CacheKey::new("m", "p"), CacheKey::new("m", "qq"), CacheKey::new("x", "")]
    {
        for offset in (0..56).step_by(8) {
            for tags in [&[][..], &["t"], &["u"]] {
                let verdict = exact(&second, &key, None, tags, at(1, offset));
                assert_eq!(verdict, exact(&first, &key, None, tags, at(1, offset)));
            }
            assert_eq!(second.check(&key, at(1, offset), TAGGED), first.check(&key, at(1, offset), TAGGED));
        }
    }
}

#[test]
fn hashes_depend_on_the_key_of_the_table() {
    let (one, other) = (Purges::new([1; 16]), Purges::new([2; 16]));
    for purges in [&one, &other] {
        purges.add(&path("n", "p"), PurgeMode::Remove, at(1, 8));
    }
    assert_ne!(one.rows(), other.rows());
    assert!(!format!("{one:?}").contains("[1, 1"), "the key is a secret");
}

#[test]
fn a_purge_before_everything_is_no_row() {
    let purges = table();
    for scope in [PurgeScope::All, prefix("n", "p"), by_tag("t")] {
        purges.add(&scope, PurgeMode::Remove, Position::ZERO);
    }
    assert!(purges.is_empty() && purges.rows().is_empty());
}

/// A record as a purge sees it.
#[derive(Clone, Debug)]
struct Record {
    key: (String, String),
    label: Option<String>,
    tags: Vec<String>,
    place: u64,
}

impl Record {
    fn is_hit_by(&self, scope: &PurgeScope) -> bool {
        let (n, p) = (self.key.0.as_bytes(), self.key.1.as_bytes());
        match scope {
            PurgeScope::Namespace(namespace) => n == namespace,
            PurgeScope::Path { namespace, path } => n == namespace && p == path,
            PurgeScope::Prefix { namespace, prefix } => {
                n == namespace && self.label.as_ref().map_or(p, String::as_bytes).starts_with(prefix)
            }
            PurgeScope::Tag(tag) => self.tags.iter().any(|t| t.as_bytes() == tag),
            _ => true,
        }
    }
}

fn scopes() -> impl Strategy<Value = PurgeScope> {
    prop_oneof![
        1 => Just(PurgeScope::All),
        2 => "[nm]".prop_map(|n| namespace(&n)),
        4 => ("[nm]", "[ab]{0,3}").prop_map(|(n, p)| path(&n, &p)),
        6 => ("[nm]", "[ab]{0,3}").prop_map(|(n, p)| prefix(&n, &p)),
        4 => "[tu]".prop_map(|t| by_tag(&t)),
    ]
}

fn records() -> impl Strategy<Value = Record> {
    let label = prop::option::of("[ab]{0,4}");
    let tags = prop::collection::vec("[tuv]", 0..3);
    ("[nm]", "[ab]{0,4}", label, tags, 0..60u64).prop_map(|(n, p, label, tags, place)| Record {
        key: (n, p),
        label,
        tags,
        place,
    })
}

fn modes() -> impl Strategy<Value = PurgeMode> {
    prop_oneof![2 => Just(PurgeMode::Remove), 1 => Just(PurgeMode::Expire)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_table_agrees_with_a_list_of_all_purges(
        purges in prop::collection::vec((scopes(), modes(), 1..60u64), 0..25),
        records in prop::collection::vec(records(), 1..25),
        oldest in 0..6u32,
    ) {
        // Ten places to a segment; whatever lies before `oldest` is gone.
        let place = |n: u64| at(1 + (n / 10) as u32, n % 10 * 8);
        let table = table();
        for (scope, mode, n) in &purges {
            table.add(scope, *mode, place(*n));
        }
        prop_assert_eq!(table.newest(), purges.iter().map(|p| place(p.2)).max().unwrap_or_default());
        table.forget_before(id(1 + oldest));
        prop_assert_eq!(table.len(), table.rows().len());
        for record in records.iter().filter(|r| r.place / 10 >= u64::from(oldest)) {
            let key = CacheKey::new(&record.key.0, &record.key.1);
            let younger = || purges.iter().filter(|p| p.2 > record.place);
            let hit = |mode| younger().any(|p| p.1 == mode && record.is_hit_by(&p.0));
            let expected = Verdict { removed: hit(PurgeMode::Remove), stale: hit(PurgeMode::Expire), ask_record: false };
            let tags: Vec<&str> = record.tags.iter().map(String::as_str).collect();
            let found = exact(&table, &key, record.label.as_deref(), &tags, place(record.place));
            prop_assert_eq!(found, expected, "{:?}", record);

            let flags =
                Flags { tagged: !record.tags.is_empty(), labelled: record.label.is_some(), ..PLAIN };
            let quick = table.check(&key, place(record.place), flags);
            let open = younger().any(|(scope, ..)| match scope {
                PurgeScope::Tag(_) => flags.tagged,
                PurgeScope::Prefix { namespace, .. } => flags.labelled && namespace == record.key.0.as_bytes(),
                _ => false,
            });
            prop_assert_eq!(quick.ask_record, open && !quick.removed, "{:?}", record);
            if !quick.ask_record {
                prop_assert_eq!(quick.removed, expected.removed, "{:?}", record);
            }
            if !open {
                prop_assert_eq!(quick, expected, "{:?}", record);
            }
            prop_assert!(expected.removed || !quick.removed, "{:?}", record);
        }
    }
}
