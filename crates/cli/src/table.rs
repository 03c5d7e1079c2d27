//! Tables for people: columns aligned by the width that a terminal gives to a text, and cells that cannot move its cursor.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

/// What stands between two columns.
const GAP: &str = "  ";

/// The narrowest that a column is cut to before columns are left out, in terminal cells.
const CUT_WIDTH_MIN: usize = 12;

/// A table to print.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Heading {
    text: String,
    right: bool,
}

impl Table {
    /// A table whose columns are all of text.
    pub(crate) fn of_texts(headings: &[&str]) -> Table {
        Table::new(headings.iter().map(|heading| (*heading, false)))
    }

    /// A table with these headings; `true` for a column that is aligned to the right, as numbers are.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = (&'a str, bool)>) -> Table {
        let headings = headings.into_iter().map(|(text, right)| Heading { text: shown(text).into_owned(), right });
        Table { headings: headings.collect(), rows: Vec::new() }
    }

    /// Adds a row of plain words of ours.
    pub(crate) fn words<'a>(&mut self, cells: impl IntoIterator<Item = Cow<'a, str>>) {
        self.rows.push(cells.into_iter().map(|cell| shown_word(&cell)).collect());
    }

    /// Adds a row of data: null is shown as nothing and the empty text as `""`.
    pub(crate) fn values<'a>(&mut self, cells: impl IntoIterator<Item = Option<&'a str>>) {
        self.rows.push(
            cells.into_iter().map(|cell| cell.map_or_else(String::new, |cell| shown(cell).into_owned())).collect(),
        );
    }

    /// The lines, none wider than `width_max` if it is given, unless the first column alone is.
    pub(crate) fn lines(&self, width_max: Option<usize>) -> Vec<String> {
        let natural = self.natural_widths();
        let (widths, left_out) = fit(&natural, width_max);
        let headings: Vec<&str> = self.headings.iter().map(|heading| heading.text.as_str()).collect();
        let mut lines = vec![self.line(&headings, &widths)];
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        lines.push(rule.join(GAP));
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            lines.push(self.line(&cells, &widths));
        }
        if left_out > 0 {
            let names = headings[headings.len() - left_out..].join(", ");
            let columns = if left_out == 1 { "column" } else { "columns" };
            lines.push(
                cut(&format!("… and {left_out} more {columns}: {names}"), width_max.unwrap_or(usize::MAX)).into(),
            );
        }
        lines
    }

    fn natural_widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| heading.text.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, width) in widths.iter().enumerate() {
            let cell = cut(cells.get(index).copied().unwrap_or_default(), *width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if index > 0 {
                line.push_str(GAP);
            }
            if self.headings.get(index).is_some_and(|heading| heading.right) {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The widths of the columns that fit, and how many columns on the right do not.
fn fit(natural: &[usize], width_max: Option<usize>) -> (Vec<usize>, usize) {
    let Some(width_max) = width_max else { return (natural.to_vec(), 0) };
    let gaps = |columns: usize| GAP.len() * columns.saturating_sub(1);
    let mut columns = natural.len();
    let least = |columns: usize| natural[..columns].iter().map(|width| (*width).min(CUT_WIDTH_MIN)).sum::<usize>();
    while columns > 1 && least(columns) + gaps(columns) > width_max {
        columns -= 1;
    }
    let room = width_max.saturating_sub(gaps(columns));
    // The widest columns are cut, all to the same width; the narrow ones stay whole.
    let mut sorted = natural[..columns].to_vec();
    sorted.sort_unstable();
    let mut cap = usize::MAX;
    let mut narrow = 0;
    for (index, width) in sorted.iter().enumerate() {
        let wide = columns - index;
        if narrow + width * wide > room {
            cap = (room.saturating_sub(narrow) / wide).max(1);
            break;
        }
        narrow += width;
    }
    (natural[..columns].iter().map(|width| (*width).min(cap)).collect(), natural.len() - columns)
}

/// The text, or as much of its start as fits the width with a sign that there is more.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut end = 0;
    for (start, char) in text.char_indices() {
        let next = start + char.len_utf8();
        if text[..next].width() + 1 > width {
            break;
        }
        end = next;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// A text of the data as it is shown. A text that could be mistaken for another, or that would move the cursor or turn
/// the direction of writing, is shown in quotes with escapes.
fn shown(text: &str) -> Cow<'_, str> {
    let edge = |c: char| c.is_whitespace() || c == '"';
    let plain = !text.is_empty()
        && !text.starts_with(edge)
        && !text.ends_with(char::is_whitespace)
        && !text.chars().any(is_unsafe);
    if plain {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c => push_escaped(&mut quoted, c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// A word of ours, which may hold a text of somebody else's, without what would move the cursor.
pub(crate) fn shown_word(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut escaped, c);
    }
    escaped
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

/// Control characters, line separators, marks that turn the direction of writing, and spaces that nobody sees.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200B}' | '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cells: &[&[Option<&str>]]) -> Table {
        let mut table = Table::new([("name", false), ("count", true), ("note", false)]);
        for row in cells {
            table.values(row.iter().copied());
        }
        table
    }

    #[test]
    fn null_is_shown_as_nothing_and_the_empty_text_in_quotes() {
        let table = table(&[&[None, Some("1"), Some("")]]);
        assert_eq!(table.lines(None)[2], "          1  \"\"");
    }

    #[test]
    fn a_cell_cannot_move_the_cursor_or_be_taken_for_another() {
        for (text, as_shown) in [
            ("a\u{1b}[2Jb", "\"a\\u{1b}[2Jb\""),
            ("two\nlines", "\"two\\nlines\""),
            ("\u{202e}live", "\"\\u{202e}live\""),
            ("\"\"", "\"\\\"\\\"\""),
            (" a", "\" a\""),
            ("a ", "\"a \""),
            ("C:\\new", "C:\\new"),
            ("שלום", "שלום"),
            ("NA", "NA"),
        ] {
            assert_eq!(shown(text), as_shown);
        }
    }

    #[test]
    fn columns_are_aligned_by_the_width_on_the_screen() {
        let table = table(&[&[Some("日本"), Some("10"), Some("x")], &[Some("abcdef"), Some("9"), Some("é")]]);
        assert_eq!(table.lines(None)[2..], ["日本       10  x", "abcdef      9  é"]);
    }

    #[test]
    fn a_wide_table_is_cut_to_the_terminal() {
        let long = "x".repeat(100);
        let table = table(&[&[Some(&long), Some("10"), Some(&long)]]);
        for width in [20, 40, 80] {
            let lines = table.lines(Some(width));
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
        }
        assert!(table.lines(Some(20)).last().unwrap().starts_with("… and 1 more column"));
        assert_eq!(table.lines(Some(60)).len(), 3);
    }
}
