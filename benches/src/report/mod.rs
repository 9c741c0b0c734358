//! The report: one Markdown page with its charts beside it, made from what the rows kept.

mod charts;
mod soak;
mod svg;
mod text;

use crate::{Result, saved::Saved};
use clap::Args;
use std::{fs, path::PathBuf};

/// Where the report comes from and goes to.
#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// The folder with what was measured; the charts are written there too.
    #[arg(long, default_value = "docs/performance")]
    pub from: PathBuf,
    /// The page.
    #[arg(long, default_value = "docs/performance.md")]
    pub page: PathBuf,
}

/// Writes the page and its charts.
///
/// # Errors
/// Where nothing was measured, or a file cannot be read or written.
pub fn run(options: &ReportOptions) -> Result<()> {
    let rows = Saved::read_all(&options.from)?;
    if rows.is_empty() {
        return Err(format!("nothing was measured yet: {} has no rows", options.from.display()).into());
    }
    let charts = charts::of(&rows);
    for chart in &charts {
        fs::write(options.from.join(format!("{}.svg", chart.file)), &chart.svg)?;
    }
    soak::draw(&options.from)?;
    let folder = options.from.file_name().unwrap_or_default().to_string_lossy();
    fs::write(&options.page, text::page(&rows, &charts, &folder))?;
    crate::table::line(&format!("written: {}", options.page.display()));
    Ok(())
}
