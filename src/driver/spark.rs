//! Which Spark the drivers of a cluster run on: found once, at start, and logged.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Config;

/// The Python that is asked where its pyspark is.
const PYTHON: &str = "python3";

/// A Spark installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spark {
    /// SPARK_HOME: holds `bin/spark-submit`.
    pub home: PathBuf,
    /// The Python of drivers and of their local workers.
    pub python: String,
    /// Its version, read from the names of its jars; none for a distribution that hides it.
    pub version: Option<String>,
    /// Why this one: what the log says.
    pub chosen_by: String,
}

/// No Spark was found.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "no Spark was found: set SPARK_HOME or spark.home, or install pyspark for the {PYTHON} on PATH ({0})"
)]
pub struct NoSpark(String);

impl Spark {
    /// Looks in SPARK_HOME, then in `spark.home`, then for the pyspark of the python on PATH. A directory that was named is taken
    /// as it is: whether it holds a Spark shows when a driver is started.
    ///
    /// # Errors
    /// There is none in any of the three.
    pub fn find(config: &Config, spark_home: Option<&str>) -> Result<Self, NoSpark> {
        let configured = Some(&config.spark.home).filter(|home| !home.as_os_str().is_empty());
        Self::found(
            config,
            spark_home,
            configured.map(|home| (home, "spark.home".to_owned())),
        )
    }

    /// The Spark of a cluster, of whose drivers `config` holds: of its own `home`, else as [`Spark::find`] finds the default cluster's.
    ///
    /// # Errors
    /// As [`Spark::find`].
    pub fn of_cluster(config: &Config, cluster: &str, spark_home: Option<&str>) -> Result<Self, NoSpark> {
        match config.has_own_home(cluster) {
            false => Self::find(config, spark_home),
            true => {
                let named = (&config.spark.home, format!("clusters.{cluster}.home"));
                Self::found(config, None, Some(named))
            }
        }
    }

    fn found(
        config: &Config,
        spark_home: Option<&str>,
        configured: Option<(&PathBuf, String)>,
    ) -> Result<Self, NoSpark> {
        let (home, chosen_by) = match (spark_home.filter(|home| !home.is_empty()), configured) {
            (Some(home), _) => (PathBuf::from(home), "the environment's SPARK_HOME".to_owned()),
            (None, Some((home, chosen_by))) => (home.clone(), chosen_by),
            (None, None) => (pyspark_on_path()?, "the pyspark of the python on PATH".to_owned()),
        };
        let python = if config.spark.python.is_empty() {
            python_beside(&home).map_or_else(|| PYTHON.to_owned(), |path| path.display().to_string())
        } else {
            config.spark.python.clone()
        };
        let version = version(&home);
        Ok(Self {
            home,
            python,
            version,
            chosen_by,
        })
    }

    /// The program that starts drivers.
    #[must_use]
    pub fn submit(&self) -> PathBuf {
        self.home.join("bin/spark-submit")
    }
}

fn pyspark_on_path() -> Result<PathBuf, NoSpark> {
    const WHERE: &str = "import importlib.util as u; s = u.find_spec('pyspark'); \
                         print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new(PYTHON)
        .args(["-c", WHERE])
        .output()
        .map_err(|error| NoSpark(format!("{PYTHON}: {error}")))?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if found.is_empty() {
        return Err(NoSpark(format!("{PYTHON} has no pyspark")));
    }
    Ok(PathBuf::from(found))
}

/// The interpreter of the virtual environment whose `site-packages` holds this pyspark.
fn python_beside(home: &Path) -> Option<PathBuf> {
    let environment = home.ancestors().find(|path| path.join("pyvenv.cfg").is_file())?;
    Some(environment.join("bin/python")).filter(|python| python.exists())
}

/// The version in the name of `jars/spark-core_2.13-4.1.4.jar`.
fn version(home: &Path) -> Option<String> {
    std::fs::read_dir(home.join("jars")).ok()?.find_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let name = name.strip_prefix("spark-core_")?.strip_suffix(".jar")?;
        Some(name.split_once('-')?.1.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spark_home_comes_before_the_configuration() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("jars")).unwrap();
        std::fs::write(temp.path().join("jars/spark-core_2.13-4.1.4.jar"), "").unwrap();
        let mut config = Config::default();
        config.spark.home = "/configured".into();
        let spark = Spark::find(&config, temp.path().to_str()).unwrap();
        assert_eq!(
            (spark.home.as_path(), spark.version.as_deref()),
            (temp.path(), Some("4.1.4"))
        );
        let spark = Spark::find(&config, Some("")).unwrap();
        assert_eq!((spark.home.to_str(), spark.version), (Some("/configured"), None));
    }

    #[test]
    fn the_python_beside_a_pyspark_is_its_environments() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("lib/python3.11/site-packages/pyspark");
        std::fs::create_dir_all(&home).unwrap();
        assert_eq!(python_beside(&home), None);
        std::fs::write(temp.path().join("pyvenv.cfg"), "").unwrap();
        std::fs::create_dir(temp.path().join("bin")).unwrap();
        std::fs::write(temp.path().join("bin/python"), "").unwrap();
        assert_eq!(python_beside(&home), Some(temp.path().join("bin/python")));
    }
}
