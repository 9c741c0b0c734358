//! How tests are built: some need other locks, or a watch on memory, and so build products of their own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What stands for the tests under the model checker where the name of a test binary does.
pub(super) const INTERLEAVINGS: &str = "interleavings";

/// See the module text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Built {
    /// As `cargo test` does.
    Plainly,
    /// All locks and atomics of the crates are the model checker's.
    ForTheChecker,
    /// With `AddressSanitizer`, on the stable compiler. A target is named, so that it stays out of build scripts and macros.
    Sanitized,
}

/// Builds of their own take longer than what is run with them.
const QUICKLY: [&str; 4] =
    ["--config", "profile.dev.opt-level=0", "--config", "profile.dev.package.\"*\".opt-level=0"];

/// The one target that is sanitized.
const TARGET: &str = "x86_64-unknown-linux-gnu";

impl Built {
    /// For the test binary of this name.
    pub(super) fn of(test: &str) -> Self {
        if test == INTERLEAVINGS { Self::ForTheChecker } else { Self::Plainly }
    }

    /// What stands between `cargo test` and the options of the tests.
    pub(super) fn words(self, test: &str) -> Vec<&str> {
        match self {
            Self::ForTheChecker => {
                [&QUICKLY[..], &["-p", "cache-index", "-p", "cache-store", "--lib"]].concat()
            }
            Self::Sanitized => [&QUICKLY[..], &["--target", TARGET, "--test", test]].concat(),
            Self::Plainly if test == "lib" => vec!["--lib"],
            Self::Plainly => vec!["--test", test],
        }
    }

    /// Which tests of those, where a run does not say.
    pub(super) fn filter(self) -> Option<&'static str> {
        (self == Self::ForTheChecker).then_some(INTERLEAVINGS)
    }

    /// Variables for cargo.
    pub(super) fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plainly => &[],
            Self::ForTheChecker => &[("RUSTFLAGS", "--cfg shuttle")],
            Self::Sanitized => &[("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=address")],
        }
    }

    /// Has cargo build in this way, below a folder of build products.
    pub(super) fn prepare(self, cargo: &mut Command, target: &Path) {
        cargo.envs(self.variables().iter().copied());
        match self {
            Self::Plainly => {}
            Self::ForTheChecker => drop(cargo.env("CARGO_TARGET_DIR", target.join("shuttle"))),
            Self::Sanitized => drop(cargo.env("CARGO_TARGET_DIR", target.join("sanitizer"))),
        }
    }

    /// Why this machine cannot build so.
    pub(super) fn lacking(self) -> Option<String> {
        if self != Self::Sanitized {
            return None;
        }
        if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
            return Some(format!("the sanitizer is tried on {TARGET} alone"));
        }
        let out = Command::new("rustc").args(["--print", "target-libdir"]).output().ok()?;
        let folder = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
        let runtime = |name: &str| name.starts_with("librustc") && name.ends_with("_rt.asan.a");
        let found = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| file.file_name().to_str().is_some_and(runtime));
        (!found).then(|| {
            format!("this compiler comes without the sanitizer's runtime: none in {}", folder.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sanitized_build_is_for_a_target_and_apart_from_others() {
        let mut cargo = Command::new("cargo");
        Built::Sanitized.prepare(&mut cargo, Path::new("target"));
        let folder = cargo.get_envs().find(|(name, _)| *name == "CARGO_TARGET_DIR");
        assert_eq!(folder.and_then(|(_, value)| value), Some(Path::new("target/sanitizer").as_os_str()));
        assert!(Built::Sanitized.words("x").ends_with(&["--target", TARGET, "--test", "x"]));
    }

    #[test]
    fn only_the_model_checker_takes_unit_tests_by_their_module() {
        assert_eq!(Built::of(INTERLEAVINGS).filter(), Some(INTERLEAVINGS));
        assert_eq!((Built::of("lib").words("lib"), Built::of("lib").filter()), (vec!["--lib"], None));
    }
}
