//! A copy of the checkout under `target/`, to plant faults in.
//!
//! **Invariants**: the checkout itself is never changed. A file of the copy is written only where it differs, so that cargo builds
//! again what a patch touched, and nothing else.

use super::saboteur::Narrow;
use crate::process::{command, output, repo};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The copy. Its build products lie among the checkout's: crates of the registry are built once for both, and its own crates, which
/// lie elsewhere, are told from the checkout's.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    target: PathBuf,
    files: Vec<PathBuf>,
}

impl Tree {
    /// Copies what git knows of the checkout, and what is new in it.
    ///
    /// # Errors
    /// Git's, or a file's.
    pub(super) fn of_checkout() -> Result<Self, String> {
        let folder = repo().join("target/saboteurs");
        let known =
            output(&mut command("git", ["ls-files", "-z", "-co", "--exclude-standard", "--deduplicate"]))?;
        let files = known.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
        // Deleted and not yet told to git.
        let files = files.filter(|name| repo().join(name).is_file()).collect();
        let tree = Self { root: folder.join("tree"), target: repo().join("target"), files };
        tree.restore()?;
        tree.remove_others()?;
        Ok(tree)
    }

    /// Makes every file what it is in the checkout.
    pub(super) fn restore(&self) -> Result<(), String> {
        for name in &self.files {
            let (from, to) = (repo().join(name), self.root.join(name));
            let failed = |e: std::io::Error| format!("{}: {e}", to.display());
            let bytes = fs::read(&from).map_err(|e| format!("{}: {e}", from.display()))?;
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&self.root)).map_err(failed)?;
            fs::write(&to, bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// What an earlier copy left and the checkout does not have.
    fn remove_others(&self) -> Result<(), String> {
        let known: BTreeSet<PathBuf> = self.files.iter().map(|name| self.root.join(name)).collect();
        let mut there = Vec::new();
        collect(&self.root, &mut there).map_err(|e| format!("{}: {e}", self.root.display()))?;
        for file in there.iter().filter(|file| !known.contains(*file)) {
            fs::remove_file(file).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        Ok(())
    }

    /// Plants a patch.
    ///
    /// # Errors
    /// Git's word on why it does not apply.
    pub(super) fn apply(&self, patch: &Path) -> Result<(), String> {
        let mut apply = Command::new("git");
        apply.args(["apply", "--whitespace=nowarn"]).arg(patch).current_dir(&self.root);
        // Not as a part of the checkout around it, which does not know these files.
        apply.env("GIT_CEILING_DIRECTORIES", self.root.parent().unwrap_or(&self.root));
        output(&mut apply).map(drop)
    }

    /// Cargo in the copy, that runs a test or only builds it.
    pub(super) fn cargo(&self, test: &Narrow, run: bool) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(test.words(run)).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        // A fault may leave a warning behind. Each is built for a run of seconds.
        cargo
            .env_remove("RUSTFLAGS")
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
        test.built().prepare(&mut cargo, &self.target);
        cargo
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
