//! Which Python a request may choose where it may not choose any program: one of an archive of its own session, or one below
//! `files.allow`.

use std::path::{Component, Path, PathBuf};

use super::{files, split_list};

/// The conf keys whose value is the Python of a session's executors, or of its own interpreter.
pub const PYTHON_KEYS: [&str; 2] = ["spark.pyspark.python", "spark.pyspark.driver.python"];

/// The environments that a session may choose its Python from.
#[derive(Debug, Default)]
pub struct Environments {
    archives: Vec<String>,
    allow: Vec<PathBuf>,
}

impl Environments {
    /// Those of a session's archives (`env.tar.gz#environment`; a list may be in one text, as in `spark.archives`) and of the
    /// allowed directories.
    pub fn new<'a>(archives: impl IntoIterator<Item = &'a str>, allow: &[PathBuf]) -> Self {
        let named = archives.into_iter().flat_map(split_list);
        Self {
            archives: named
                .filter_map(|uri| uri.rsplit_once('#'))
                .map(|(_, name)| name.to_owned())
                .collect(),
            allow: files::real(allow),
        }
    }

    /// Whether a Python is of one of them. Of an allowed directory's, the file itself may be a link to anywhere, as in every
    /// virtual environment.
    #[must_use]
    pub fn has(&self, python: &str) -> bool {
        let path = Path::new(python);
        if path.is_relative() {
            let mut parts = path.components().filter(|part| *part != Component::CurDir);
            let first = parts.next();
            return self
                .archives
                .iter()
                .any(|name| first == Some(Component::Normal(name.as_ref())))
                && parts.clone().next().is_some()
                && parts.all(|part| matches!(part, Component::Normal(_)));
        }
        let directory = if path.is_dir() { Some(path) } else { path.parent() };
        let real = directory.and_then(|directory| directory.canonicalize().ok());
        real.is_some_and(|real| self.allow.iter().any(|allowed| real.starts_with(allowed)))
    }
}

/// A virtual environment's directory stands for its Python.
#[must_use]
pub fn python_of(python: &str) -> String {
    let path = Path::new(python);
    if path.is_absolute() && path.join("pyvenv.cfg").is_file() {
        return path.join("bin/python").display().to_string();
    }
    python.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sessions_own_and_the_allowed_ones() {
        let home = tempfile::tempdir().expect("a directory");
        let (inside, outside) = (home.path().join("envs"), home.path().join("other"));
        for directory in [inside.join("ml/bin"), outside.join("bin")] {
            std::fs::create_dir_all(directory).expect("a directory");
        }
        std::fs::write(inside.join("ml/pyvenv.cfg"), "").expect("a file");
        std::os::unix::fs::symlink("/usr/bin/env", inside.join("ml/bin/python")).expect("a link");
        std::os::unix::fs::symlink(&outside, inside.join("out")).expect("a link");
        let archives = ["hdfs:///a.tar.gz#environment,/b.zip", "/c.tar.gz#c"];
        let environments = Environments::new(archives, std::slice::from_ref(&inside));
        let text = |path: PathBuf| path.display().to_string();
        for python in [
            "./environment/bin/python".to_owned(),
            "environment/bin/python3".to_owned(),
            "./c/python".to_owned(),
            text(inside.join("ml/bin/python")),
            text(inside.join("ml")),
        ] {
            assert!(environments.has(&python), "{python}");
        }
        for python in [
            "python3".to_owned(),
            "environment".to_owned(),
            "./b/bin/python".to_owned(),
            "./environment/../../bin/python".to_owned(),
            "../environment/bin/python".to_owned(),
            text(outside.join("bin/python")),
            text(inside.join("out/bin/python")),
            text(inside.join("ml/../../other/bin/python")),
            "/usr/bin/python3".to_owned(),
            String::new(),
        ] {
            assert!(!environments.has(&python), "{python}");
        }
        assert_eq!(
            python_of(&text(inside.join("ml"))),
            text(inside.join("ml/bin/python"))
        );
        assert_eq!(python_of("python3"), "python3");
    }
}
