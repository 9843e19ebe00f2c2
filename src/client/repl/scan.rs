//! Whether code is whole: brackets, strings, and what each language continues on the next line. Pure.

use crate::client::options::Kind;

/// Where a text ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    /// Brackets that are open.
    open: usize,
    /// Inside of a string that may have several lines.
    in_string: bool,
    /// The last character outside of comments, if not a blank.
    last: Option<char>,
}

/// True where the language wants more lines before it can run `code`. A blank line ends what was begun.
pub fn wants_more(kind: Kind, code: &str) -> bool {
    let end = scan(kind, code);
    if end.in_string || (end.open > 0) {
        return true;
    }
    let lines: Vec<&str> = code.lines().collect();
    let is_blank_at_end = code.ends_with('\n') || lines.last().is_some_and(|line| line.trim().is_empty());
    match kind {
        _ if end.last.is_none() => false,
        Kind::Pyspark => {
            if end.last == Some('\\') {
                return !is_blank_at_end;
            }
            let has_block = lines
                .iter()
                .any(|line| line.starts_with([' ', '\t', '@']) || scan(kind, line).last == Some(':'));
            has_block && !is_blank_at_end
        }
        Kind::Sql => end.last != Some(';') && !is_blank_at_end,
        Kind::Spark | Kind::Sparkr => {
            let goes_on = matches!(end.last, Some('=' | ',' | '+' | '|' | '&' | '.'));
            goes_on && !is_blank_at_end
        }
    }
}

/// The code as the server wants it: one SQL statement has no semicolon.
pub fn as_posted(kind: Kind, code: &str) -> &str {
    let code = code.trim_end();
    match kind {
        Kind::Sql => code.trim_end_matches(';'),
        _ => code,
    }
}

fn scan(kind: Kind, code: &str) -> End {
    let comment = match kind {
        Kind::Pyspark | Kind::Sparkr => "#",
        Kind::Sql => "--",
        Kind::Spark => "//",
    };
    let mut end = End::default();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with(comment) {
            rest = rest.find('\n').map_or("", |at| &rest[at..]);
            continue;
        }
        if let Some(quote) = opening(kind, rest) {
            match closing(kind, &rest[quote.len()..], quote) {
                Some(length) => rest = &rest[quote.len() + length..],
                None => {
                    end.in_string = true;
                    return end;
                }
            }
            end.last = Some('"');
            continue;
        }
        match c {
            '(' | '[' | '{' => end.open += 1,
            ')' | ']' | '}' => end.open = end.open.saturating_sub(1),
            _ => {}
        }
        if !c.is_whitespace() {
            end.last = Some(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    end
}

/// The quotes that a string begins with here.
fn opening(kind: Kind, text: &str) -> Option<&'static str> {
    let quotes: &[&'static str] = match kind {
        Kind::Pyspark => &["\"\"\"", "'''", "\"", "'"],
        // A single quote is a character, or a symbol.
        Kind::Spark => &["\"\"\"", "\"", "`"],
        Kind::Sql | Kind::Sparkr => &["\"", "'", "`"],
    };
    quotes.iter().find(|quote| text.starts_with(**quote)).copied()
}

/// The length up to and with the closing quotes; none where the string goes on with the next line. One that can't and has no end ends
/// with its line: that is an error for the language to tell.
fn closing(kind: Kind, text: &str, quote: &str) -> Option<usize> {
    let has_lines = quote.len() == 3 || matches!(kind, Kind::Sql | Kind::Sparkr);
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Some(at + quote.len());
        }
        let mut chars = rest.chars();
        match chars.next() {
            Some('\n') if !has_lines => return Some(at),
            Some('\\') => at += 1 + chars.next().map_or(0, char::len_utf8),
            Some(c) => at += c.len_utf8(),
            None => break,
        }
    }
    (!has_lines).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, whole: &[&str], open: &[&str]) {
        for code in whole {
            assert!(!wants_more(kind, code), "whole: {code:?}");
        }
        for code in open {
            assert!(wants_more(kind, code), "open: {code:?}");
        }
    }

    #[test]
    fn python() {
        check(
            Kind::Pyspark,
            &[
                "1 + 1",
                "",
                "# a (",
                "x = '('",
                "f(1,\n2)",
                "if x:\n  y\n",
                "x = {'a': 1}",
                "'unclosed",
                "s = '''a\nb'''",
                "x = 1  # :",
                "'\\'('",
            ],
            &[
                "f(",
                "if x:",
                "if x:\n  y",
                "'''a",
                "@cache",
                "x = [1,\n",
                "x = 1 + \\",
                "def f():  # c",
            ],
        );
    }

    #[test]
    fn sql() {
        check(
            Kind::Sql,
            &["select 1;", "select 1\n", "-- words", "select ';' ;"],
            &["select 1", "select ';'", "select 'a\n", "select (1;"],
        );
        assert_eq!(as_posted(Kind::Sql, "select 1;\n"), "select 1");
        assert_eq!(as_posted(Kind::Pyspark, "x;\n"), "x;");
    }

    #[test]
    fn scala_and_r() {
        check(
            Kind::Spark,
            &["val x = 1", "'a'", "def f = { 1 }", "x // {"],
            &["val x =", "def f = {", "\"\"\"a", "df."],
        );
        check(
            Kind::Sparkr,
            &["x <- 1", "f <- function() { 1 }", "'#'"],
            &["f <- function() {", "x +", "'a"],
        );
    }
}
