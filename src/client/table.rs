//! Tables in columns, no wider than the terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between columns.
const GAP: &str = "  ";
/// A column is not made narrower than this.
const NARROWEST: usize = 6;

/// Lines of a table. `width` is the terminal's; none: each cell is whole.
pub fn table(headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let clean: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| printable(cell)).collect())
        .collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.width()).collect();
    for row in &clean {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    if let Some(width) = width {
        narrow(&mut widths, width);
    }
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    std::iter::once(&headings)
        .chain(&clean)
        .map(|row| line(row, &widths))
        .collect()
}

/// Takes from the widest column until all fit, or none can give more.
fn narrow(widths: &mut [usize], room: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if at > 0 {
            line.push_str(GAP);
        }
        let shown = cut(cell, *width);
        line.push_str(&shown);
        line.push_str(&" ".repeat(width.saturating_sub(shown.width())));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The cell, or its beginning and an ellipsis.
fn cut(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut shown = String::new();
    let mut taken = 1;
    for c in cell.chars() {
        taken += c.width().unwrap_or(0);
        if taken > width {
            break;
        }
        shown.push(c);
    }
    shown.push('…');
    shown
}

/// What moves the cursor or changes colours has no place in a cell: somebody else may have chosen the name.
fn printable(cell: &str) -> String {
    cell.chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter()
            .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
            .collect()
    }

    #[test]
    fn columns_are_aligned() {
        let rows = rows(&[&["batch/3", "etl", "running"], &["session/12", "", "漢字"]]);
        assert_eq!(
            table(&["ID", "NAME", "STATE"], &rows, None),
            [
                "ID          NAME  STATE",
                "batch/3     etl   running",
                "session/12        漢字"
            ]
        );
    }

    #[test]
    fn a_terminal_is_not_left() {
        let rows = rows(&[&["a", &"long ".repeat(20), "漢字".repeat(20).as_str()]]);
        for width in [30, 31, 40, 200] {
            for line in table(&["A", "B", "C"], &rows, Some(width)) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        let narrow = table(&["A", "B", "C"], &rows, Some(5));
        assert_eq!(narrow[1], "a  long …  漢字…");
    }

    #[test]
    fn a_cell_can_not_move_the_cursor() {
        let rows = rows(&[&["\u{1b}[31mred\r\n"]]);
        assert_eq!(table(&["X"], &rows, None)[1], "·[31mred··");
    }
}
