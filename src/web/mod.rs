//! Pages for people, made from templates that escape everything. Called by `api`; calls none.

use askama::Template;

/// A session in the list.
#[derive(Debug)]
pub struct SessionLine {
    /// Its id.
    pub id: i64,
    /// Its JSON.
    pub link: String,
    /// Its log.
    pub log: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its language.
    pub kind: &'static str,
    /// Its state.
    pub state: &'static str,
    /// Spark's application id.
    pub app_id: String,
    /// Spark's UI.
    pub ui: Option<String>,
    /// Statements that have not ended.
    pub waiting: usize,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    lines: Vec<SessionLine>,
    total: usize,
    version: &'static str,
}

/// The list of sessions.
///
/// # Errors
/// The template failed, which it does not for any text.
pub fn sessions_page(lines: Vec<SessionLine>, total: usize) -> Result<String, askama::Error> {
    SessionsPage {
        lines,
        total,
        version: env!("CARGO_PKG_VERSION"),
    }
    .render()
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    action: Option<String>,
    provider: Option<(&'a str, String)>,
    wrong: Option<&'a str>,
}

/// How a browser can log in: by a form for name and password, which is sent to `action`, and at an identity provider, by name and link. With what
/// was wrong with the last try.
///
/// # Errors
/// As of [`sessions_page`].
pub fn login_page(
    action: Option<String>,
    provider: Option<(&str, String)>,
    wrong: Option<&str>,
) -> Result<String, askama::Error> {
    LoginPage {
        action,
        provider,
        wrong,
    }
    .render()
}

#[derive(Template)]
#[template(path = "logged_in.html")]
struct LoggedInPage<'a> {
    to: &'a str,
}

/// A page that goes on to another by itself, which needs no script.
///
/// # Errors
/// As of [`sessions_page`].
pub fn logged_in_page(to: &str) -> Result<String, askama::Error> {
    LoggedInPage { to }.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        let line = SessionLine {
            id: 1,
            link: "/sessions/1".into(),
            log: "/sessions/1/log".into(),
            name: "<script>alert(1)</script>".into(),
            owner: "\"><img src=x onerror=alert(1)>".into(),
            kind: "pyspark",
            state: "idle",
            app_id: String::new(),
            ui: Some("http://127.0.0.1:4040/?a=\"onclick=x".into()),
            waiting: 0,
        };
        let page = sessions_page(vec![line], 1).unwrap();
        assert!(!page.contains("<script>") && !page.contains("<img") && !page.contains("\"onclick"));
        assert!(page.contains("alert(1)"));
    }

    #[test]
    fn what_a_provider_says_is_escaped() {
        let evil = "\"><script>alert(1)</script>";
        let page = login_page(None, Some((evil, evil.to_owned())), Some(evil)).unwrap();
        assert!(!page.contains("<script>") && page.contains("alert(1)"), "{page}");
        assert!(!page.contains("<form"));
        let page = logged_in_page(evil).unwrap();
        assert!(!page.contains("<script>"), "{page}");
    }
}
