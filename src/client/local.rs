//! What a command line names by file: files here, or URIs that the server can read.

use std::path::{Path, PathBuf};

use super::failure::Failure;

/// A file of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A URI: passed on as it is.
    Remote(String),
    /// A file here, and the name that `#` gives it.
    Local(PathBuf, Option<String>),
}

impl Source {
    /// What a text names.
    ///
    /// # Errors
    /// It is no URI and no file here.
    pub fn read(text: &str) -> Result<Self, Failure> {
        if has_scheme(text) {
            return Ok(Self::Remote(text.to_owned()));
        }
        let whole = Path::new(text);
        let (path, alias) = match text.rsplit_once('#') {
            Some((path, alias)) if !whole.exists() && !alias.is_empty() => (Path::new(path), Some(alias)),
            _ => (whole, None),
        };
        match path.metadata() {
            Ok(found) if found.is_file() => Ok(Self::Local(path.to_owned(), alias.map(str::to_owned))),
            Ok(found) if found.is_dir() => Err(Failure::Usage(format!(
                "{} is a directory: give its files, or a zip of it",
                path.display()
            ))),
            Ok(_) => Err(Failure::Usage(format!("{} is no plain file", path.display()))),
            Err(reason) => Err(Failure::Usage(format!(
                "{}: {reason}; a file of the server's host is named file:/PATH",
                path.display()
            ))),
        }
    }
}

/// True for `scheme:/...`, as Spark names what is not here.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(":/") else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_passed_on() {
        for uri in [
            "hdfs:///jobs/a.py",
            "file:/a.py#b",
            "s3a://x/y",
            "upload://1/x",
            "local:/a",
        ] {
            assert_eq!(Source::read(uri), Ok(Source::Remote(uri.to_owned())));
        }
        for path in ["a.py", "./a:/b", "a b:/c", "/x/y:/z", "1:/x"] {
            assert!(!has_scheme(path), "{path}");
        }
    }

    #[test]
    fn files_are_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("env.zip"), "").unwrap();
        std::fs::write(path("a#b"), "").unwrap();
        let read = |name: &str| Source::read(&path(name).to_string_lossy());
        assert_eq!(read("env.zip"), Ok(Source::Local(path("env.zip"), None)));
        assert_eq!(
            read("env.zip#env"),
            Ok(Source::Local(path("env.zip"), Some("env".to_owned())))
        );
        assert_eq!(read("a#b"), Ok(Source::Local(path("a#b"), None)));
        for wrong in ["", "none", "none#x"] {
            assert!(matches!(read(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
