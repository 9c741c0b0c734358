//! Checks on the shape of the code: who may know whom, manifests, module docs, leftovers.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Which crates of the workspace each one may use, development dependencies aside.
const EDGES: &[(&str, &[&str])] = &[
    ("cache-core", &[]),
    ("cache-index", &["cache-core"]),
    ("cache-store", &["cache-core", "cache-index"]),
    ("backend-tokio", &["cache-core"]),
    ("backend-uring", &["cache-core", "backend-tokio"]),
    ("cache-testkit", &["cache-core"]),
    ("disk-cache", &["cache-core", "cache-store", "backend-tokio", "backend-uring"]),
    ("xtask", &[]),
    (
        "benches",
        &["cache-core", "disk-cache", "cache-store", "cache-index", "backend-tokio", "backend-uring"],
    ),
];

/// Runs every check.
///
/// # Errors
/// A line for each thing that is not tidy.
pub(crate) fn run() -> Result<(), String> {
    let metadata = metadata()?;
    let mut complaints = Vec::new();
    edges(&metadata, &mut complaints);
    for manifest in manifests(&metadata) {
        inheritance(&manifest, &mut complaints)?;
        sources(&manifest, &mut complaints)?;
    }
    if complaints.is_empty() {
        println!("tidy: {} crates", EDGES.len());
        return Ok(());
    }
    Err(complaints.join("\n"))
}

fn metadata() -> Result<Value, String> {
    let out = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn manifests(metadata: &Value) -> Vec<PathBuf> {
    packages(metadata).filter_map(|p| p["manifest_path"].as_str()).map(PathBuf::from).collect()
}

fn edges(metadata: &Value, complaints: &mut Vec<String>) {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        EDGES.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    for package in packages(metadata) {
        let Some(from) = package["name"].as_str() else { continue };
        let Some(may) = allowed.get(from) else {
            complaints
                .push(format!("{from}: a crate that the design does not list; add it to xtask's EDGES"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(to) = dependency["name"].as_str() else { continue };
            let ours = allowed.contains_key(to);
            if ours && dependency["kind"].as_str() != Some("dev") && !may.contains(to) {
                complaints.push(format!("{from} -> {to}: an edge that the design does not have"));
            }
        }
    }
}

fn inheritance(manifest: &Path, complaints: &mut Vec<String>) -> Result<(), String> {
    let text = read(manifest)?;
    for line in ["version.workspace = true", "edition.workspace = true", "rust-version.workspace = true"] {
        if !text.lines().any(|l| l == line) {
            complaints.push(format!("{}: lacks `{line}`", manifest.display()));
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        complaints.push(format!("{}: does not inherit the lints", manifest.display()));
    }
    Ok(())
}

fn sources(manifest: &Path, complaints: &mut Vec<String>) -> Result<(), String> {
    let Some(root) = manifest.parent() else { return Ok(()) };
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        collect(&root.join(folder), &mut files)?;
    }
    for file in files {
        let text = read(&file)?;
        let at = file.display();
        if !text.lines().any(|l| l.starts_with("//!")) {
            complaints.push(format!("{at}: no module docs"));
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line == "#[ignore]" {
                complaints.push(format!("{at}:{}: ignored without a reason", number + 1));
            }
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    if !folder.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
