//! What a driver is started with, written into its directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::launch_ticket::LaunchTicket;
use super::link::Secret;
use super::run_as::Identity;
use super::run_dir::{self, Limits, RunDir};
use super::spark::Spark;
use super::staging::Staging;
use super::submit::{self, DriverSpec, spark_defaults};
use super::user_ticket::UserTicket;
use super::{Drivers, collect, direct_output, in_cluster, package, run_as};
use crate::cluster::Cluster;
use crate::config::{Config, RunAsMode};

impl Drivers {
    /// Writes what the driver is started with; lines for its session's log.
    pub(super) fn write_files(
        &self,
        id: Uuid,
        run_dir: &RunDir,
        spec: &DriverSpec,
        secret: &Secret,
    ) -> io::Result<Vec<String>> {
        let site = self.site(spec)?;
        let config = &site.config;
        let identity = match spec.makes_class_archive {
            true => None,
            false => run_as::identity(&config.run_as, spec.user.as_deref()).map_err(io::Error::other)?,
        };
        let user_ticket = identity
            .as_ref()
            .and_then(|identity| UserTicket::of(config, identity, run_dir));
        let launch_ticket = self
            .ticket
            .as_ref()
            .filter(|_| identity.is_none() && !spec.makes_class_archive);
        let ticket = match launch_ticket.map(LaunchTicket::cache) {
            Some(cache) => Some(cache.map_err(io::Error::other)?),
            None => user_ticket.as_ref().map(UserTicket::cache),
        };
        let other = spec.conf_dirs.as_ref().and_then(|dirs| dirs.spark.as_deref());
        let other = other.map(|dir| defaults_of(&site.spark, dir)).transpose()?;
        let defaults = other.as_ref().unwrap_or(&site.defaults);
        let mut conf = submit::conf(config, spec, defaults, &run_dir.work());
        in_cluster::conf(
            &mut conf,
            config,
            id,
            site.cluster.as_ref().map(Cluster::group_tag),
        );
        let python = submit::python(&conf, &site.spark).to_owned();
        let mut notices = Vec::new();
        if spec.application.is_none() {
            notices = collect::bound(&mut conf, config.driver.max_result_percent.into());
            let settings = self.agent_settings(id, run_dir, spec, &python).to_string();
            if self.is_remote(spec) {
                run_dir.note_remote()?;
                package::write(run_dir, &settings, secret)?;
                match config.spark.is_kubernetes() {
                    true => package::kubernetes_conf(&mut conf, id),
                    false => package::conf(&mut conf, run_dir),
                }
            } else {
                submit::own_python(&mut conf, config, &site.spark);
                run_dir.write_own("secret", secret.expose().as_bytes())?;
                run_dir.write_own("agent.json", settings.as_bytes())?;
            }
        }
        direct_output::install(run_dir, spec, &mut conf, config, &site.spark)?;
        if let Some(resources) = spec.gpus.as_ref().and_then(|mask| mask.resources.as_ref()) {
            run_dir.write_own("resources.json", resources.as_bytes())?;
            let path = run_dir.own().join("resources.json").display().to_string();
            conf.insert("spark.driver.resourcesFile".to_owned(), path);
        }
        if site.staging.is_some() {
            Staging::note(run_dir, spec, &conf, submit::hadoop_user(config, spec))?;
        }
        run_dir.write_own("spark.properties", submit::properties(&conf).as_bytes())?;
        if let Some(identity) = &identity {
            self.hand_over(spec, &conf, identity)?;
            run_dir.give(identity.uid, identity.gid)?;
        }
        // Another directory on the class path is none that it was made with.
        let archive = site.class_archive.as_ref().filter(|_| spec.conf_dirs.is_none());
        let class_archive = archive.and_then(|archive| {
            if spec.makes_class_archive {
                Some(archive.to_make())
            } else {
                archive.to_use()
            }
        });
        let launch = run_dir::Launch {
            argv: submit::argv(
                &site.spark,
                spec,
                &run_dir.own().join("spark.properties"),
                &self.agent(run_dir, spec, config),
                submit::hadoop_user(config, spec),
            ),
            environment: submit::environment(
                config,
                &site.spark,
                spec,
                id,
                &submit::Jvm {
                    work: &run_dir.work(),
                    conf: &conf,
                    class_archive: class_archive.as_ref(),
                    identity: identity.as_ref(),
                    ticket,
                },
                |name| std::env::var(name).ok(),
            ),
            directory: run_dir.work(),
            log_max_bytes: config.log.max_bytes.len() as u64,
            kill_grace_ms: u64::try_from(config.driver.kill_grace.get().as_millis()).unwrap_or(u64::MAX),
            nice: match spec.ahead.is_some() || spec.makes_class_archive {
                true => config.driver.background_nice,
                false => 0,
            },
            oom_score_adj: config.driver.oom_score_adj,
            umask: self.umask_of(spec, identity.as_ref()),
            identity,
            ticket: user_ticket.clone(),
            limits: limits(config),
            cgroups: self.host.cgroups.clone(),
        };
        run_dir.write("launch.json", &serde_json::to_vec(&launch)?)?;
        Ok(notices)
    }

    /// The agent's program, and its argument.
    fn agent(&self, run_dir: &RunDir, spec: &DriverSpec, config: &Config) -> [PathBuf; 2] {
        match self.is_remote(spec) {
            true if config.spark.is_kubernetes() => {
                let program = format!("local://{}/{}", package::MOUNTED, package::PROGRAM);
                [program.into(), package::MOUNTED.into()]
            }
            true => [self.agent.join(package::PROGRAM), package::UNPACKED.into()],
            false => [self.agent.join("main.py"), run_dir.own()],
        }
    }

    /// Whether a driver runs in a cluster and calls from there.
    pub(super) fn is_remote(&self, spec: &DriverSpec) -> bool {
        let runs_there = self.runs_in_cluster(spec).unwrap_or_default();
        spec.application.is_none() && !spec.makes_class_archive && runs_there
    }

    /// What a session's agent reads.
    fn agent_settings(&self, id: Uuid, run_dir: &RunDir, spec: &DriverSpec, python: &str) -> Value {
        let config = &self.config;
        let mut settings = json!({
            "driver": id,
            "python": python,
            "kind": spec.kind,
            "output_max_bytes": config.output.max_bytes.len(),
            "rich": config.output.rich,
            "live_interval_ms": config.output.live_interval.get().as_millis(),
            "sql_max_rows": spec.sql_max_rows,
            "interrupt_again_ms": config.statement.interrupt_again.get().as_millis(),
            "cancel_grace_ms": config.statement.cancel_grace.get().as_millis(),
            "max_frame": config.link.max_frame.len(),
            "orphan_grace_ms": config.driver.orphan_grace.get().as_millis(),
            "keep_bytes": config.link.keep_bytes.len(),
            "outbox_bytes": config.link.outbox_bytes.len(),
            "result_kept": config.result.kept,
            "result_max_rows": config.result.max_rows,
            "result_max_bytes": config.result.max_bytes.bytes(),
            "warm": spec.ahead,
            "warm_up": config.driver.warm_up && !spec.makes_class_archive,
        });
        let (call, secret_file) = match self.listener.address().filter(|_| self.is_remote(spec)) {
            Some(address) => {
                let tls = json!({"addresses": address.tried, "certificate": address.certificate});
                (("tls", tls), json!("secret"))
            }
            None => (
                ("socket", json!(self.listener.path())),
                json!(run_dir.own().join("secret")),
            ),
        };
        settings[call.0] = call.1;
        settings["secret_file"] = secret_file;
        settings
    }

    /// Lets the driver's user read the uploads that its request names.
    fn hand_over(
        &self,
        spec: &DriverSpec,
        conf: &BTreeMap<String, String>,
        identity: &Identity,
    ) -> io::Result<()> {
        let application = spec
            .application
            .iter()
            .map(|application| application.file.as_str());
        let in_conf = conf.values().flat_map(|value| value.split([',', ' ']));
        for named in application.chain(in_conf) {
            for uploads in &self.host.uploads {
                run_as::hand_over(uploads, named, identity.uid, identity.gid)?;
            }
        }
        Ok(())
    }

    /// What a driver's files are closed to. The one that makes the class-data archive makes it, and the agent's compiled files, for all.
    fn umask_of(&self, spec: &DriverSpec, identity: Option<&Identity>) -> u32 {
        match (identity, self.config.run_as.mode) {
            (Some(_), _) => 0o077,
            (None, RunAsMode::Owner) if spec.makes_class_archive => 0o022,
            _ => self.umask,
        }
    }
}

/// The `spark-defaults.conf` of a directory of `conf_dir`, which is to be there.
pub(super) fn defaults_of(spark: &Spark, dir: &Path) -> io::Result<BTreeMap<String, String>> {
    let read = match dir.is_dir() {
        true => spark_defaults(spark, dir.to_str()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    };
    read.map_err(|error| io::Error::other(format!("{} (conf_dir): {error}", dir.display())))
}

/// What each driver may use.
fn limits(config: &Config) -> Limits {
    let driver = &config.driver;
    Limits {
        memory_max: driver.memory_max.bytes(),
        cpu_percent: driver.cpu_percent,
        pids_max: driver.pids_max,
        disk_max: driver.disk_max.bytes(),
        interval_ms: u64::try_from(driver.watch_interval.get().as_millis()).unwrap_or(u64::MAX),
    }
}
