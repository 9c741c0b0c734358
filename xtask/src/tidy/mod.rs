//! Checks on the shape of the code: who may know whom, manifests, module docs, leftovers, and that the documents say what is
//! run. Each check is a function from text to complaints.

mod documents;
mod edges;
mod guides;
mod manifests;
mod sources;

use crate::{
    adapters, bench, fuzz,
    process::{command, output, repo},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Runs every check.
///
/// # Errors
/// A line for each thing that is not tidy.
pub(crate) fn run() -> Result<String, String> {
    let metadata = output(&mut command("cargo", ["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let mut complaints = edges::check(&metadata);
    let mut files = 0;
    for manifest in manifests(&metadata) {
        complaints.extend(manifests::check(&name(&manifest), &read(&manifest)?));
        for file in rust_files(&manifest)? {
            complaints.extend(sources::check(&name(&file), &read(&file)?));
            files += 1;
        }
    }
    // Outside the workspace, so that no metadata names them; their manifests inherit nothing.
    for folder in adapters::folders().chain([fuzz::folder(), bench::peers()]) {
        for file in rust_files(&folder.join("Cargo.toml"))? {
            complaints.extend(sources::check(&name(&file), &read(&file)?));
            files += 1;
        }
    }
    for document in ["README.md", "CONTRIBUTING.md", "RELIABILITY.md"] {
        complaints.extend(documents::check(document, &read(&repo().join(document))?));
    }
    let readme = read(&repo().join("README.md"))?;
    for guide in files_in(&repo().join("docs/guides"), "md")? {
        let beside = |link: &str| fs::read_to_string(guide.with_file_name(link)).ok();
        complaints.extend(guides::check(&name(&guide), &read(&guide)?, beside));
        if !readme.contains(&format!("({})", name(&guide))) {
            complaints.push(format!("README.md: does not lead to {}", name(&guide)));
        }
    }
    if complaints.is_empty() {
        println!("tidy: {files} files");
        Ok(format!("{files} files"))
    } else {
        Err(complaints.join("\n"))
    }
}

fn manifests(metadata: &Value) -> Vec<PathBuf> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|package| package["manifest_path"].as_str()).map(PathBuf::from).collect()
}

/// The sources of a crate.
fn rust_files(manifest: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz_targets"] {
        files.extend(files_in(&manifest.with_file_name(folder), "rs")?);
    }
    Ok(files)
}

/// The files below a folder, if there is one, whose names end so.
fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(files_in(&path, extension)?);
        } else if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The path as seen from the workspace, with slashes on every platform.
fn name(path: &Path) -> String {
    let path = path.strip_prefix(repo()).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
