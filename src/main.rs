//! The command line: parses, wires, runs.

mod check;
mod generated;
mod security;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use firesteel::config::{Config, Sources};
use firesteel::{api, authentication, client, driver, import, serve, service, telemetry};

/// Wrong usage or a wrong configuration: sysexits' EX_USAGE.
const USAGE: u8 = 64;

/// An HTTP server that speaks the Livy REST API and runs Spark sessions, and a client for it.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Serve(ConfigArgs),
    /// Look at Java, Python, Spark, the state directory and the configuration, and say what is wrong.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Say instead what the configuration leaves open, to whom, and which key closes it.
        #[arg(long)]
        security: bool,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Set a user's password in a file for access.mode = "basic"; the password is read from standard input.
    Passwd {
        /// The file; made when it is not there.
        file: PathBuf,
        /// The user.
        user: String,
    },
    /// Make a firesteel.toml of Livy's configuration: it goes to standard output, what has no counterpart to standard error.
    Import {
        /// livy.conf, livy-client.conf, spark-blacklist.conf, or the directory that has them.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Write it there, readable to its owner alone, instead of to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace that file where it is there already.
        #[arg(long, requires = "output")]
        force: bool,
    },
    #[command(flatten)]
    Client(Box<client::Command>),
    /// Print a shell's completions, such as for ~/.local/share/bash-completion/completions/firesteel.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write manual pages into a directory.
    Man {
        /// The directory; made when it is not there.
        directory: PathBuf,
    },
    /// Run a driver's keeper (internal).
    #[command(hide = true)]
    Keeper {
        /// The driver's directory.
        run_dir: PathBuf,
    },
    /// Become a driver, as a keeper says (internal).
    #[command(hide = true)]
    Step,
}

/// Where the configuration comes from: flags over FIRESTEEL_* over the file over defaults.
#[derive(Args, Clone, Debug)]
struct ConfigArgs {
    /// The configuration file (or FIRESTEEL_CONFIG).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where sessions and drivers are kept.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Set a key, such as session.idle_timeout=2h. May be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is needed")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, firesteel::config::ConfigError> {
        let mut sets = self.set.clone();
        sets.extend(
            self.listen
                .clone()
                .map(|listen| ("server.listen".to_owned(), listen)),
        );
        sets.extend(
            self.state_dir
                .clone()
                .map(|dir| ("server.state_dir".to_owned(), dir)),
        );
        let from_environment = || std::env::var_os("FIRESTEEL_CONFIG").filter(|file| !file.is_empty());
        let file = self
            .config
            .clone()
            .or_else(|| from_environment().map(PathBuf::from));
        // A variable that is no UTF-8 can be none of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Config::load(Sources {
            file,
            environment,
            sets,
        })
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // The last word of a process that can't go on; there may be nobody to read it.
            let _ = writeln!(std::io::stderr(), "firesteel: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        // Before any runtime: the keeper is one small thread.
        Command::Keeper { run_dir } => driver::keeper::run(&run_dir)?,
        Command::Step => driver::step::run()?,
        Command::Openapi => {
            writeln!(std::io::stdout(), "{}", api::document().to_pretty_json()?)?;
        }
        Command::Passwd { file, user } => {
            authentication::set_password(&file, &user, &read_password()?)?;
        }
        Command::Import { paths, output, force } => return import_livy(&paths, output.as_deref(), force),
        Command::Client(command) => return Ok(client::run(*command)),
        Command::Completions { shell } => generated::completions(Cli::command(), shell)?,
        Command::Man { directory } => generated::manual(Cli::command(), &directory)?,
        Command::Check {
            config,
            security: true,
        } => return Ok(check::security(config.load())),
        Command::Check { config, .. } => return Ok(check::check(config.load())),
        Command::Serve(args) => {
            let config = match args.load() {
                Ok(config) => config,
                Err(error) => {
                    let _ = writeln!(std::io::stderr(), "firesteel: {error}");
                    return Ok(ExitCode::from(USAGE));
                }
            };
            // Before any thread is there.
            let handed_in = service::handed_in()?;
            telemetry::init(&config.log)?;
            let _failpoints = fail::FailScenario::setup();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve::serve(config, handed_in))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn import_livy(paths: &[PathBuf], output: Option<&Path>, force: bool) -> Result<ExitCode> {
    let imported = import::livy(paths).and_then(|imported| {
        if let Some(file) = output {
            import::save(&imported.toml, file, force)?;
        }
        Ok(imported)
    });
    let imported = match imported {
        Ok(imported) => imported,
        Err(error) => {
            for line in error.to_string().lines() {
                let _ = writeln!(std::io::stderr(), "firesteel: {line}");
            }
            return Ok(ExitCode::from(USAGE));
        }
    };
    if output.is_none() {
        std::io::stdout().write_all(imported.toml.as_bytes())?;
    }
    std::io::stderr().write_all(imported.report.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ").context("can't read the password");
    }
    let mut password = String::new();
    std::io::stdin()
        .read_to_string(&mut password)
        .context("can't read the password")?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}
