//! Numbers in paths and queries, with Livy's words for those that are none.

use actix_web::HttpRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;

/// Rows of a list that asks for no size.
const DEFAULT_SIZE: i64 = 100;

/// `from`, `size` and `order` of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The first row; a log counts from its end when it is missing or below 0.
    #[param(value_type = Option<i32>)]
    pub from: Option<String>,
    /// Rows at most: 100, or all statements, when it is missing.
    #[param(value_type = Option<i32>)]
    pub size: Option<String>,
    /// `desc` for the newest first (statements only).
    pub order: Option<String>,
}

impl PageQuery {
    /// The first row, if one is named.
    ///
    /// # Errors
    /// It is no 32-bit number.
    pub fn from(&self) -> Result<Option<i64>, ApiError> {
        self.from.as_deref().map(number).transpose()
    }

    /// How many rows.
    ///
    /// # Errors
    /// It is no 32-bit number.
    pub fn size(&self) -> Result<Option<i64>, ApiError> {
        self.size.as_deref().map(number).transpose()
    }

    /// `from` and `size` of a list of sessions; a size below 0 is none at all.
    ///
    /// # Errors
    /// One of them is no 32-bit number.
    pub fn window(&self, most: usize) -> Result<Window, ApiError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let from = self.from()?.unwrap_or(0);
        let size = self.size()?.unwrap_or(DEFAULT_SIZE).clamp(0, most);
        Ok(Window { from, size })
    }

    /// The first row and the size of a list of statements: all of them where none is named.
    ///
    /// # Errors
    /// One of them is no 32-bit number.
    pub fn of_statements(&self, most: usize) -> Result<(i64, i64), ApiError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let from = self.from()?.unwrap_or(0).max(0);
        Ok((from, self.size()?.unwrap_or(most).clamp(0, most)))
    }

    /// True for `order=desc`.
    #[must_use]
    pub fn is_descending(&self) -> bool {
        self.order
            .as_deref()
            .is_some_and(|order| order.trim().eq_ignore_ascii_case("desc"))
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// As asked; below 0 it counts as 0 but is echoed.
    pub from: i64,
    /// Rows at most.
    pub size: i64,
}

impl Window {
    /// The rows of `all` that it shows.
    pub fn of<T>(self, all: Vec<T>) -> Vec<T> {
        let skip = usize::try_from(self.from).unwrap_or(0);
        let take = usize::try_from(self.size).unwrap_or(0);
        all.into_iter().skip(skip).take(take).collect()
    }
}

/// The statement's number in the path. Those below 0 are jobs', which this is not the way to.
///
/// # Errors
/// It is no 32-bit number, or below 0.
pub fn statement_number(request: &HttpRequest) -> Result<i64, ApiError> {
    match number(request.match_info().query("statement"))? {
        id @ 0.. => Ok(id),
        _ => Err(ApiError::StatementNotFound),
    }
}

/// A number as Livy reads one.
///
/// # Errors
/// It is no 32-bit number; the text is Java's.
pub fn number(text: &str) -> Result<i64, ApiError> {
    let parsed: Result<i32, _> = text.parse();
    parsed.map(i64::from).map_err(|_| {
        let text: String = text.chars().take(64).collect();
        ApiError::BadRequest(format!("For input string: \"{text}\""))
    })
}

/// The first line and the lines of a log's page: from the end where `from` is missing or negative; all where `size` is negative.
#[must_use]
pub fn log_page(from: Option<i64>, size: Option<i64>, lines: Vec<String>) -> (usize, Vec<String>) {
    let size = usize::try_from(size.unwrap_or(DEFAULT_SIZE)).unwrap_or(lines.len());
    let first = match from.map(usize::try_from) {
        Some(Ok(from)) => from.min(lines.len()),
        _ => lines.len().saturating_sub(size),
    };
    (first, lines.into_iter().skip(first).take(size).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a query holds, a page is a part of what there is, and no longer than it may be.
        #[test]
        fn any_page_is_a_part(
            from in prop::option::of("-?[0-9]{0,12}|.{0,8}"), size in prop::option::of("-?[0-9]{0,12}|.{0,8}"),
            order in prop::option::of(".{0,8}"), rows in 0_usize..50, most in 1_usize..40,
        ) {
            let query = PageQuery { from, size, order };
            let all = || (0..rows).collect::<Vec<_>>();
            if let Ok(window) = query.window(most) {
                prop_assert!(window.of(all()).len() <= most.min(rows));
            }
            if let Ok((from, size)) = query.of_statements(most) {
                prop_assert!(from >= 0 && (0..=40).contains(&size));
            }
            if let (Ok(from), Ok(size)) = (query.from(), query.size()) {
                let lines: Vec<String> = all().iter().map(ToString::to_string).collect();
                let (first, page) = log_page(from, size, lines.clone());
                prop_assert!(first <= rows);
                prop_assert!(lines[first..].starts_with(&page));
            }
            let _ = query.is_descending();
        }

        /// A number is one of 32 bits; what is none is told with a part of it.
        #[test]
        fn any_number_is_read(text in "[+-]?[0-9]{0,14}|.{0,100}") {
            match number(&text) {
                Ok(number) => prop_assert!(i32::try_from(number).is_ok()),
                Err(reason) => prop_assert!(reason.to_string().chars().count() <= 64 + 20),
            }
        }
    }

    #[test]
    fn a_log_counts_from_its_end() {
        let lines = || (0..5).map(|line| line.to_string()).collect::<Vec<_>>();
        assert_eq!(
            log_page(None, Some(2), lines()),
            (3, vec!["3".into(), "4".into()])
        );
        assert_eq!(log_page(Some(-1), Some(1), lines()), (4, vec!["4".into()]));
        assert_eq!(
            log_page(Some(1), Some(2), lines()),
            (1, vec!["1".into(), "2".into()])
        );
        assert_eq!(log_page(Some(9), None, lines()), (5, vec![]));
        assert_eq!(log_page(None, Some(-1), lines()).1.len(), 5);
    }

    #[test]
    fn what_is_no_number_is_said_in_javas_words() {
        assert_eq!(number("-1").unwrap(), -1);
        assert_eq!(
            number("99999999999").unwrap_err().to_string(),
            "For input string: \"99999999999\""
        );
    }
}
