//! Options of the JVMs that a driver starts with, for their start alone: the launcher's, which prints the driver's command and ends, and,
//! where `driver.quick_jvm` says so, the driver's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::spark::Spark;
use super::submit::DriverSpec;
use crate::config::Config;

/// The variable with the launcher's options.
pub(super) const LAUNCHER: &str = "SPARK_LAUNCHER_OPTS";
/// No file of counters in `/tmp`, under a name that everybody can guess.
pub(super) const NO_PERFORMANCE_FILE: &str = "-XX:-UsePerfData";
/// Of a driver that starts soon, needs less memory, and computes slowly for long: no second compiler, no threads of a collector.
const QUICK: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";
/// The conf keys that a driver's JVM takes options from, after ours: of two compilers' levels the last counts, of two collectors none.
const KEYS: [&str; 2] = ["spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions"];

/// Of the launcher's JVM: its one jar is found first, not after some 200 others. A batch has none: what it may start of another Spark
/// would get this one's launcher, which a session's agent sees to.
pub(super) fn of_launcher(spark: &Spark, spec: &DriverSpec) -> Option<String> {
    if spec.application.is_some() {
        return None;
    }
    let jar = launcher(&spark.home.join("jars"))?;
    let jar = jar.to_str()?;
    // A shell splits it at blanks and takes some characters for patterns.
    let is_plain = |character: char| character.is_alphanumeric() || "._-+/".contains(character);
    jar.chars().all(is_plain).then(|| {
        format!("{NO_PERFORMANCE_FILE} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xbootclasspath/a:{jar}")
    })
}

/// Of a session's JVM. Batches are long as a rule.
pub(super) fn of_driver(config: &Config, spec: &DriverSpec, conf: &BTreeMap<String, String>) -> &'static str {
    let names_collector = KEYS
        .iter()
        .filter_map(|key| conf.get(*key))
        .flat_map(|options| options.split_whitespace())
        .any(|option| option.starts_with("-XX:+Use") && option.ends_with("GC"));
    match config.driver.quick_jvm && spec.application.is_none() && !names_collector {
        true => QUICK,
        false => "",
    }
}

fn launcher(jars: &Path) -> Option<PathBuf> {
    std::fs::read_dir(jars).ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        (name.starts_with("spark-launcher_") && name.ends_with(".jar")).then(|| entry.path())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::submit::Application;

    fn batch() -> DriverSpec {
        DriverSpec {
            application: Some(Application::default()),
            ..DriverSpec::default()
        }
    }

    #[test]
    fn the_launcher_is_found_where_a_shell_leaves_its_path_whole() {
        let temp = tempfile::tempdir().unwrap();
        for (home, is_found) in [("spark", true), ("a spark", false), ("spark*", false)] {
            let home = temp.path().join(home);
            std::fs::create_dir_all(home.join("jars")).unwrap();
            let spark = Spark {
                home,
                python: String::new(),
                version: None,
                chosen_by: "a test".to_owned(),
            };
            assert_eq!(of_launcher(&spark, &DriverSpec::default()), None);
            std::fs::write(spark.home.join("jars/spark-launcher_2.13-4.1.4.jar"), "").unwrap();
            assert_eq!(of_launcher(&spark, &DriverSpec::default()).is_some(), is_found);
            assert_eq!(of_launcher(&spark, &batch()), None);
        }
    }

    #[test]
    fn a_collector_of_the_conf_stays_the_only_one() {
        let mut config = Config::default();
        let conf = |options: &str| BTreeMap::from([(KEYS[1].to_owned(), options.to_owned())]);
        assert_eq!(of_driver(&config, &DriverSpec::default(), &conf("")), "");
        config.driver.quick_jvm = true;
        assert_eq!(of_driver(&config, &DriverSpec::default(), &conf("-Da=b")), QUICK);
        assert_eq!(of_driver(&config, &batch(), &conf("")), "");
        let own = conf("-Da=b -XX:+UseParallelGC -Dc=d");
        assert_eq!(of_driver(&config, &DriverSpec::default(), &own), "");
    }
}
