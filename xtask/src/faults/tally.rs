//! What tests printed, counted.

use crate::docker::report::Report;
use std::fmt;

/// Comes before a number and what there were so many of; `cache_testkit::tried` prints it.
const CASES: &str = "cases: ";

/// The counts of one or several runs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many of what, in the order in which it was first told.
    cases: Vec<(String, u64)>,
    report: Report,
    failures: Vec<String>,
    /// The test that has begun and printed something before its verdict.
    open: Option<String>,
}

impl Tally {
    /// Takes one line in.
    pub(super) fn take(&mut self, line: &str) {
        // One thread: the harness has written the test's name before it.
        if let Some((_, told)) = line.split_once(CASES)
            && let Some((number, what)) = told.split_once(' ')
            && let Ok(number) = number.parse()
        {
            self.count(what, number);
        }
        if let Some((test, verdict)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")) {
            self.open = Some(test.trim_end().to_owned());
            self.failures.extend(self.open.take_if(|_| verdict == "FAILED"));
        } else if line == "FAILED" {
            self.failures.extend(self.open.take());
        }
        self.report.take(line);
    }

    /// Notes tests that this machine cannot even build.
    pub(super) fn cannot_run(&mut self, tests: &str, reason: &str) {
        self.report.ignored.push((tests.to_owned(), reason.to_owned()));
    }

    fn count(&mut self, what: &str, number: u64) {
        match self.cases.iter_mut().find(|(known, _)| known == what) {
            Some((_, sum)) => *sum += number,
            None => self.cases.push((what.to_owned(), number)),
        }
    }

    /// Adds another run.
    pub(super) fn add(&mut self, other: Self) {
        for (what, number) in other.cases {
            self.count(&what, number);
        }
        self.report.passed += other.report.passed;
        self.report.failed += other.report.failed;
        self.report.ignored.extend(other.report.ignored);
        self.failures.extend(other.failures);
    }

    pub(super) fn passed(&self) -> u64 {
        self.report.passed
    }

    pub(super) fn failed(&self) -> u64 {
        self.report.failed
    }

    /// The tests that failed, by name.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Tests that this machine cannot run, with the reason.
    pub(super) fn not_run(&self) -> &[(String, String)] {
        &self.report.ignored
    }

    /// Why a run is no pass. `ended_well`: by its exit code. `scaled`: it has to say how much it tried.
    pub(super) fn complaint(&self, ended_well: bool, scaled: bool) -> Option<String> {
        if self.failed() > 0 {
            return Some(format!("{} failed: {}", self.failed(), self.failures.join(", ")));
        }
        if !ended_well {
            return Some("it did not build, or died".to_owned());
        }
        if self.passed() == 0 && self.not_run().is_empty() {
            return Some("no test ran".to_owned());
        }
        (scaled && self.passed() > 0 && self.cases.is_empty())
            .then(|| "the tests passed and did not say how many cases they tried".to_owned())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, number) in &self.cases {
            write!(f, "{number} {what}; ")?;
        }
        write!(f, "{} tests", self.passed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.take(line));
        tally
    }

    const GOOD: &str = "test a ... cases: 200 crash states\ncases: 5 kills on tokio\nok\ncases: 100 crash states\n\
                        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured";

    #[test]
    fn a_test_that_prints_before_it_fails_is_named_all_the_same() {
        let told = "test a ... ok\ntest b   ... \nwhat it said\nFAILED\ntest c ... FAILED";
        assert_eq!(tally(told).failures(), ["b", "c"]);
    }

    #[test]
    fn cases_of_one_kind_are_added_up_wherever_their_line_begins() {
        assert_eq!(tally(GOOD).to_string(), "300 crash states; 5 kills on tokio; 2 tests");
        let mut both = tally(GOOD);
        both.add(tally(GOOD));
        assert_eq!(both.to_string(), "600 crash states; 10 kills on tokio; 4 tests");
        assert_eq!(both.complaint(true, true), None);
    }

    #[test]
    fn a_failure_is_told_by_name_and_so_is_a_run_that_died() {
        let failed = tally("test a::b ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored");
        assert_eq!(failed.complaint(false, false).as_deref(), Some("1 failed: a::b"));
        assert!(tally(GOOD).complaint(false, false).is_some(), "all well until it died");
    }

    #[test]
    fn a_run_of_nothing_is_no_pass() {
        let nothing = tally("test result: ok. 0 passed; 0 failed; 0 ignored");
        assert_eq!(nothing.complaint(true, false).as_deref(), Some("no test ran"));
        let silent = tally("test result: ok. 1 passed; 0 failed; 0 ignored");
        assert_eq!(silent.complaint(true, false), None);
        assert!(silent.complaint(true, true).is_some(), "a scaled run says how much it tried");
    }

    #[test]
    fn what_did_not_run_is_kept_with_its_reason() {
        let ignored =
            tally("test [] x ... ignored (not root)\ntest result: ok. 0 passed; 0 failed; 1 ignored");
        assert_eq!(ignored.not_run().len(), 1);
        assert_eq!(ignored.complaint(true, true), None);
    }
}
