//! The load command.

use crate::{
    Result,
    bench::Bench,
    data_dir::DataDir,
    dataset::Dataset,
    fd_limit,
    filled::Filled,
    options::{LoadOptions, Row},
    rows, table,
};
use std::sync::Arc;

/// Measures what the options ask for and prints the table.
///
/// # Errors
/// Where something fails that should not; a backend that is not to be had is a line of the output.
pub fn run(options: LoadOptions) -> Result<()> {
    let options = options.settled();
    fd_limit::raise()?;
    let dir = DataDir::new(options.dir.as_deref())?;
    dir.remove_on_signal()?;
    table::line(&format!(
        "{} entries of {}, {} tasks on {} workers, {} rounds of {} s, medians; files in {}",
        options.entries,
        options.size,
        options.tasks,
        crate::client::WORKERS,
        options.rounds,
        options.time().as_secs_f64(),
        dir.path().display(),
    ));
    let complaints = dir.complaints()?;
    for complaint in &complaints {
        table::line(&format!("WARNING: {complaint}"));
    }
    let bench = Bench::new(options, dir)?;
    let options = &bench.options;
    let data = Arc::new(Dataset::new(options.entries, usize::try_from(options.size.bytes())?));
    table::heading();
    let print = |outcomes: Vec<_>| outcomes.iter().for_each(table::row);
    if [Row::Bare, Row::WarmGet, Row::ColdGet].iter().any(|&r| options.wants(r)) {
        let filled = Filled::all(&bench, &data)?;
        if options.wants(Row::Bare) || options.wants(Row::WarmGet) {
            print(rows::warm::run(&bench, &data, &filled)?);
        }
        if options.wants(Row::ColdGet) {
            print(rows::cold::run(&bench, &data, &filled)?);
        }
        for filled in filled {
            bench.close(&filled.cache)?;
            std::fs::remove_dir_all(filled.dir)?;
        }
    }
    if options.wants(Row::InsertSynced) {
        print(rows::insert::run(&bench, &data)?);
    }
    if options.wants(Row::GetOrInsert) {
        print(rows::get_or_insert::run(&bench, &data)?);
    }
    if options.wants(Row::Large) {
        print(rows::large::run(&bench)?);
    }
    table::line(
        "CPU is user and system time of the whole process per operation; RSS is that of the process, with the caches of \
         all variants open.",
    );
    Ok(())
}
