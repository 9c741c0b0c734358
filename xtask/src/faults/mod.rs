//! `faults`: every fault that a cache has to survive, row by row, and what each row tried.
//!
//! **Invariants**: a row passes only where its tests passed, and a row that is scaled only where they said how many cases they
//! tried; those counts are the tests' own. What this machine lacks is named with the reason, and is no pass.

mod built;
mod row;
mod saboteur;
mod saboteurs;
mod table;
mod tally;
mod tree;

pub(crate) use row::Scale;
pub(crate) use saboteurs::run as saboteurs;

use crate::{interrupt, outcome::Ran};
use row::{Row, Tried};
use std::{
    slice::Iter,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};
use table::ROWS;

/// Rows at full counts that run at the same time: some wait for devices, others for processors.
const LANES: usize = 2;

/// What became of the rows.
#[derive(Default)]
struct Verdicts {
    failed: Vec<&'static str>,
    skipped: Vec<&'static str>,
    /// Why no more rows are begun.
    stopped: Option<String>,
}

/// Runs the rows of these names, all without a name, and prints a line for each.
///
/// # Errors
/// The rows that failed; a name that is none.
pub(crate) fn run(names: &[String], scale: Scale, seed: u64) -> Ran {
    let rows = chosen(names)?;
    println!("seed {seed}, {}; the output of each row: target/faults/ROW.log\n", scale.name());
    println!("{:<16} {:<8} {:>8} {:>10}  tried", "row", "result", "seconds", "violations");
    let begun = Instant::now();
    let (queue, verdicts) = (Mutex::new(rows.iter()), Mutex::new(Verdicts::default()));
    let lanes = if scale == Scale::Full { LANES } else { 1 };
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| run_lane(&queue, &verdicts, scale, seed));
        }
    });
    let Verdicts { failed, skipped, stopped } = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(why) = stopped {
        return Err(why);
    }
    println!("{:<16} {:<8} {:>8.1}", "all", "", begun.elapsed().as_secs_f64());
    if !skipped.is_empty() {
        println!("not run, or not all of it: {}", skipped.join(", "));
    }
    if failed.is_empty() {
        Ok(crate::outcome::Outcome::Done(format!("{} rows, seed {seed}", rows.len())))
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// Takes one row after the other until there is none.
fn run_lane(queue: &Mutex<Iter<'_, &'static Row>>, verdicts: &Mutex<Verdicts>, scale: Scale, seed: u64) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(row) = next else { return };
        let began = Instant::now();
        let tried = row.run(scale, seed).and_then(|tried| interrupt::check().map(|()| tried));
        let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        match tried {
            Err(why) => {
                verdicts.stopped.get_or_insert(why);
            }
            Ok(tried) => {
                print(row, &tried, began.elapsed().as_secs_f64());
                match tried.result() {
                    "FAILED" => verdicts.failed.push(row.name),
                    "ok" => {}
                    _ => verdicts.skipped.push(row.name),
                }
            }
        }
        if verdicts.stopped.is_some() {
            return;
        }
    }
}

fn print(row: &Row, tried: &Tried, seconds: f64) {
    let (result, violations) = (tried.result(), tried.violations());
    println!("{:<16} {result:<8} {seconds:>8.1} {violations:>10}  {}", row.name, tried.tally);
    for (name, reason) in tried.tally.not_run() {
        println!("{:<16} not run: {name}: {reason}", "");
    }
    for complaint in &tried.complaints {
        println!("{:<16} {complaint}", "");
    }
}

/// Prints the rows: the fault, and the commands at both scales.
pub(crate) fn list() {
    for row in ROWS {
        println!("{:<16} {}", row.name, row.fault);
        for run in row.runs {
            println!("{:<16}   {}", "", run.command_line(Scale::Full, None));
            if !run.scale.is_empty() {
                println!("{:<16}   {}  (--ci)", "", run.command_line(Scale::Fiftieth, None));
            }
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("no row is called {unknown}; there are {}", known.join(", ")));
    }
    Ok(ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect())
}

/// The names of all rows.
pub(crate) fn rows() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// Whether there is such a row.
fn is_row(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}
