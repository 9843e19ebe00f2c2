//! `firesteel check`: what a server would need here, looked at one by one, each failure with its fix.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use firesteel::authentication::{BasicFile, look_elsewhere};
use firesteel::config::{AccessMode, Clusters, Config, ConfigError, RunAsMode};
use firesteel::driver::{Spark, check_tickets, possible_run_as};
use firesteel::gpu;
use firesteel::service::Tls;

use crate::security::findings;

/// The oldest Java that a current Spark runs on.
const JAVA: u32 = 17;
/// The oldest Python that the agent runs on.
const PYTHON: (u32, u32) = (3, 8);

/// One thing that was looked at: what was found, or what is wrong and how to mend it.
type Finding = Result<String, String>;

/// Looks at everything and prints a line for each. Exit code 1 when something is wrong.
pub(crate) fn check(config: Result<Config, ConfigError>) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut is_well = true;
    let mut tell = |what: &str, finding: Finding| {
        is_well &= finding.is_ok();
        let (mark, text) = match finding {
            Ok(text) => ("ok   ", text),
            Err(text) => ("WRONG", text),
        };
        // With nobody to read it, the exit code still tells.
        let _ = writeln!(out, "{mark} {what}: {text}");
    };
    match config {
        Err(error) => tell("configuration", Err(error.to_string())),
        Ok(config) => {
            tell("configuration", Ok("valid".to_owned()));
            tell("state directory", state_directory(&config.server.state_dir));
            tell("java", java());
            let spark_home = std::env::var("SPARK_HOME").ok();
            match Spark::find(&config, spark_home.as_deref()) {
                Err(error) => tell("spark", Err(error.to_string())),
                Ok(spark) => {
                    tell("python", python(&spark.python, "spark.python"));
                    tell("spark", submit(&spark));
                }
            }
            for (name, of_cluster) in Clusters::of(Arc::new(config.clone())).named() {
                let what = format!("cluster {name}");
                tell(&what, cluster(name, of_cluster, spark_home.as_deref()));
            }
            tell("gpus", gpus(&config));
            tell("tls", tls(&config));
            tell("access", access(&config));
            tell("run as", run_as(&config));
            tell("hadoop", check_tickets(&config));
            tell("directories of configuration", conf_dirs(&config));
        }
    }
    ExitCode::from(u8::from(!is_well))
}

/// Prints what the configuration leaves open, a line each. Exit code 1 only when there is no valid configuration: what is open may be meant.
pub(crate) fn security(config: Result<Config, ConfigError>) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let (lines, code) = match config {
        Err(error) => (vec![format!("WRONG configuration: {error}")], 1),
        Ok(config) => (findings(&config), 0),
    };
    for line in &lines {
        let _ = writeln!(out, "{line}");
    }
    if lines.is_empty() {
        let _ = writeln!(out, "Nothing is known to be open.");
    }
    ExitCode::from(code)
}

/// The GPUs that sessions may get, and the jar of RAPIDS where one is named.
fn gpus(config: &Config) -> Finding {
    let rapids = &config.gpu.rapids;
    if rapids.starts_with('/') && !Path::new(rapids).is_file() {
        return Err(format!(
            "gpu.rapids: there is no file {rapids}; name the jar of rapids-4-spark"
        ));
    }
    let Some(mut probe) = gpu::probe(&config.gpu)? else {
        return Ok("none can be seen".to_owned());
    };
    let told = probe.look()?.into_iter().map(|seen| match seen.trouble {
        Some(trouble) => format!("{}: {trouble}", seen.device),
        None => seen.device.to_string(),
    });
    Ok(told.collect::<Vec<_>>().join(", "))
}

fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn java() -> Finding {
    let fix = format!("install Java {JAVA} or later, or set JAVA_HOME");
    let home = std::env::var("JAVA_HOME").ok().filter(|home| !home.is_empty());
    let program = home.map_or_else(|| "java".to_owned(), |home| format!("{home}/bin/java"));
    let text = output(&program, &["-version"]).map_err(|error| format!("{error}; {fix}"))?;
    let version = text.split('"').nth(1).unwrap_or("");
    let major = version
        .split(['.', '-'])
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= JAVA => Ok(version.to_owned()),
        Some(_) => Err(format!("{version} is too old for Spark 4; {fix}")),
        None => Err(format!(
            "{program} -version says {:?}; {fix}",
            text.lines().next().unwrap_or("")
        )),
    }
}

/// A cluster that has a name: its Spark and Python, and its directories of configuration.
fn cluster(name: &str, config: &Config, spark_home: Option<&str>) -> Finding {
    let spark = Spark::of_cluster(config, name, spark_home).map_err(|error| error.to_string())?;
    let found = submit(&spark)?;
    let python = python(&spark.python, &format!("clusters.{name}.python"))?;
    let own = config.clusters.get(name);
    let dirs = own.map(|own| {
        [
            ("spark_conf_dir", &own.spark_conf_dir),
            ("hadoop_conf_dir", &own.hadoop_conf_dir),
        ]
    });
    for (key, dir) in dirs.iter().flatten() {
        if !dir.as_os_str().is_empty() && !dir.is_dir() {
            let dir = dir.display();
            return Err(format!("clusters.{name}.{key}: there is no directory {dir}"));
        }
    }
    Ok(format!("{}, Spark {found}, {python}", config.spark.master))
}

fn python(program: &str, key: &str) -> Finding {
    let (major, minor) = PYTHON;
    let fix = format!("install Python {major}.{minor} or later, or set {key}");
    let text = output(program, &["--version"]).map_err(|error| format!("{error}; {fix}"))?;
    let mut numbers = text
        .trim_start_matches("Python ")
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(found_major), Some(found_minor)) if (found_major, found_minor) >= PYTHON => {
            Ok(format!("{text} ({program})"))
        }
        _ => Err(format!("{program} --version says {text:?}; {fix}")),
    }
}

fn submit(spark: &Spark) -> Finding {
    let submit = spark.submit();
    if !submit.is_file() {
        let home = spark.home.display();
        return Err(format!(
            "{home} ({}) has no bin/spark-submit; set SPARK_HOME or spark.home to a Spark",
            spark.chosen_by
        ));
    }
    let version = spark.version.as_deref().unwrap_or("of unknown version");
    Ok(format!(
        "{version} in {} ({})",
        spark.home.display(),
        spark.chosen_by
    ))
}

fn state_directory(path: &Path) -> Finding {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    let is_writable = nix::unistd::access(existing, nix::unistd::AccessFlags::W_OK).is_ok();
    if is_writable {
        Ok(path.display().to_string())
    } else {
        let existing = existing.display();
        Err(format!(
            "{existing} can't be written; choose another with --state-dir or server.state_dir"
        ))
    }
}

fn tls(config: &Config) -> Finding {
    let tls = &config.server.tls;
    if !tls.is_on() {
        return Ok("off".to_owned());
    }
    Tls::check(tls).map_err(|error| error.to_string())?;
    Ok(format!("certificate in {}", tls.cert.display()))
}

fn run_as(config: &Config) -> Finding {
    possible_run_as(&config.run_as)?;
    Ok(match config.run_as.mode {
        RunAsMode::Server => "all drivers run as the server's user".to_owned(),
        RunAsMode::Owner => "each driver runs as its session's user".to_owned(),
    })
}

/// The directories of `conf_dir`.
fn conf_dirs(config: &Config) -> Finding {
    for (name, dirs) in &config.conf_dir {
        for (key, path) in [("spark", &dirs.spark), ("hadoop", &dirs.hadoop)] {
            if !path.as_os_str().is_empty() && !path.is_dir() {
                return Err(format!(
                    "conf_dir.{name}.{key}: there is no directory {}",
                    path.display()
                ));
            }
        }
    }
    Ok(match config.conf_dir.len() {
        0 => "the server's own for all drivers".to_owned(),
        _ => config.conf_dir.keys().cloned().collect::<Vec<_>>().join(", "),
    })
}

fn access(config: &Config) -> Finding {
    let access = &config.access;
    if access.mode.is_open() {
        return Ok("none, so only this host is listened to".to_owned());
    }
    let mut ways = Vec::new();
    for mode in access.mode.iter() {
        ways.push(match mode {
            AccessMode::Basic => match BasicFile::open(&access.basic_file, access.cache.get()) {
                Ok(_) => format!("basic, users in {}", access.basic_file.display()),
                Err(error) => return Err(format!("{error}; write it with firesteel passwd")),
            },
            other => look_elsewhere(*other, access).map_err(|error| format!("{error:#}"))?,
        });
    }
    Ok(ways.join("; "))
}
