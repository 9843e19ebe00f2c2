//! Which files a request may name: URIs of jars, pyFiles, files, archives, and the conf keys that hold such.
//!
//! A local path is resolved (links, `..`) before it is compared, component by component, with `files.allow`, and the
//! resolved form is what Spark gets: what was checked is what is opened (CVE-2025-66249).

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::conf::is_invisible;
use super::{Rejection, canonical, matches, shortened};

/// A conf key that holds files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKey {
    /// The key; a `*` stands for any text.
    pub key: &'static str,
    /// Whether it holds a list, apart by commas; else one path.
    pub list: bool,
}

const fn list(key: &'static str) -> FileKey {
    FileKey { key, list: true }
}

const fn path(key: &'static str) -> FileKey {
    FileKey { key, list: false }
}

/// Conf keys that hold files: Livy's list (livy-spec 4.1), then those that Livy doesn't look at.
pub const FILE_KEYS: &[FileKey] = &[
    list("spark.jars"),
    list("spark.files"),
    list("spark.archives"),
    list("spark.submit.pyFiles"),
    list("spark.yarn.archive"),
    list("spark.yarn.dist.archives"),
    list("spark.yarn.dist.files"),
    list("spark.yarn.dist.jars"),
    list("spark.yarn.dist.pyFiles"),
    list("spark.yarn.secondary.jars"),
    list("spark.yarn.user.jar"),
    list("spark.repl.local.jars"),
    list("spark.yarn.jar"),
    list("spark.yarn.jars"),
    list("spark.sql.hive.metastore.jars.path"),
    path("spark.jars.ivySettings"),
    path("spark.metrics.conf"),
    path("spark.kerberos.keytab"),
    path("spark.yarn.keytab"),
    path("spark.yarn.stagingDir"),
    path("spark.driver.resourcesFile"),
    path("spark.scheduler.allocation.file"),
    path("spark.storage.replication.topologyFile"),
    path("spark.kubernetes.*emplateFile"),
    path("spark.kubernetes.file.upload.path"),
    path("spark.kubernetes.kerberos.krb5.path"),
    path("spark.kubernetes.authenticate.*File"),
    path("spark.authenticate.secret.*file"),
    path("spark.ssl.*keyStore"),
    path("spark.ssl.*trustStore"),
    path("spark.ssl.*privateKey"),
    path("spark.ssl.*certChain"),
];

/// What a path keeps as it is in a `file:` URI; all else is percent-encoded.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'^')
    .add(b'`')
    .add(b'|');

/// What the name of a local file must not have: Spark takes it for a pattern, a list, or a part of a URI.
pub(super) const UNFIT_FOR_PATHS: [char; 10] = ['*', '?', '[', ']', '{', '}', ',', '\\', '#', '%'];

/// Directories that hold no files but the kernel's view of the server; `/dev/shm` does hold files.
const NEVER: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Checks and resolves the URIs of one list of a request.
///
/// Empty texts are dropped. A local one (no scheme, `file:`, `local:`, in any case) comes back as `file:///resolved/path`
/// (or `local:`), its `#fragment` kept; URIs of other schemes pass unchanged. Paths are percent-decoded once.
///
/// # Errors
///
/// [`Rejection::NotAbsolute`], [`Rejection::NotAllowed`] with Livy's texts; [`Rejection::Missing`] for a file that isn't
/// there, told only below an allowed directory; [`Rejection::Path`] for commas, blanks, control characters, backslashes
/// anywhere, globs and percent signs in local paths, and fragments that are no plain name (Spark makes a file of that name,
/// and empties it first).
pub fn resolve_files<S: AsRef<str>>(
    uris: impl IntoIterator<Item = S>,
    allow: &[PathBuf],
) -> Result<Vec<String>, Rejection> {
    let allow = real(allow);
    let given = uris.into_iter();
    given
        .filter(|uri| !uri.as_ref().is_empty())
        .map(|uri| resolve(uri.as_ref(), &allow).map(|file| file.uri()))
        .collect()
}

/// Allowed directories as the file system has them; one that isn't there stays as it was written.
pub(super) fn real(allow: &[PathBuf]) -> Vec<PathBuf> {
    allow
        .iter()
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
        .collect()
}

/// The parts of a list in a conf value, which are apart by commas or blanks, as Livy takes them.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|part| !part.is_empty())
}

/// Which of [`FILE_KEYS`] a conf key is, if it is one.
#[must_use]
pub fn file_key(key: &str) -> Option<&'static FileKey> {
    let name = canonical(key);
    FILE_KEYS.iter().find(|file| matches(&canonical(file.key), &name))
}

/// Checks the values of all [`FILE_KEYS`] in a conf and puts the resolved form in their place: lists as
/// [`resolve_files`] gives them, single paths as plain paths, since Spark opens those without reading a scheme. An empty
/// value stays.
///
/// # Errors
///
/// As [`resolve_files`].
pub fn resolve_conf<'a, K: AsRef<str>>(
    conf: impl IntoIterator<Item = (K, &'a mut String)>,
    allow: &[PathBuf],
) -> Result<(), Rejection> {
    let allow = real(allow);
    for (key, value) in conf {
        let Some(file) = file_key(key.as_ref()) else {
            continue;
        };
        if file.list {
            let files: Result<Vec<_>, _> = split_list(value).map(|uri| resolve(uri, &allow)).collect();
            *value = files?.iter().map(File::uri).collect::<Vec<_>>().join(",");
        } else if !value.trim().is_empty() {
            *value = resolve(value.trim(), &allow)?.plain();
        }
    }
    Ok(())
}

/// A checked file.
enum File {
    /// Of a scheme that isn't local: as it came.
    Remote(String),
    /// On this host, or with `local` on each host of the cluster.
    Local {
        local: bool,
        path: String,
        fragment: String,
    },
}

impl File {
    fn uri(&self) -> String {
        match self {
            Self::Remote(uri) => uri.clone(),
            Self::Local {
                local,
                path,
                fragment,
            } => {
                let scheme = if *local { "local" } else { "file" };
                format!("{scheme}://{}{fragment}", utf8_percent_encode(path, ENCODED))
            }
        }
    }

    fn plain(&self) -> String {
        match self {
            Self::Local {
                local: false,
                path,
                fragment,
            } => format!("{path}{fragment}"),
            _ => self.uri(),
        }
    }
}

fn resolve(uri: &str, allow: &[PathBuf]) -> Result<File, Rejection> {
    let invalid = |reason| {
        Err(Rejection::Path {
            path: shortened(uri),
            reason,
        })
    };
    if uri
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() && c != ' ' || is_invisible(c))
    {
        return invalid("it has control or invisible characters");
    }
    if uri.contains([',', '\\']) {
        return invalid("commas and backslashes can't be part of it");
    }
    // Spark puts another key's value, or a variable's, in its place.
    if uri.contains("${") {
        return invalid("references can't be part of it");
    }
    let (location, fragment) = match uri.split_once('#') {
        Some((location, fragment)) => (location, Some(fragment)),
        None => (uri, None),
    };
    if let Some(fragment) = fragment {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@' | '=');
        if fragment.is_empty() || fragment.starts_with('.') || !fragment.chars().all(word) {
            return invalid("what follows # must be a plain name");
        }
    }
    let fragment = fragment
        .map(|fragment| format!("#{fragment}"))
        .unwrap_or_default();
    let (scheme, path) = split_scheme(location);
    match scheme.to_ascii_lowercase().as_str() {
        "" if !path.starts_with('/') => Err(Rejection::NotAbsolute(shortened(path))),
        "" => resolve_local(path, false, allow).map(|path| File::Local {
            local: false,
            path,
            fragment,
        }),
        scheme @ ("file" | "local") => {
            let rest = match path.strip_prefix("//") {
                // `file://host/path`: only this host has files here. `file:////path` has an empty host.
                Some(rest) => rest
                    .strip_prefix("localhost")
                    .filter(|rest| rest.starts_with('/'))
                    .unwrap_or(rest),
                None => path,
            };
            if !rest.starts_with('/') {
                return Err(Rejection::NotAllowed(shortened(path)));
            }
            let local = scheme == "local";
            resolve_local(rest, local, allow).map(|path| File::Local {
                local,
                path,
                fragment,
            })
        }
        // Those that are the caller's have been replaced by what they stand for.
        "upload" => Err(Rejection::NoUpload(shortened(location))),
        // These wrap another URI, which may be a local file's.
        "jar" | "har" => Err(Rejection::NotAllowed(shortened(location))),
        // Has Ivy run, as `spark.jars.packages` does, which the policy looks at.
        "ivy" => invalid("Maven coordinates belong into spark.jars.packages"),
        _ if path.is_empty() || uri.contains(' ') => invalid("it is no URI"),
        _ => Ok(File::Remote(uri.to_owned())),
    }
}

/// The scheme, empty where there is none, and what follows its colon (RFC 3986, 3.1).
fn split_scheme(uri: &str) -> (&str, &str) {
    let letters = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    match uri.split_once(':') {
        Some((scheme, rest)) if letters(scheme) => (scheme, rest),
        _ => ("", uri),
    }
}

/// Resolves a local path that starts with `/`. `anywhere`: the file may be missing here, since it counts on each host of
/// the cluster.
fn resolve_local(encoded: &str, anywhere: bool, allow: &[PathBuf]) -> Result<String, Rejection> {
    let invalid = |reason| Rejection::Path {
        path: shortened(encoded),
        reason,
    };
    let decoded = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| invalid("it is not UTF-8"))?;
    if decoded.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err(invalid("it has control or invisible characters"));
    }
    if decoded.contains(UNFIT_FOR_PATHS) {
        return Err(invalid("a local path must not have any of * ? [ ] { } , \\ # %"));
    }
    let not_allowed = || Rejection::NotAllowed(shortened(&decoded));
    let path = Path::new(decoded.as_ref());
    let (real, exists) = match path.canonicalize() {
        Ok(real) => (real, true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (resolve_missing(path).ok_or_else(not_allowed)?, false)
        }
        Err(_) => return Err(not_allowed()),
    };
    if NEVER.iter().any(|never| real.starts_with(never))
        || !allow.iter().any(|allowed| real.starts_with(allowed))
    {
        return Err(not_allowed());
    }
    if !exists && !anywhere {
        return Err(Rejection::Missing(shortened(&decoded)));
    }
    if exists
        && !real
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
    {
        return Err(not_allowed());
    }
    // The links' targets may have characters that the request may not.
    let real = real.into_os_string().into_string().map_err(|_| not_allowed())?;
    let odd = real.contains(UNFIT_FOR_PATHS) || real.chars().any(char::is_control);
    if odd { Err(not_allowed()) } else { Ok(real) }
}

/// Resolves a path that doesn't exist as far as it does. `None` when it can't be told where it would be: `..` in it, or a
/// link that leads nowhere.
fn resolve_missing(path: &Path) -> Option<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    // Without `.` and doubled slashes.
    let path: PathBuf = path.components().collect();
    for ancestor in path.ancestors().skip(1) {
        let Ok(real) = ancestor.canonicalize() else {
            continue;
        };
        let rest = path.strip_prefix(ancestor).ok()?;
        let first = real.join(rest.components().next()?);
        return if first.symlink_metadata().is_ok() {
            None
        } else {
            Some(real.join(rest))
        };
    }
    None
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
