//! An application's Python or R writes straight into the driver's log.
//!
//! Spark starts it as a child whose output a thread of the JVM copies. When the child fails Spark ends the JVM at once, and on a
//! busy host the last lines go with it: the traceback, of all lines. So the child is started by a script that first takes
//! the JVM's own output, which the keeper reads to the end. As Spark does it, standard error goes where standard output goes.
//!
//! Called by `driver` for batches; calls `submit`, `run_dir`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::run_dir::RunDir;
use super::spark::Spark;
use super::submit::{DRIVER_PYTHON, DriverSpec, python};
use crate::config::{Config, DeployMode};

/// The script's name in the driver's part of the run directory.
const SCRIPT: &str = "interpreter";

/// The conf key of the R that Spark starts the application with, and where else it may be, in Spark's order.
const DRIVER_R: &str = "spark.r.driver.command";
const OTHER_R: [&str; 2] = ["spark.r.command", "spark.sparkr.r.command"];

/// Puts the script in the interpreter's place, where one is started on this host. A directory whose programs can't be run leaves it out.
///
/// # Errors
/// The disk says no.
pub(super) fn install(
    run_dir: &RunDir,
    spec: &DriverSpec,
    conf: &mut BTreeMap<String, String>,
    config: &Config,
    spark: &Spark,
) -> io::Result<()> {
    let Some(application) = &spec.application else {
        return Ok(());
    };
    let (key, interpreter) = match interpreter(&application.file, conf, spark) {
        Some(found) if config.spark.deploy_mode != DeployMode::Cluster => found,
        _ => return Ok(()),
    };
    if statvfs(run_dir.path()).is_ok_and(|disk| disk.flags().contains(FsFlags::ST_NOEXEC)) {
        return Ok(());
    }
    run_dir.write_program(SCRIPT, script(&interpreter).as_bytes())?;
    conf.insert(key.to_owned(), run_dir.own().join(SCRIPT).display().to_string());
    Ok(())
}

/// The conf key that names the interpreter of a file, and which one it names, as Spark looks for it.
fn interpreter(file: &str, conf: &BTreeMap<String, String>, spark: &Spark) -> Option<(&'static str, String)> {
    match Path::new(file).extension()?.to_str()? {
        "py" => Some((DRIVER_PYTHON, python(conf, spark).to_owned())),
        extension if extension.eq_ignore_ascii_case("r") => {
            let named = [DRIVER_R].iter().chain(&OTHER_R).find_map(|key| conf.get(*key));
            Some((DRIVER_R, named.map_or("Rscript", String::as_str).to_owned()))
        }
        _ => None,
    }
}

/// Where the parent's output can't be opened, the child keeps what Spark gave it.
fn script(interpreter: &str) -> String {
    let quoted = interpreter.replace('\'', "'\\''");
    format!(
        "#!/bin/sh\nout=/proc/$PPID/fd/1\n[ -p \"$out\" ] && [ -w \"$out\" ] && exec >>\"$out\" 2>&1\nexec '{quoted}' \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, conf: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let conf = conf.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let spark = Spark {
            home: "/spark".into(),
            python: "/usr/bin/python3".into(),
            version: None,
            chosen_by: "a test".to_owned(),
        };
        interpreter(file, &conf.collect(), &spark)
    }

    #[test]
    fn the_interpreter_is_the_one_that_spark_would_take() {
        let python = |text: &str| Some((DRIVER_PYTHON, text.to_owned()));
        let r = |text: &str| Some((DRIVER_R, text.to_owned()));
        assert_eq!(found("/jobs/a.py", &[]), python("/usr/bin/python3"));
        let both = [("spark.pyspark.python", "p"), (DRIVER_PYTHON, "./env/bin/python")];
        assert_eq!(found("upload/a.py", &both), python("./env/bin/python"));
        assert_eq!(found("a.py", &both[..1]), python("p"));
        assert_eq!(found("a.R", &[]), r("Rscript"));
        assert_eq!(found("a.r", &[("spark.r.command", "/r")]), r("/r"));
        assert_eq!(found("a.jar", &both), None);
    }

    #[test]
    fn no_path_is_more_than_a_path() {
        assert!(script("a'; rm -rf /; '").ends_with("exec 'a'\\''; rm -rf /; '\\''' \"$@\"\n"));
    }
}
