//! Where the server is and who calls: flags over FIRESTEEL_URL, FIRESTEEL_USER and FIRESTEEL_TOKEN over `client.toml` over the defaults.
//!
//! A secret of the file goes to the file's own server and user only.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::failure::Failure;
use super::private;

const DEFAULT_URL: &str = "http://127.0.0.1:8998";
/// For one request but an upload.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For a server that does not answer, once something was submitted.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--url`.
    pub url: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--password-file`.
    pub password_file: Option<PathBuf>,
    /// `--token`.
    pub token: Option<String>,
}

/// `client.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Kept {
    url: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    token: Option<SecretString>,
    #[serde(deserialize_with = "duration")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    retry_for: Option<Duration>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Nobody in particular.
    None,
    /// A user with a password.
    Basic(String, SecretString),
    /// Whoever has the token.
    Bearer(SecretString),
}

/// All that a request needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server, without a slash at its end.
    pub url: Url,
    /// Who calls.
    pub identity: Identity,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// How long a server that is away is waited for, once something was submitted.
    pub retry_for: Duration,
}

/// A user or a token, before any password is looked for.
#[derive(Debug)]
enum Who {
    None,
    User {
        name: String,
        password: Option<SecretString>,
    },
    Token(SecretString),
}

/// What the environment and files hold, on top of the flags.
///
/// # Errors
/// A URL that is none, a file that can't be read or is open to others, a password that nobody gives.
pub fn settle(flags: Flags) -> Result<Settings, Failure> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let environment = Flags {
        url: variable("FIRESTEEL_URL"),
        user: variable("FIRESTEEL_USER"),
        token: variable("FIRESTEEL_TOKEN"),
        password_file: None,
    };
    let kept = match file_path() {
        Some(path) => read_file(&path)?,
        None => Kept::default(),
    };
    let (timeout, retry_for) = (kept.timeout, kept.retry_for);
    let password_file = flags.password_file.clone();
    let (url, who) = layered(flags, environment, kept)?;
    let identity = match who {
        Who::None if password_file.is_some() => {
            return Err(Failure::Usage("--password-file needs a --user".to_owned()));
        }
        Who::None => Identity::None,
        Who::Token(token) => Identity::Bearer(token),
        Who::User { name, password } => {
            let password = match (password_file, password) {
                (Some(path), _) => private::read_password(&path)?,
                (None, Some(password)) => password,
                (None, None) => private::ask_password(&name)?,
            };
            Identity::Basic(name, password)
        }
    };
    Ok(Settings {
        url,
        identity,
        timeout: timeout.unwrap_or(TIMEOUT),
        retry_for: retry_for.unwrap_or(RETRY_FOR),
    })
}

/// The precedence alone. A user said in one place comes before a token in a lower one.
fn layered(flags: Flags, environment: Flags, kept: Kept) -> Result<(Url, Who), Failure> {
    let own = parse_url(kept.url.as_deref().unwrap_or(DEFAULT_URL))?;
    let url = match flags.url.or(environment.url) {
        Some(text) => parse_url(&text)?,
        None => own.clone(),
    };
    let is_own = url == own;
    for layer in [(flags.user, flags.token), (environment.user, environment.token)] {
        match layer {
            (_, Some(token)) => return Ok((url, Who::Token(token.into()))),
            (Some(name), None) => {
                let same = is_own && kept.user.as_ref() == Some(&name);
                let password = kept.password.filter(|_| same);
                return Ok((url, Who::User { name, password }));
            }
            (None, None) => {}
        }
    }
    if !is_own {
        return Ok((url, Who::None));
    }
    let who = match (kept.token, kept.user) {
        (Some(token), _) => Who::Token(token),
        (None, Some(name)) => Who::User {
            name,
            password: kept.password,
        },
        (None, None) => Who::None,
    };
    Ok((url, who))
}

fn parse_url(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("the URL {text:?} {why}, such as {DEFAULT_URL}"));
    let mut url = Url::parse(text).map_err(|_| wrong("is none: give one with http:// or https://"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it may hold a password.
        return Err(Failure::Usage(
            "the URL holds a user or a password: give --user, and --password-file or FIRESTEEL_TOKEN"
                .to_owned(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must end with its path"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn file_path() -> Option<PathBuf> {
    let directory = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some(home.join("firesteel/client.toml"))
}

fn read_file(path: &Path) -> Result<Kept, Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(reason) => return Err(wrong(format!("can't be read: {reason}"))),
    };
    // The parser's message quotes the line, which may hold the secret; its first line says where and what.
    let kept: Kept = toml::from_str(&text).map_err(|reason| wrong(reason.message().to_owned()))?;
    if kept.password.is_some() || kept.token.is_some() {
        private::check(path).map_err(wrong)?;
    }
    Ok(kept)
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map(Some).map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration: a number and its unit, such as \"30s\""
        ))
    })
}

impl PartialEq for Who {
    fn eq(&self, other: &Self) -> bool {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Token(one), Self::Token(two)) => text(one) == text(two),
            (Self::User { name: a, password: p }, Self::User { name: b, password: q }) => {
                a == b && p.as_ref().map(text) == q.as_ref().map(text)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn flags(url: &str, user: &str, token: &str) -> Flags {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Flags {
            url: some(url),
            user: some(user),
            token: some(token),
            password_file: None,
        }
    }

    fn kept(text: &str) -> Kept {
        toml::from_str(text).unwrap()
    }

    fn user(name: &str, password: Option<&str>) -> Who {
        Who::User {
            name: name.to_owned(),
            password: password.map(SecretString::from),
        }
    }

    const FILE: &str = "url = 'https://spark.example/x/'\nuser = 'ann'\npassword = 'secret'\n";

    #[test]
    fn flags_come_before_the_environment_before_the_file() {
        let pick = |flag: &str, variable: &str, file: &str| {
            layered(flags(flag, "", ""), flags(variable, "", ""), kept(file))
                .unwrap()
                .0
                .to_string()
        };
        assert_eq!(pick("", "", ""), "http://127.0.0.1:8998/");
        assert_eq!(pick("", "", FILE), "https://spark.example/x");
        assert_eq!(pick("", "http://b:1", FILE), "http://b:1/");
        assert_eq!(pick("http://a:1/p/", "http://b:1", FILE), "http://a:1/p");
    }

    #[test]
    fn who_calls_is_said_in_one_place() {
        let who = |flag: Flags, variable: Flags, file: &str| layered(flag, variable, kept(file)).unwrap().1;
        let none = || flags("", "", "");
        assert_eq!(who(none(), none(), ""), Who::None);
        assert_eq!(who(none(), none(), FILE), user("ann", Some("secret")));
        assert_eq!(who(none(), flags("", "", "t"), FILE), Who::Token("t".into()));
        assert_eq!(
            who(flags("", "ann", ""), flags("", "", "t"), FILE),
            user("ann", Some("secret"))
        );
        assert_eq!(who(flags("", "bob", ""), none(), FILE), user("bob", None));
    }

    #[test]
    fn the_files_secret_goes_to_its_own_server_only() {
        let elsewhere = || flags("http://elsewhere", "", "");
        let (_, who) = layered(elsewhere(), flags("", "", ""), kept(FILE)).unwrap();
        assert_eq!(who, Who::None);
        let (_, who) = layered(
            flags("http://elsewhere", "ann", ""),
            flags("", "", ""),
            kept(FILE),
        )
        .unwrap();
        assert_eq!(who, user("ann", None));
    }

    #[test]
    fn urls_are_checked() {
        for wrong in [
            "spark.example",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x/?y=1",
        ] {
            assert!(matches!(parse_url(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
        let Err(Failure::Usage(text)) = parse_url("http://u:secret@x") else {
            panic!("it is refused")
        };
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn a_file_with_a_secret_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.toml");
        assert!(read_file(&path).is_ok());
        fs::write(&path, FILE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let Err(Failure::Usage(text)) = read_file(&path) else {
            panic!("it is refused")
        };
        assert!(text.contains("chmod 600"), "{text}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_file(&path).is_ok());
        fs::write(&path, "token = 'sesame\nurll = 1").unwrap();
        let Err(Failure::Usage(text)) = read_file(&path) else {
            panic!("it is refused")
        };
        assert!(!text.contains("sesame"), "{text}");
    }
}
