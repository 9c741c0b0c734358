//! All checks in order, and a table of what ran, what was skipped and why, and how long it took.

use crate::{
    adapters, bench, deny, docker, faults, interrupt, lowest,
    outcome::{Outcome, Ran},
    plan,
    process::{self, command},
    targets, tidy,
};
use clap::Args;
use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    process::Command,
    time::{Duration, Instant},
};

/// Which steps, and how much of them.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// Run the randomised tests longer, for about so many minutes each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    budget_minutes: Option<u64>,
    /// Begin no step once so many minutes are gone: what is left out is named
    #[arg(long, value_name = "N")]
    begin_within: Option<u64>,
    /// Faults, counted costs and the packages outside the workspace as well: what lands has passed these too
    #[arg(long)]
    all: bool,
    /// Leave the suite in a container out, and say so
    #[arg(long)]
    no_docker: bool,
    /// Run one step alone, by its name in the table
    #[arg(long, value_name = "STEP")]
    only: Option<String>,
}

impl Options {
    fn wants(&self, step: &Step) -> bool {
        self.only.as_deref().map_or(self.all || !step.more, |only| only == step.name)
    }

    /// Why a step is left out that would begin after so long.
    fn leaves_out(&self, step: &Step, gone: Duration) -> Option<String> {
        let late = self.begin_within.filter(|&minutes| gone > Duration::from_secs(60 * minutes));
        let why = match late {
            Some(minutes) => format!("{minutes} minutes are gone"),
            None if self.no_docker && step.name == DOCKER => "left out by --no-docker".to_owned(),
            None => return None,
        };
        Some(format!("{why}, by hand: {}", step.command))
    }
}

/// One check: its name, the command that runs it alone, and what stands in for the command here.
struct Step {
    name: &'static str,
    command: &'static str,
    run: fn(&'static str) -> Ran,
    /// For `--all` alone.
    more: bool,
}

impl Step {
    const fn new(name: &'static str, command: &'static str, run: fn(&'static str) -> Ran) -> Self {
        Self { name, command, run, more: false }
    }

    const fn more(self) -> Self {
        Self { more: true, ..self }
    }
}

/// The step that `--no-docker` leaves out.
const DOCKER: &str = "Linux in Docker";

/// The README's test command comes first: it is what a newcomer types. CONTRIBUTING.md lists these commands.
const STEPS: &[Step] = &[
    Step::new("tests", "cargo test", plainly),
    Step::new("format", "cargo fmt --all --check", plainly),
    Step::new("clippy", "cargo clippy --workspace --all-targets -- -D warnings", plainly),
    Step::new("docs", "cargo doc --no-deps --document-private-items", plainly),
    Step::new("without io_uring", "cargo check -p disk-cache --no-default-features --all-targets", plainly),
    Step::new("tidy", "cargo xtask tidy", |_| tidy::run().map(Outcome::Done)),
    Step::new("test plan", "cargo xtask test-plan", |_| plan::run().map(Outcome::Done)),
    Step::new("lowest Rust", "cargo xtask lowest-rust", |_| lowest::run()),
    Step::new("dependencies", "cargo deny check bans licenses sources", |_| deny::dependencies()),
    Step::new("advisories", "cargo deny check advisories", |_| deny::advisories()),
    Step::new("faults", "cargo xtask faults --ci", |_| faults::run(&[], faults::Scale::Fiftieth, 1)).more(),
    Step::new("benches", "cargo test -p benches --lib", plainly).more(),
    Step::new("costs", "cargo xtask bench --check", |_| bench::check(false)).more(),
    Step::new("adapters", "cargo xtask adapters", |_| adapters::run(None)).more(),
    Step::new("other platforms", "cargo xtask check-targets", |_| targets::run_all()),
    Step::new(DOCKER, "cargo xtask test-linux --io-uring both", linux),
];

/// The runs that `--budget-minutes` adds.
const LONGER_NAME: &str = "longer";

/// The randomised tests, what scales them, and how much of it takes about a minute on two cores.
const LONGER: &[(&str, &[(&str, u64)])] = &[
    ("cargo test -p cache-store --test model", &[("DISK_CACHE_CASES", 1_000)]),
    ("cargo test -p cache-store --test crash_states", &[("DISK_CACHE_STATES", 40_000)]),
    ("cargo test -p cache-store --test io_failures", &[("DISK_CACHE_FAULT_WORKLOADS", 2)]),
    ("cargo test -p disk-cache --test kill9", &[("DISK_CACHE_KILLS", 250)]),
];

/// The commands of all steps.
pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.command)
}

/// Runs every step and prints the table.
///
/// # Errors
/// The names of the steps that failed.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let (mut table, begun) = (Vec::new(), Instant::now());
    for step in STEPS.iter().filter(|step| options.wants(step)) {
        let left_out = options.leaves_out(step, begun.elapsed());
        let run = || left_out.map_or_else(|| (step.run)(step.command), |why| Ok(Outcome::Skipped(why)));
        table.push(timed(step.name, step.command, run));
        interrupt::check()?;
    }
    let minutes =
        options.budget_minutes.filter(|_| options.only.as_deref().is_none_or(|only| only == LONGER_NAME));
    for (test, scale) in LONGER.iter().filter(|_| minutes.is_some()) {
        table.push(timed(LONGER_NAME, test, || {
            told(&mut longer(test, scale, minutes.unwrap_or(1))).map(Outcome::from)
        }));
        interrupt::check()?;
    }
    if table.is_empty() {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).chain([LONGER_NAME]).collect();
        return Err(format!(
            "no such step; there are: {}; and {LONGER_NAME} needs --budget-minutes",
            names.join(", ")
        ));
    }
    print(&table);
    let failed: Vec<_> = table.iter().filter(|row| row.ran.is_err()).map(|row| row.name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

struct Row {
    name: &'static str,
    ran: Ran,
    took: Duration,
}

fn timed(name: &'static str, command: &str, run: impl FnOnce() -> Ran) -> Row {
    println!("\n== {name}: {command}");
    let begun = Instant::now();
    let ran = run();
    let took = begun.elapsed();
    match &ran {
        Ok(Outcome::Done(_)) => {}
        Ok(Outcome::Skipped(reason)) => println!("SKIPPED: {reason}"),
        Err(text) => println!("FAILED: {}", first_line(text)),
    }
    println!("-- {name}: {:.1} s", took.as_secs_f64());
    Row { name, ran, took }
}

fn print(table: &[Row]) {
    println!("\n{:<18} {:<8} {:>8}  why or what", "step", "result", "seconds");
    for Row { name, ran, took } in table {
        let (result, text) = match ran {
            Ok(Outcome::Done(text)) => ("ok", text),
            Ok(Outcome::Skipped(reason)) => ("SKIPPED", reason),
            Err(text) => ("FAILED", text),
        };
        println!("{name:<18} {result:<8} {:>8.1}  {}", took.as_secs_f64(), first_line(text));
    }
    let all: Duration = table.iter().map(|row| row.took).sum();
    println!("{:<18} {:<8} {:>8.1}", "all", "", all.as_secs_f64());
    // Steps after it have written much since then, and some keepers of logs keep only the end.
    for Row { name, ran, .. } in table {
        if let Err(text) = ran {
            println!("\n== {name}: {text}");
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// So many lines of a failed command are shown again below the table.
const LAST_LINES: usize = 80;

/// The command as it stands.
fn plainly(line: &'static str) -> Ran {
    let mut words = line.split(' ');
    told(&mut command(words.next().unwrap_or_default(), words)).map(Outcome::from)
}

/// Runs it and hands its lines on as they come.
///
/// # Errors
/// How it ended, and below that its last lines.
fn told(command: &mut Command) -> Result<(), String> {
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut last = VecDeque::with_capacity(LAST_LINES + 1);
    let status = process::lines(command, |_, line| {
        println!("{line}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    })?;
    process::ended(command, status).map_err(|how| {
        last.push_front(how);
        Vec::from(last).join("\n")
    })
}

/// A randomised test, for about so many minutes.
fn longer(test: &'static str, scale: &[(&str, u64)], minutes: u64) -> Command {
    let mut words = test.split(' ');
    let mut longer = command(words.next().unwrap_or_default(), words);
    longer.envs(scale.iter().map(|(name, number)| (name, (number * minutes).to_string())));
    longer
}

fn linux(_: &'static str) -> Ran {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("by hand outside Linux: cargo xtask test-linux".to_owned()));
    }
    docker::step::run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, fs};

    #[test]
    fn a_step_that_would_begin_too_late_is_left_out_by_name_and_so_is_the_container_where_asked() {
        let options = |begin_within, no_docker| Options { begin_within, no_docker, ..Options::default() };
        let [first, .., last] = STEPS else { panic!("there are steps") };
        let after = |minutes: u64| Duration::from_secs(60 * minutes + 1);
        assert_eq!(options(Some(40), false).leaves_out(last, after(39)), None);
        let why = options(Some(40), false).leaves_out(last, after(40)).expect("it is too late");
        assert_eq!(why, "40 minutes are gone, by hand: cargo xtask test-linux --io-uring both");
        assert_eq!(options(None, true).leaves_out(first, after(90)), None);
        assert!(options(None, true).leaves_out(last, after(0)).is_some());
    }

    #[test]
    fn the_budget_scales_what_the_randomised_tests_do() {
        for (test, scale) in LONGER {
            let longer = longer(test, scale, 3);
            let set: Vec<_> = longer.get_envs().collect();
            assert_eq!(set.len(), scale.len());
            for (name, number) in *scale {
                let tripled = (number * 3).to_string();
                assert!(set.contains(&(OsStr::new(name), Some(OsStr::new(&tripled)))), "{test}: {set:?}");
            }
        }
    }

    #[test]
    fn the_variables_that_the_budget_scales_are_read_by_those_tests() {
        for (test, scale) in LONGER {
            let words: Vec<_> = test.split(' ').collect();
            let ["cargo", "test", "-p", package, "--test", name] = words[..] else { panic!("{test}") };
            let file = process::repo().join(format!("crates/{package}/tests/{name}.rs"));
            let text = fs::read_to_string(&file).expect("the test is there");
            for (variable, _) in *scale {
                assert!(
                    text.contains(&format!("\"{variable}\"")),
                    "{} does not read {variable}",
                    file.display()
                );
            }
        }
    }

    #[test]
    fn what_lands_has_passed_every_step_and_one_alone_is_run_whatever_else_is_asked() {
        let count = |options: &Options| STEPS.iter().filter(|step| options.wants(step)).count();
        let all = Options { all: true, ..Options::default() };
        assert_eq!(count(&all), STEPS.len());
        assert_eq!(count(&Options::default()), STEPS.iter().filter(|step| !step.more).count());
        assert!(count(&Options::default()) < STEPS.len());
        assert_eq!(count(&Options { only: Some("faults".to_owned()), ..Options::default() }), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_failed_command_tells_its_last_lines_below_how_it_ended() {
        let failed = told(&mut command("sh", ["-c", "seq 200; exit 3"])).expect_err("it failed");
        let lines: Vec<_> = failed.lines().collect();
        assert!(lines[0].starts_with("sh -c") && lines[0].contains("failed (exit status: 3)"), "{failed}");
        assert_eq!((lines.len(), lines[1], lines[LAST_LINES]), (1 + LAST_LINES, "121", "200"));
        assert_eq!(told(&mut command("true", [""])), Ok(()));
    }

    #[test]
    fn a_step_that_is_not_there_is_refused_by_the_names_of_those_that_are() {
        let refused =
            run(&Options { only: Some("nothing".to_owned()), ..Options::default() }).expect_err("refused");
        assert!(STEPS.iter().all(|step| refused.contains(step.name)), "{refused}");
    }
}
