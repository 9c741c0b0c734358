//! A row as it is kept for the report: `DIR/ROW.json`.

use crate::{Result, candidate::Outcome, machine::Machine, options::Row};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// What one run of one row came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// The row's name.
    pub row: String,
    /// How it was measured.
    pub setting: String,
    /// Where, with what, when.
    pub machine: Machine,
    /// What came out.
    pub outcomes: Vec<Outcome>,
}

/// A row's name on the command line.
pub fn name(row: Row) -> String {
    row.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl Saved {
    /// Writes it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        Ok(fs::write(dir.join(format!("{}.json", self.row)), serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Reads all rows that are kept in a folder, in the rows' order.
    ///
    /// # Errors
    /// Where one does not read.
    pub fn read_all(dir: &Path) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for &row in Row::value_variants() {
            let path = dir.join(format!("{}.json", name(row)));
            if path.exists() {
                let text = fs::read_to_string(&path)?;
                all.push(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?);
            }
        }
        Ok(all)
    }
}
