//! The load command.

use crate::{
    Result,
    bench::Bench,
    candidate::Outcome,
    data_dir::DataDir,
    dataset::Dataset,
    fd_limit,
    filled::{Filled, Reads},
    finding::Finding,
    machine::Machine,
    options::{LoadOptions, Row},
    rows,
    saved::{Saved, name},
    store::Peer,
    table,
};
use clap::ValueEnum;
use std::sync::Arc;

/// Measures what the options ask for and prints the table.
///
/// # Errors
/// Where something fails that should not; a backend that is not to be had is a line of the output.
pub fn run(options: LoadOptions, peers: Vec<Box<dyn Peer>>) -> Result<()> {
    let options = options.settled();
    fd_limit::raise()?;
    let dir = DataDir::new(options.dir.as_deref())?;
    dir.remove_on_signal()?;
    table::line(&format!("{}, medians; files in {}", options.describe(), dir.path().display()));
    for complaint in &dir.complaints()? {
        table::line(&format!("WARNING: {complaint}"));
    }
    let bench = Bench::new(options, dir, peers)?;
    let data = Arc::new(Dataset::new(bench.options.entries, usize::try_from(bench.options.size.bytes())?));
    table::heading();
    let mut run = Run { bench: &bench, findings: Vec::new() };
    if FILLED.iter().any(|&row| bench.options.wants(row)) {
        let filled = Filled::all(&bench, &data, Reads::ByPageCache)?;
        for row in FILLED.into_iter().filter(|&row| bench.options.wants(row)) {
            // The bare loop is part of the warm gets.
            if row != Row::Bare || !bench.options.wants(Row::WarmGet) {
                run.row(row, &data, &filled)?;
            }
        }
        for filled in filled {
            filled.remove(&bench)?;
        }
    }
    for &row in Row::value_variants().iter().filter(|row| !FILLED.contains(row)) {
        if bench.options.wants(row) {
            run.row(row, &data, &[])?;
        }
    }
    table::targets(&run.findings);
    table::line(
        "CPU is user and system time of the whole process per operation; RSS is that of the process, with the caches of \
         all variants open. A ratio is the median of the rounds' ratios.",
    );
    Ok(())
}

/// Rows over the same filled caches.
const FILLED: [Row; 4] = [Row::Bare, Row::WarmGet, Row::ColdGet, Row::Scaling];

struct Run<'a> {
    bench: &'a Bench,
    findings: Vec<Finding>,
}

impl Run<'_> {
    fn row(&mut self, row: Row, data: &Arc<Dataset>, filled: &[Filled]) -> Result<()> {
        let outcomes = self.measure(row, data, filled)?;
        for outcome in &outcomes {
            table::row(outcome);
            self.findings.extend(outcome.findings.iter().cloned());
        }
        if let Some(dir) = &self.bench.options.save {
            let setting = self.bench.options.describe();
            Saved { row: name(row), setting, machine: Machine::here(), outcomes }.write(dir)?;
        }
        Ok(())
    }

    fn measure(&self, row: Row, data: &Arc<Dataset>, filled: &[Filled]) -> Result<Vec<Outcome>> {
        let bench = self.bench;
        match row {
            Row::Bare | Row::WarmGet => rows::warm::run(bench, data, filled),
            Row::ColdGet => rows::cold::run(bench, data, filled),
            Row::DirectGet => rows::direct::run(bench, data),
            Row::Scaling => rows::scaling::run(bench, data, filled),
            Row::InsertSynced => rows::insert::run(bench, data),
            Row::GetOrInsert => rows::get_or_insert::run(bench, data),
            Row::Large => rows::large::run(bench),
            Row::Backends => rows::backends::run(bench),
            Row::GetWhileInserting => rows::while_inserting::run(bench, data),
            Row::Reopen => rows::reopen::run(bench),
            Row::Memory => rows::memory::run(bench),
            Row::Idle => rows::idle::run(bench),
            Row::Growth => rows::growth::run(bench),
            Row::HitRatio => rows::hit_ratio::run(bench),
            Row::Proxies => rows::proxies::run(bench),
            Row::ThunderingHerd => rows::herd::run(bench),
        }
    }
}
