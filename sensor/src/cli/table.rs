//! Tables for people: a heading, one line a row, columns two spaces apart and no borders.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use console::measure_text_width;

pub use comfy_table::CellAlignment::{Left, Right};

use super::terminal::{BOLD, Style, WIDTH_MAX};

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

/// The table as text that fits a terminal. Where that is too narrow, columns are left out in this order, and a last line
/// names them; then the last column is wrapped. Text for no terminal is as wide as it likes.
pub fn fitting_text(mut table: Table, style: Style, dispensable: &[usize]) -> String {
    if style.width >= WIDTH_MAX {
        return text(&table, style);
    }
    let mut left_out = Vec::new();
    let fits = |table: &Table| lines(table).iter().all(|line| measure_text_width(line) <= style.width);
    for &place in dispensable {
        if fits(&table) {
            break;
        }
        let heading = table.header().and_then(|header| header.cell_iter().nth(place)).map(|cell| cell.content());
        if let Some(column) = table.column_mut(place) {
            column.set_constraint(ColumnConstraint::Hidden);
            left_out.extend(heading);
        }
    }
    let last = table.column_count().saturating_sub(1);
    if !fits(&table) && !dispensable.contains(&last) {
        for (place, column) in table.column_iter_mut().enumerate() {
            if place != last && !column.is_hidden() {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let width = u16::try_from(style.width).unwrap_or(u16::MAX);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let mut text = text(&table, style);
    if !left_out.is_empty() {
        text.push_str(&format!("(not shown, for want of room: {})\n", left_out.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_is_wrapped_if_it_is_wanted() {
        let mut table = with_headings([("BAN", Left), ("FORM", Left), ("COVERS", Left)]);
        table.add_row(["fr", "ban", "tiktok, netflix, king"]);
        let text = fitting_text(table, Style { width: 20, colour: false }, &[1]);
        assert_eq!(text, "BAN  COVERS\nfr   tiktok,\n     netflix, king\n(not shown, for want of room: FORM)\n");
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out_and_named() {
        let table = || {
            let mut table = with_headings([("NAME", Left), ("NUMBER", Right), ("REVIEW", Left)]);
            table.add_row(["tiktok", "12", "2026-11-01"]);
            table
        };
        let fitting = |width| fitting_text(table(), Style { width, colour: false }, &[1, 2]);
        assert_eq!(fitting(26), "NAME    NUMBER  REVIEW\ntiktok      12  2026-11-01\n");
        let named = "NAME    REVIEW\ntiktok  2026-11-01\n(not shown, for want of room: NUMBER)\n";
        assert_eq!((fitting(25), fitting(18)), (named.to_owned(), named.to_owned()));
        assert_eq!(fitting(WIDTH_MAX), fitting(26));
        assert_eq!(fitting(1), "NAME\ntiktok\n(not shown, for want of room: NUMBER, REVIEW)\n");
    }

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
