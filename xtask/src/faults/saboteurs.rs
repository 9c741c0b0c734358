//! Who watches the tests: planted faults, one at a time, in a copy of the tree. One that no test notices is a failure, and so is
//! one that no longer applies.
//!
//! **Invariants**: a test counts as noticing only where it passes without the fault, and fails by a failed test with it; a
//! fault that does not build, or hangs, is not caught.

use super::{
    saboteur::{Narrow, Saboteur, read_all},
    tally::Tally,
    tree::Tree,
};
use crate::{
    interrupt,
    outcome::{Outcome, Ran},
    process::{limited, output, repo},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// No narrow test takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(300);

/// Plants the saboteurs of these names, all without a name, and prints which row caught which.
///
/// # Errors
/// Those that survived, with the reason.
pub(crate) fn run(names: &[String]) -> Ran {
    let all = read_all(&repo().join("xtask/saboteurs"))?;
    let fits = |saboteur: &Saboteur, name: &String| saboteur.name.contains(name.as_str());
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|s| fits(s, name))) {
        return Err(format!("no saboteur has {unknown} in its name"));
    }
    let chosen: Vec<_> =
        all.iter().filter(|s| names.is_empty() || names.iter().any(|name| fits(s, name))).collect();
    let trial = Trial::begin(&chosen)?;
    println!("{:<40} {:>8}  {:<14} caught by", "planted", "seconds", "row");
    let (mut survivors, mut caught) = (Vec::new(), 0);
    for saboteur in chosen {
        let begun = Instant::now();
        let noticed = trial.plant(saboteur);
        interrupt::check()?;
        let (row, by) = match &noticed {
            Ok(by) => (saboteur.row.as_str(), by.clone()),
            Err(why) => ("SURVIVED", format!("{why} ({})", saboteur.fault)),
        };
        println!("{:<40} {:>8.1}  {row:<14} {by}", saboteur.name, begun.elapsed().as_secs_f64());
        match noticed {
            Ok(_) => caught += 1,
            Err(_) => survivors.push(saboteur.name.as_str()),
        }
    }
    trial.tree.restore()?;
    if survivors.is_empty() {
        Ok(Outcome::Done(format!("{caught} saboteurs, all caught")))
    } else {
        Err(format!("{caught} caught, survived: {}", survivors.join(", ")))
    }
}

/// The copy, and the tests that do not pass in it without a fault, with the reason.
struct Trial {
    tree: Tree,
    bad: BTreeMap<Narrow, String>,
}

impl Trial {
    /// Makes the copy and runs every test once without a fault.
    fn begin(saboteurs: &[&Saboteur]) -> Result<Self, String> {
        let mut trial = Self { tree: Tree::of_checkout()?, bad: BTreeMap::new() };
        let tests: BTreeSet<&Narrow> = saboteurs.iter().flat_map(|saboteur| &saboteur.tests).collect();
        println!("{} tests without a fault", tests.len());
        for test in tests {
            if let Err(why) = trial.passes(test) {
                trial.bad.insert(test.clone(), why);
            }
            interrupt::check()?;
        }
        Ok(trial)
    }

    /// The test that noticed.
    fn plant(&self, saboteur: &Saboteur) -> Result<String, String> {
        if let Some(why) = saboteur.tests.iter().find_map(|test| self.bad.get(test)) {
            return Err(why.clone());
        }
        self.tree.restore()?;
        self.tree.apply(&saboteur.patch).map_err(|why| format!("it does not apply: {why}"))?;
        for test in &saboteur.tests {
            output(&mut self.tree.cargo(test, false)).map_err(|why| format!("it does not build: {why}"))?;
            let tally = self.look(test, &saboteur.name)?;
            if let Some(first) = tally.failures().first() {
                let more = tally.failures().len() - 1;
                let others = if more > 0 { format!(" and {more} more") } else { String::new() };
                return Ok(format!("{}: {first}{others}", test.test));
            }
        }
        Err("no test noticed".to_owned())
    }

    /// The control: without a fault the test passes.
    fn passes(&self, test: &Narrow) -> Result<(), String> {
        output(&mut self.tree.cargo(test, false))
            .map_err(|why| format!("{} does not build: {why}", test.test))?;
        let tally = self.look(test, "control")?;
        match tally.failures().first() {
            Some(first) => Err(format!("{first} fails without any fault")),
            None if tally.passed() == 0 => Err(format!("{} runs no test here", test.words(true).join(" "))),
            None => Ok(()),
        }
    }

    /// Runs a test to its end; what it prints goes to `target/saboteurs/NAME.log`.
    fn look(&self, test: &Narrow, name: &str) -> Result<Tally, String> {
        let path: PathBuf = repo().join(format!("target/saboteurs/{name}.log"));
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let log = File::create(&path).map_err(failed)?;
        let mut cargo: Command = self.tree.cargo(test, true);
        cargo.envs(test.variables.iter().map(|(name, value)| (name, value)));
        cargo.stderr(log.try_clone().map_err(failed)?).stdout(log);
        limited(&mut cargo, PATIENCE)?;
        let text = fs::read(&path).map_err(failed)?;
        let mut tally = Tally::default();
        String::from_utf8_lossy(&text).lines().for_each(|line| tally.take(line));
        Ok(tally)
    }
}
