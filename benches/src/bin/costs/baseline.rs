//! The kept costs, and what counts as more.

use crate::environment::Environment;
use benches::Result;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};

/// Costs of an operation, by the name of what is counted.
pub(crate) type Costs = BTreeMap<String, f64>;

/// The name under which instructions are kept, which compare only in the same environment.
pub(crate) const INSTRUCTIONS: &str = "instructions";

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Baseline {
    pub(crate) environment: Environment,
    /// By workload.
    pub(crate) costs: BTreeMap<String, Costs>,
}

const HEAD: &str =
    "# Costs of one operation, counted on one thread. Written by `cargo xtask bench --check --bless`.\n\n";

impl Baseline {
    /// Reads it; an empty one where there is none.
    ///
    /// # Errors
    /// Where it does not read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(format!("{}: {e}", path.display()).into()),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self)?;
        fs::write(path, format!("{HEAD}{text}")).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(())
    }
}

/// How a cost stands to the kept one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Less,
    More,
    /// Nothing was kept.
    New,
}

/// Judges one cost of a workload.
pub(crate) fn judge(workload: &str, what: &str, cost: f64, kept: Option<f64>) -> Verdict {
    let Some(kept) = kept else { return Verdict::New };
    let (share, least) = tolerance(workload, what);
    let slack = (kept * share).max(least);
    if cost > kept + slack {
        Verdict::More
    } else if cost < kept - slack {
        Verdict::Less
    } else {
        Verdict::Same
    }
}

/// As a share, and at least so much. Workloads that write meet the threads that wait for the device sooner or later, which moves
/// their calls a little from run to run; nothing else differs.
fn tolerance(workload: &str, what: &str) -> (f64, f64) {
    let writes = ["insert", "insert-large", "get-or-insert"].contains(&workload);
    match what {
        INSTRUCTIONS => (0.05, 0.0),
        "allocated_bytes" if writes => (0.1, 1200.0),
        "allocated_bytes" => (0.05, 16.0),
        "bytes_written_per_byte" => (if workload == "get-or-insert" { 0.1 } else { 0.01 }, 0.0),
        // Of 4 MiB each: one call more for one of them is nothing.
        _ if workload == "insert-large" => (0.25, 2.0),
        // A wake-up more for a whole buffer is nothing, one for every operation is.
        _ if writes => (0.25, 0.05),
        _ => (0.03, 0.02),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allocation_more_is_told_and_a_shade_more_instructions_are_not() {
        assert_eq!(judge("get", "allocations", 4.0, Some(3.0)), Verdict::More);
        assert_eq!(judge("get", "allocations", 3.0, Some(4.0)), Verdict::Less);
        assert_eq!(judge("get", INSTRUCTIONS, 1040.0, Some(1000.0)), Verdict::Same);
        assert_eq!(judge("get", INSTRUCTIONS, 1060.0, Some(1000.0)), Verdict::More);
        assert_eq!(judge("get", "syscalls", 0.01, Some(0.0)), Verdict::Same);
        assert_eq!(judge("get", "syscalls", 1.0, None), Verdict::New);
        assert_eq!(judge("insert", "syscalls", 1.04, Some(0.04)), Verdict::More, "one for every insert");
    }

    #[test]
    fn a_baseline_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("baseline.toml");
        let mut baseline = Baseline::default();
        baseline.costs.entry("get".to_owned()).or_default().insert("allocations".to_owned(), 3.0);
        baseline.write(&path).expect("written");
        assert_eq!(Baseline::read(&path).expect("read").costs, baseline.costs);
        assert!(Baseline::read(&dir.path().join("none")).expect("none").costs.is_empty());
    }
}
