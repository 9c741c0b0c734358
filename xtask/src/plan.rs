//! `test-plan`: the areas of the test plan, with the number of distinct tests that each must have and has.
//!
//! Counted from the list that the test binaries themselves print. A case that is generated for several inputs (two backends,
//! three ring layouts) counts once.

use crate::process::{command, output};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// The areas, each with the number of tests planned.
const AREAS: &[(&str, usize)] = &[
    ("abstractions", 28),
    ("backend trait", 12),
    ("file structure", 16),
    ("index", 28),
    ("tokio backend", 32),
    ("io_uring backend", 44),
    ("LRU eviction", 24),
    ("recovery and start-up", 32),
    ("Cache trait", 36),
    ("cross-platform", 48),
    ("performance", 32),
];

/// Which tests belong to which area: crate, test binary (`lib`: the unit tests) and the beginning of the name, empty for any.
/// The first that fits decides; what none fits is in no area.
const BELONGS: &[(&str, &str, &str, &str)] = &[
    // The suite that every backend passes: one area, whoever runs it.
    ("", "conformance", "", "backend trait"),
    ("cache-core", "lib", "", "abstractions"),
    ("disk-cache", "bad_input", "", "abstractions"),
    ("cache-index", "lib", "plan::", "recovery and start-up"),
    ("cache-index", "replay", "", "recovery and start-up"),
    ("cache-index", "", "", "index"),
    ("cache-store", "lib", "", "file structure"),
    ("cache-store", "opener", "", "file structure"),
    ("cache-store", "crash_states", "", "recovery and start-up"),
    ("cache-store", "recovery_order", "", "recovery and start-up"),
    ("cache-store", "restart", "", "recovery and start-up"),
    ("cache-store", "", "", "Cache trait"),
    ("backend-tokio", "", "", "tokio backend"),
    ("backend-uring", "", "", "io_uring backend"),
    ("disk-cache", "fallback", "", "io_uring backend"),
    ("disk-cache", "lru", "", "LRU eviction"),
    ("disk-cache", "recovery", "", "recovery and start-up"),
    ("disk-cache", "kill9", "", "recovery and start-up"),
    ("disk-cache", "cache_trait", "", "Cache trait"),
    ("disk-cache", "streaming", "", "Cache trait"),
    ("disk-cache", "get_or_fetch", "", "Cache trait"),
    ("disk-cache", "portable", "", "cross-platform"),
    ("disk-cache", "performance", "", "performance"),
];

/// First parts of names that tell the input of a case and not the case.
const INPUTS: &[&str] = &[
    "tokio",
    "io_uring",
    "one_ring",
    "four_rings",
    "little_room",
    "ended",
    "memory",
    "memory_cached",
    "fault_without_rules",
];

/// One test as its binary lists it.
#[derive(Debug)]
struct Listed {
    package: String,
    binary: String,
    name: String,
}

/// Prints the table.
///
/// # Errors
/// The areas that fall short.
pub(crate) fn run() -> Result<String, String> {
    let tests = listed()?;
    let counts = count(&tests);
    println!("{:<24} {:>8} {:>8}", "area", "planned", "tests");
    for (area, planned) in AREAS {
        println!("{area:<24} {planned:>8} {:>8}", counts.get(area).copied().unwrap_or(0));
    }
    let (planned, counted): (usize, usize) = (
        AREAS.iter().map(|(_, planned)| planned).sum(),
        AREAS.iter().filter_map(|(area, _)| counts.get(area)).sum(),
    );
    println!("{:<24} {planned:>8} {counted:>8}", "all of them");
    println!("{:<24} {:>8} {:>8}", "in no area", "", counts.get("").copied().unwrap_or(0));
    let short = short(&counts);
    if short.is_empty() { Ok(format!("{counted} tests for {planned}")) } else { Err(short.join("\n")) }
}

/// Distinct tests by area.
fn count(tests: &[Listed]) -> BTreeMap<&'static str, usize> {
    let mut distinct = BTreeSet::new();
    for test in tests {
        let area = area(test);
        // A suite that several crates run is the same suite.
        let package = if test.binary == "conformance" { "" } else { &test.package };
        distinct.insert((area, package, &test.binary, case(&test.name)));
    }
    let mut counts = BTreeMap::new();
    for (area, ..) in distinct {
        *counts.entry(area).or_default() += 1;
    }
    counts
}

fn area(test: &Listed) -> &'static str {
    let fits = |(package, binary, name, _): &&(&str, &str, &str, &str)| {
        (package.is_empty() || test.package == *package)
            && (binary.is_empty() || test.binary == *binary)
            && test.name.starts_with(name)
    };
    BELONGS.iter().find(fits).map_or("", |(.., area)| area)
}

/// The name without the input that the case was generated for.
fn case(name: &str) -> &str {
    match name.split_once("::") {
        Some((input, case)) if INPUTS.contains(&input) => case,
        _ => name,
    }
}

fn short(counts: &BTreeMap<&'static str, usize>) -> Vec<String> {
    let has = |area| counts.get(area).copied().unwrap_or(0);
    let short = AREAS.iter().filter(|(area, planned)| has(area) < *planned);
    short.map(|(area, planned)| format!("{area}: {} tests, {planned} are planned", has(area))).collect()
}

/// Every test of the library crates.
fn listed() -> Result<Vec<Listed>, String> {
    // What `cargo test` builds, and nothing less: another choice of crates has other features, and is built anew.
    let mut build = command("cargo", ["test", "--no-run", "--message-format=json"]);
    let mut tests = Vec::new();
    for message in output(&mut build)?.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(executable) = message["executable"].as_str() else { continue };
        if message["profile"]["test"].as_bool() != Some(true) {
            continue;
        }
        let folder = message["manifest_path"].as_str().and_then(|path| Path::new(path).parent()?.file_name());
        let package = folder.unwrap_or_default().to_string_lossy();
        if package == "xtask" {
            continue;
        }
        let lib =
            message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib"));
        let binary = if lib { "lib" } else { message["target"]["name"].as_str().unwrap_or_default() };
        let list = output(Command::new(executable).arg("--list"))?;
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        tests.extend(names.map(|name| Listed {
            package: package.clone().into_owned(),
            binary: binary.to_owned(),
            // The reason why it will be ignored, where there is one, stands in brackets before it.
            name: name.rsplit_once("] ").map_or(name, |(_, name)| name).to_owned(),
        }));
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(package: &str, binary: &str, names: &[String]) -> Vec<Listed> {
        let one =
            |name: &String| Listed { package: package.into(), binary: binary.into(), name: name.clone() };
        names.iter().map(one).collect()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("tokio::case_{n}")).collect()
    }

    #[test]
    fn the_plan_has_332_tests_in_eleven_areas() {
        assert_eq!((AREAS.len(), AREAS.iter().map(|(_, planned)| planned).sum::<usize>()), (11, 332));
        let known = |area: &str| AREAS.iter().any(|(name, _)| *name == area);
        assert!(BELONGS.iter().all(|(.., area)| known(area)));
    }

    #[test]
    fn an_area_one_short_is_told() {
        let full = listed("disk-cache", "lru", &names(24));
        let short_of =
            |tests: &[Listed]| short(&count(tests)).into_iter().find(|line| line.starts_with("LRU"));
        assert_eq!(short_of(&full), None);
        assert_eq!(short_of(&full[1..]), Some("LRU eviction: 23 tests, 24 are planned".to_owned()));
    }

    #[test]
    fn a_case_for_several_inputs_counts_once() {
        let mut tests = listed("disk-cache", "lru", &names(3));
        tests.extend(listed("disk-cache", "lru", &["io_uring::case_0".to_owned(), "case_1".to_owned()]));
        tests.extend(listed(
            "cache-testkit",
            "conformance",
            &["memory::a".to_owned(), "memory_cached::a".to_owned()],
        ));
        tests.extend(listed("backend-uring", "conformance", &["one_ring::a".to_owned()]));
        assert_eq!(count(&tests), BTreeMap::from([("LRU eviction", 3), ("backend trait", 1)]));
    }

    #[test]
    fn a_module_is_no_input() {
        let tests = listed("cache-index", "lib", &["plan::tests::a".to_owned(), "slot::tests::a".to_owned()]);
        assert_eq!(count(&tests), BTreeMap::from([("recovery and start-up", 1), ("index", 1)]));
    }
}
