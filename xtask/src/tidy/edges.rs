//! Which crate may know which.

use serde_json::Value;
use std::collections::BTreeMap;

/// Which crates of the workspace each one may use, development dependencies aside.
const EDGES: &[(&str, &[&str])] = &[
    ("cache-core", &[]),
    ("cache-index", &["cache-core"]),
    ("cache-store", &["cache-core", "cache-index"]),
    ("backend-tokio", &["cache-core"]),
    ("backend-uring", &["cache-core", "backend-tokio"]),
    ("cache-testkit", &["cache-core"]),
    ("store-testkit", &["cache-core", "cache-store", "cache-testkit"]),
    ("disk-cache", &["cache-core", "cache-store", "backend-tokio", "backend-uring"]),
    ("xtask", &[]),
    (
        "benches",
        &["cache-core", "disk-cache", "cache-store", "cache-index", "backend-tokio", "backend-uring"],
    ),
];

/// What is wrong with the edges in the output of `cargo metadata`.
pub(crate) fn check(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let mut complaints = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let from = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(from) else {
            complaints
                .push(format!("{from}: a crate that the design does not list; add it to xtask's EDGES"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let ours = allowed.contains_key(to) && dependency["kind"].as_str() != Some("dev");
            if ours && !may.contains(&to) {
                complaints.push(format!("{from} -> {to}: an edge that the design does not have"));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(from: &str, to: &str, kind: &Value) -> Value {
        json!({ "packages": [{ "name": from, "dependencies": [{ "name": to, "kind": kind }, { "name": "bytes", "kind": null }] }] })
    }

    #[test]
    fn an_edge_the_wrong_way_is_told() {
        let wrong = check(&metadata("cache-index", "cache-store", &Value::Null));
        assert_eq!(wrong, ["cache-index -> cache-store: an edge that the design does not have"]);
        assert_eq!(check(&metadata("cache-store", "cache-index", &Value::Null)), [""; 0]);
    }

    #[test]
    fn the_test_kit_is_for_tests_alone() {
        assert_eq!(check(&metadata("cache-store", "cache-testkit", &json!("dev"))), [""; 0]);
        assert_eq!(check(&metadata("cache-store", "cache-testkit", &Value::Null)).len(), 1);
        assert_eq!(check(&metadata("cache-store", "cache-testkit", &json!("build"))).len(), 1);
    }

    #[test]
    fn a_crate_that_is_not_listed_is_told() {
        assert!(check(&metadata("another", "bytes", &Value::Null))[0].starts_with("another: a crate that"));
    }
}
