//! `check`: counts every workload, prints the costs beside the kept ones, and fails where one is more.
#![expect(clippy::print_stdout, reason = "printing the table is what the program is for")]

use crate::{
    baseline::{Baseline, Costs, INSTRUCTIONS, Verdict, judge},
    environment::{Environment, version},
    rig::Counts,
    run::{instructions, name, plainly, traced},
    workload::Workload,
};
use benches::{Result, data_dir::DataDir};
use clap::ValueEnum;
use std::path::Path;

/// Counts and compares, or keeps.
///
/// # Errors
/// The costs that are more than the kept ones; a workload that fails.
pub(crate) fn run(path: &Path, bless: bool, workloads: &[Workload]) -> Result<()> {
    // Warm gets are served by reads that ask the page cache alone: without them there is nothing to compare.
    if let Some(complaint) = DataDir::new(None)?.complaints()?.first() {
        println!("SKIPPED: all costs: {complaint}");
        return Ok(());
    }
    let workloads = if workloads.is_empty() { Workload::value_variants() } else { workloads };
    let mut baseline = Baseline::read(path)?;
    let mut tools = Tools::find(&baseline, bless)?;
    println!("{:<15} {:<24} {:>14} {:>14}", "workload", "cost of an operation", "now", "kept");
    let mut more = Vec::new();
    for &workload in workloads {
        let name = name(workload);
        let costs = count(workload, &mut tools)?;
        let kept = baseline.costs.entry(name.clone()).or_default();
        for (what, &cost) in &costs {
            let before = kept.get(what).copied();
            let verdict = judge(&name, what, cost, before);
            if verdict == Verdict::More {
                more.push(format!("{name}: {what}"));
            }
            println!("{name:<15} {what:<24} {cost:>14.3} {:>14}  {}", shown(before), word(verdict));
        }
        if bless {
            // What could not be counted here stays as it was kept.
            kept.extend(costs);
        }
    }
    if bless {
        if let Some(environment) = tools.environment {
            baseline.environment = environment;
        }
        baseline.write(path)?;
        println!("kept in {}", path.display());
    } else if !more.is_empty() {
        let all = more.join(", ");
        return Err(format!(
            "more than before: {all}. If it has to be: cargo xtask bench --check --bless, and say why in the commit"
        )
        .into());
    }
    Ok(())
}

fn shown(kept: Option<f64>) -> String {
    kept.map_or_else(|| "-".to_owned(), |kept| format!("{kept:.3}"))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "",
        Verdict::Less => "less: --bless keeps it",
        Verdict::More => "MORE",
        Verdict::New => "new: --bless keeps it",
    }
}

/// What can be counted here.
struct Tools {
    scratch: tempfile::TempDir,
    strace: bool,
    /// With it instructions are counted.
    environment: Option<Environment>,
}

impl Tools {
    /// Looks, and says aloud what is skipped. A new baseline takes the environment as it is.
    fn find(baseline: &Baseline, bless: bool) -> Result<Self> {
        let mut tools = Self { scratch: tempfile::tempdir()?, strace: true, environment: None };
        if let Err(reason) = usable("strace", || traced(Workload::GetMiss, tools.scratch.path()).map(drop)) {
            println!("SKIPPED: system calls: {reason}");
            tools.strace = false;
        }
        let environment = usable("valgrind", || Ok(())).and_then(|()| {
            let (_, counts) =
                instructions(Workload::GetMiss, tools.scratch.path()).map_err(|e| e.to_string())?;
            let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
            let here = Environment {
                rustc: version(&rustc).unwrap_or_default(),
                valgrind: version("valgrind").unwrap_or_default(),
                processor: counts.processor,
            };
            match here.difference(&baseline.environment).filter(|_| !bless) {
                Some(difference) => Err(difference),
                None => Ok(here),
            }
        });
        match environment {
            Ok(environment) => tools.environment = Some(environment),
            Err(reason) => println!("SKIPPED: instructions: {reason}"),
        }
        Ok(tools)
    }
}

fn usable(program: &str, trial: impl FnOnce() -> Result<()>) -> Result<(), String> {
    version(program).ok_or_else(|| format!("{program} is not installed"))?;
    trial().map_err(|e| e.to_string())
}

fn count(workload: Workload, tools: &mut Tools) -> Result<Costs> {
    let counts = plainly(workload)?;
    let each = 1.0 / counts.operations as f64;
    let mut costs = of_counts(&counts, each);
    if tools.strace {
        costs.insert("syscalls".to_owned(), traced(workload, tools.scratch.path())? * each);
    }
    if tools.environment.is_some() {
        let (count, _) = instructions(workload, tools.scratch.path())?;
        costs.insert(INSTRUCTIONS.to_owned(), count * each);
    }
    // Three places are kept: enough for one call in a thousand operations, and a file that can be read.
    for cost in costs.values_mut() {
        *cost = (*cost * 1000.0).round() / 1000.0;
    }
    Ok(costs)
}

fn of_counts(counts: &Counts, each: f64) -> Costs {
    let mut costs = Costs::new();
    let mut put = |name: &str, cost| costs.insert(name.to_owned(), cost);
    put("allocations", counts.allocations as f64 * each);
    put("allocated_bytes", counts.allocated_bytes as f64 * each);
    put("backend_calls", counts.backend_calls as f64 * each);
    put("syncs", counts.syncs as f64 * each);
    if counts.inserted_bytes > 0 {
        put("bytes_written_per_byte", counts.written_bytes as f64 / counts.inserted_bytes as f64);
    }
    costs
}
