//! Pages for people: the web UI (`assets.rs` has its files), and those of the login, made from templates that escape everything. Called by `api`;
//! calls none.

mod assets;

use askama::Template;

use assets::scripts;
pub use assets::{asset, version};

#[derive(Template)]
#[template(path = "ui.html")]
struct UiPage {
    assets: String,
    scripts: Vec<&'static str>,
    version: &'static str,
    has_login: bool,
    is_admin: bool,
}

/// The one page of the web UI: its scripts ask the API for what it shows. `assets` is the path below which browsers find the
/// files, `has_login` whether there is a page at which they log in, `is_admin` whether the reader is an administrator, who is shown
/// the way to what only those may do.
///
/// # Errors
/// The template failed, which it does not for any text.
pub fn ui_page(assets: String, has_login: bool, is_admin: bool) -> Result<String, askama::Error> {
    UiPage {
        assets,
        scripts: scripts().filter(|name| *name != "app.js").collect(),
        version: env!("CARGO_PKG_VERSION"),
        has_login,
        is_admin,
    }
    .render()
}

/// A page of HTML that a statement has made, with the styles that are meant for it. It is not escaped: who sends it sees to it that nothing in it runs.
#[must_use]
pub fn html_page(html: &str, is_dark: bool) -> String {
    let styles = asset(version(), "frame.css").map_or(&b""[..], |styles| &styles.plain);
    let styles = String::from_utf8_lossy(styles);
    let theme = if is_dark { "dark" } else { "light" };
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Output</title><style>{styles}</style><body class=\"{theme}\">{html}"
    )
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    assets: String,
    action: Option<String>,
    provider: Option<(&'a str, String)>,
    wrong: Option<&'a str>,
}

/// How a browser can log in: by a form for name and password, which is sent to `action`, and at an identity provider, by name and link. With what
/// was wrong with the last try. `assets` as of [`ui_page`].
///
/// # Errors
/// As of [`ui_page`].
pub fn login_page(
    assets: String,
    action: Option<String>,
    provider: Option<(&str, String)>,
    wrong: Option<&str>,
) -> Result<String, askama::Error> {
    LoginPage {
        assets,
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
/// As of [`ui_page`].
pub fn logged_in_page(to: &str) -> Result<String, askama::Error> {
    LoggedInPage { to }.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped() {
        let page = ui_page("/\"><script>alert(1)</script>".into(), true, true).unwrap();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("alert(1)"));
    }

    #[test]
    fn what_a_provider_says_is_escaped() {
        let evil = "\"><script>alert(1)</script>";
        let page = login_page(evil.into(), None, Some((evil, evil.to_owned())), Some(evil)).unwrap();
        assert!(!page.contains("<script>") && page.contains("alert(1)"), "{page}");
        assert!(!page.contains("<form"));
        let page = logged_in_page(evil).unwrap();
        assert!(!page.contains("<script>"), "{page}");
    }
}
