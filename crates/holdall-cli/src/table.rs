//! Tables for people.

use comfy_table::{ContentArrangement, Table as Grid, presets};

use crate::exit::Failure;
use crate::output::{Output, safe};

/// So many rows are held to find how wide columns are.
const CHUNK: usize = 500;

/// The most characters of a cell.
const MAX_CELL: usize = 200;

/// A table that is printed in chunks, so that it may have any number of rows.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    printed: bool,
}

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
            printed: false,
        }
    }

    pub(crate) fn row(
        &mut self,
        output: &mut Output,
        cells: impl IntoIterator<Item = String>,
    ) -> Result<(), Failure> {
        self.rows
            .push(cells.into_iter().map(|cell| shown(&cell)).collect());
        if self.rows.len() >= CHUNK {
            self.print(output)?;
        }
        Ok(())
    }

    /// Prints what is left.
    pub(crate) fn end(mut self, output: &mut Output) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            self.print(output)?;
        }
        Ok(())
    }

    fn print(&mut self, output: &mut Output) -> Result<(), Failure> {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        if output.terminal() {
            let (_, width) = console::Term::stdout().size();
            grid.set_width(width);
            grid.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if !self.printed {
            grid.set_header(&self.header);
        }
        for row in self.rows.drain(..) {
            grid.add_row(row);
        }
        self.printed = true;
        for line in grid.lines() {
            output.line(line.trim_end())?;
        }
        Ok(())
    }
}

fn shown(cell: &str) -> String {
    let cell = safe(cell);
    if cell.chars().count() > MAX_CELL {
        cell.chars().take(MAX_CELL - 1).collect::<String>() + "…"
    } else {
        cell.into_owned()
    }
}

/// A time to the second.
pub(crate) fn time(time: holdall::Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// The size of a body, or that there is none.
pub(crate) fn size(entry: &holdall::Entry) -> String {
    match entry.digest {
        Some(_) => entry.size.to_string(),
        None => "-".into(),
    }
}
