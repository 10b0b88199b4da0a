//! A table of rows with ids, as it is in `e2e/*.toml`: for a page, and for whatever tests its rows.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The rows of such a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table<R> {
    /// How many rows there are; ids count from 1.
    pub rows: usize,
    pub row: Vec<R>,
}

/// Reads a table, which has the rows that it counts.
pub fn read<R: DeserializeOwned>(file: &str, text: &str) -> Result<Table<R>> {
    let table: Table<R> = toml::from_str(text).with_context(|| file.to_owned())?;
    ensure!(table.row.len() == table.rows, "{file} has {} rows, and counts {}", table.row.len(), table.rows);
    Ok(table)
}
