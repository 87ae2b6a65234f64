//! Tables for people: a heading, one line a row, columns two spaces apart and no borders.

use comfy_table::{Table, presets};

pub use comfy_table::CellAlignment::{Left, Right};

use super::terminal::{BOLD, Style};

/// A table with these headings; the numbers of a [`Right`] column stand flush right.
pub fn with_headings<const N: usize>(headings: [(&str, comfy_table::CellAlignment); N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.map(|(heading, _)| heading));
    for (column, (_, alignment)) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        column.set_cell_alignment(alignment);
    }
    table
}

/// The lines without trailing spaces, the heading first.
pub fn lines(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The table as text, its heading in bold.
pub fn text(table: &Table, style: Style) -> String {
    let mut text = String::new();
    for (number, line) in lines(table).iter().enumerate() {
        text.push_str(&if number == 0 { style.paint(BOLD, line) } else { line.clone() });
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let mut table = with_headings([("NAME", Left), ("N", Right)]);
        table.add_row(["抖音", "12"]);
        table.add_row(["é", "3"]);
        assert_eq!(lines(&table), ["NAME   N", "抖音  12", "é      3"]);
        let style = |colour| Style { width: 80, colour };
        assert_eq!(text(&table, style(false)), "NAME   N\n抖音  12\né      3\n");
        assert!(text(&table, style(true)).starts_with("\x1b[1mNAME   N\x1b[0m\n抖音"));
    }
}
