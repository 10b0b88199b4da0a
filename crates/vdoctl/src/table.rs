//! Cells in columns, each as wide as its longest cell. Pure.

use crate::look::{Look, Mark};
use crate::page::shown;

/// Where nothing is to be said.
pub const NOTHING: &str = "-";
/// Between two columns.
const GAP: &str = "  ";

/// A text, and what it says by its colour.
pub type Cell = (Mark, String);

/// The names of the columns.
pub fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| (Mark::Head, (*name).to_owned())).collect()
}

/// How wide each column is.
fn widths(rows: &[Vec<Cell>]) -> Vec<usize> {
    let length = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| text.chars().count()).max()
    };
    (0..length).map(|column| width(column).unwrap_or_default()).collect()
}

/// How long the longest row is.
pub fn longest(rows: &[Vec<Cell>]) -> usize {
    let widths = widths(rows);
    widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
}

/// The rows, one below the other. None is ever broken.
pub fn table(rows: &[Vec<Cell>], look: Look) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        for (column, (mark, text)) in row.iter().enumerate() {
            let blanks = widths[column].saturating_sub(text.chars().count());
            out.push_str(&look.paint.mark(*mark, &shown(text)));
            // Nothing stands right of the last one.
            if column + 1 < row.len() {
                out.push_str(&" ".repeat(blanks));
                out.push_str(GAP);
            }
        }
        out.push('\n');
    }
    out
}
