//! What a run of the tests printed, counted and judged.
//!
//! The output of `cargo test` tells what ran. The log behind it tells what the caches ran on: a cache says at its opening which
//! backend was asked for and which one it has, a set of rings how many they are.

use std::collections::BTreeMap;

/// Comes between the tests' output and the log.
pub(crate) const LOG: &str = "== log of the caches";

/// The counts of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    in_log: bool,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests that did not run, by name with the reason.
    pub(crate) ignored: Vec<(String, String)>,
    pub(crate) on_rings: u64,
    /// Caches on the portable backend because that was asked for.
    pub(crate) on_tokio: u64,
    /// Caches on the portable backend although that was not asked for.
    pub(crate) fallen_back: Vec<String>,
    /// The warnings of the fallback.
    pub(crate) warnings: Vec<String>,
    pub(crate) rings: u64,
    pub(crate) disk_full: bool,
}

impl Report {
    /// Takes one line in; whether it is one to show.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        if line == LOG {
            self.in_log = true;
        } else if self.in_log {
            self.log(line);
        } else {
            self.test(line);
            return true;
        }
        false
    }

    /// Takes in what the build or the tests wrote to their standard error.
    pub(crate) fn complained(&mut self, line: &str) {
        self.disk_full |= tells_full_disk(line);
    }

    fn test(&mut self, line: &str) {
        self.complained(line);
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += number_before(counts, " passed");
            self.failed += number_before(counts, " failed");
        } else if let Some(test) = line.strip_prefix("test ") {
            self.ignored.extend(ignored(test));
        }
    }

    fn log(&mut self, line: &str) {
        if line.contains(": opened dir=") {
            match (field(line, "asked="), field(line, "backend=")) {
                (_, "io-uring") => self.on_rings += 1,
                ("Tokio", _) => self.on_tokio += 1,
                _ => self.fallen_back.push(line.trim().to_owned()),
            }
        } else if line.contains(": rings opened ") {
            self.rings += field(line, "rings=").parse().unwrap_or(0);
        } else if line.contains("the tokio backend takes over") || line.contains("io_uring is given up") {
            self.warnings.push(line.trim().to_owned());
        }
    }

    /// What is wrong with a run that was allowed io_uring.
    pub(crate) fn complaints_if_allowed(&self, whole: bool) -> Vec<String> {
        let mut complaints = self.complaints();
        if let Some(first) = self.fallen_back.first().or(self.warnings.first()) {
            complaints.push(format!(
                "{} caches ran on the fallback, {} warned: {first}",
                self.fallen_back.len(),
                self.warnings.len()
            ));
        }
        if whole && (self.rings == 0 || self.on_rings == 0) {
            complaints.push("no cache opened a ring".to_owned());
        }
        for (test, reason) in
            self.ignored.iter().filter(|(_, reason)| reason.contains("io_uring cannot be used"))
        {
            complaints.push(format!("{test} did not run: {reason}"));
        }
        complaints
    }

    /// What is wrong with a run that was denied io_uring.
    pub(crate) fn complaints_if_denied(&self, whole: bool) -> Vec<String> {
        let mut complaints = self.complaints();
        if self.rings > 0 || self.on_rings > 0 {
            complaints.push(format!("{} rings opened where they are denied", self.rings));
        }
        let unnamed = |text: &&String| !text.contains("setting up a ring failed");
        if let Some(warning) = self.warnings.iter().find(unnamed) {
            complaints.push(format!("a warning does not name the step that failed: {warning}"));
        }
        if self.warnings.len() != self.fallen_back.len() {
            complaints.push(format!(
                "{} caches fell back with {} warnings",
                self.fallen_back.len(),
                self.warnings.len()
            ));
        }
        let of_rings = self.ignored.iter().filter(|(test, _)| test.starts_with("io_uring::"));
        let reasons: Vec<_> = of_rings.map(|(_, reason)| reason).collect();
        if whole && (reasons.is_empty() || self.fallen_back.is_empty()) {
            complaints.push("no io_uring test is reported as ignored, or no cache fell back".to_owned());
        }
        if let Some(reason) = reasons.into_iter().find(unnamed) {
            complaints.push(format!("an ignored test does not name the step that failed: {reason}"));
        }
        complaints
    }

    fn complaints(&self) -> Vec<String> {
        // Tests that fill a disk of their own say the same and pass.
        if self.disk_full && (self.failed > 0 || self.passed == 0) {
            vec!["the disk is full".to_owned()]
        } else if self.failed > 0 {
            vec![format!("{} tests failed", self.failed)]
        } else if self.passed == 0 {
            vec!["no test ran".to_owned()]
        } else {
            Vec::new()
        }
    }

    /// How many tests were ignored for each reason, and one of their names.
    pub(crate) fn reasons(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (test, reason) in &self.ignored {
            reasons.entry(reason).or_default().push(test);
        }
        reasons
    }
}

/// Whether a compiler, a test or the engine complains of a full disk; the engine writes it small.
pub(crate) fn tells_full_disk(line: &str) -> bool {
    line.to_ascii_lowercase().contains("no space left on device")
}

/// The name and the reason, if this is the line of an ignored test: `[reason] name ... ignored` where the reason was known
/// beforehand, `name ... ignored (reason)` where not, `name ... ignored, reason` by the standard harness.
fn ignored(test: &str) -> Option<(String, String)> {
    let (before, after) = test.split_once(" ... ignored")?;
    let (kind, name) = match before.strip_prefix('[').and_then(|rest| rest.rsplit_once("] ")) {
        Some((kind, name)) => (kind, name),
        None => ("", before),
    };
    let after = after.trim_start_matches([',', ' ']);
    // A reason of several lines has its closing bracket on a later one.
    let after = after.strip_prefix('(').map_or(after, |inner| inner.strip_suffix(')').unwrap_or(inner));
    let reason = if after.is_empty() { kind } else { after };
    Some((name.trim().to_owned(), if reason.is_empty() { "no reason given" } else { reason }.to_owned()))
}

fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The word behind `name=`.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line.match_indices(name).find(|(at, _)| *at == 0 || line[..*at].ends_with(' '));
    at.and_then(|(at, _)| line[at + name.len()..].split(' ').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: &str = "2026-01-01T00:00:00Z  INFO cache_store::engine: opened dir=/target/x asked=";
    const WARNED: &str = "2026-01-01T00:00:00Z  WARN disk_cache::platform: io_uring cannot be used here: the tokio backend \
                          takes over reason=\"io_uring cannot be used here: setting up a ring failed: EPERM\"";

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            report.take(line);
        }
        report
    }

    fn opened(asked: &str, backend: &str) -> String {
        format!("{OPENED}{asked} backend={backend} entries=0 source=Fresh elapsed=1ms")
    }

    #[test]
    fn a_run_on_rings_is_fine_where_they_are_allowed_and_not_where_they_are_denied() {
        let (rings, tokio) = (opened("Auto", "io-uring"), opened("Tokio", "tokio"));
        let report = report(&[
            "test tokio::x ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            LOG,
            "2026-01-01T00:00:00Z DEBUG backend_uring::backend: rings opened rings=2",
            &rings,
            &tokio,
        ]);
        assert_eq!((report.passed, report.rings, report.on_rings, report.on_tokio), (7, 2, 1, 1));
        assert_eq!(report.complaints_if_allowed(true), [""; 0]);
        assert!(report.complaints_if_denied(true).iter().any(|why| why.contains("2 rings opened")));
    }

    #[test]
    fn a_fallback_that_silently_takes_over_is_caught_where_rings_are_allowed() {
        let ok =
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        let (rings, tokio) = (opened("IoUring", "io-uring"), opened("IoUring", "tokio"));
        let report = report(&[ok, LOG, "x DEBUG b: rings opened rings=2", &rings, &tokio]);
        let complaints = report.complaints_if_allowed(true);
        assert!(
            complaints.len() == 1 && complaints[0].contains("1 caches ran on the fallback"),
            "{complaints:?}"
        );
    }

    #[test]
    fn a_run_on_the_fallback_is_fine_where_rings_are_denied() {
        let fallen = opened("Auto", "tokio");
        let lines = [
            "test [io_uring cannot be used here: setting up a ring failed: EPERM] a_ring ... ignored",
            "test io_uring::get                ... ignored (io_uring cannot be used here: setting up a ring failed: EPERM)",
            "test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            LOG,
            &fallen,
            WARNED,
        ];
        let fine = report(&lines);
        assert_eq!(fine.complaints_if_denied(true), [""; 0]);
        assert_eq!(
            fine.ignored.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["a_ring", "io_uring::get"]
        );
        assert_eq!(fine.complaints_if_allowed(false).len(), 3, "a fallback and two tests that did not run");
        let unwarned = report(&lines[..5]);
        assert_eq!(unwarned.complaints_if_denied(true), ["1 caches fell back with 0 warnings"]);
    }

    #[test]
    fn nothing_run_and_a_full_disk_are_failures() {
        assert!(report(&[]).complaints_if_denied(false).contains(&"no test ran".to_owned()));
        let full = report(&["write /dev/stderr: no space left on device"]);
        assert!(full.complaints_if_allowed(false).contains(&"the disk is full".to_owned()));
        let full_and_fine =
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        let filled = report(&["a test's own disk: No space left on device", full_and_fine]);
        assert_eq!(filled.complaints_if_allowed(false), [""; 0]);
    }
}
