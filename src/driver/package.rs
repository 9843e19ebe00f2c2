//! The agent with what it must know, as one archive: a cluster manager takes it to where the driver runs, and shows it to nobody but the
//! application's user. YARN has it from the submit; in Kubernetes the driver's pod mounts a Secret with it.
//!
//! Called by `files` and `remote`; calls `agent`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use uuid::Uuid;

use super::agent;
use super::link::Secret;
use super::run_dir::RunDir;
use crate::cluster::tag_of;

/// The archive's file, in the driver's part of its directory.
const FILE: &str = "agent.tar";
/// The directory of the driver's working directory in which it is unpacked.
pub(super) const UNPACKED: &str = "__firesteel__";
/// The program that unpacks it where no cluster manager does.
pub(super) const PROGRAM: &str = "remote.py";
/// The directory of the driver's container with the Secret's files.
pub(super) const MOUNTED: &str = "/var/firesteel";
/// The archive among them (remote.py).
const PACKED: &str = "agent.tar.gz";
/// The conf key of archives that YARN unpacks.
const ARCHIVES: &str = "spark.yarn.dist.archives";
/// The conf key of the driver's JVM options.
const OPTIONS: &str = "spark.driver.extraJavaOptions";

/// Writes the archive, which only its owner can read.
///
/// # Errors
/// It exists already, or the disk says no.
pub(super) fn write(run_dir: &RunDir, settings: &str, secret: &Secret) -> io::Result<()> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, name, content)
    };
    for (name, content) in agent::files() {
        add(&name, &content)?;
    }
    add("agent.json", settings.as_bytes())?;
    add("secret", secret.expose().as_bytes())?;
    run_dir.write_own(FILE, &archive.into_inner()?)
}

/// Has the application take the archive along. It is tried once: another attempt would be another driver, without what this one had.
pub(super) fn conf(conf: &mut BTreeMap<String, String>, run_dir: &RunDir) {
    let archive = format!("{}#{UNPACKED}", file_url(&run_dir.own().join(FILE)));
    let others = conf.get(ARCHIVES).filter(|others| !others.is_empty());
    let archives = others.map_or(archive.clone(), |others| format!("{archive},{others}"));
    conf.insert(ARCHIVES.to_owned(), archives);
    conf.insert("spark.yarn.maxAppAttempts".to_owned(), "1".to_owned());
    deep_stack(conf);
}

/// Has the driver's pod mount the Secret that is called as the driver is tagged; executors don't.
pub(super) fn kubernetes_conf(conf: &mut BTreeMap<String, String>, driver: Uuid) {
    let secret = format!("spark.kubernetes.driver.secrets.{}", tag_of(driver));
    conf.insert(secret, MOUNTED.to_owned());
    deep_stack(conf);
}

/// What that Secret holds: the program, and the archive that it unpacks. Reads the archive.
///
/// # Errors
/// The disk says no.
pub(super) fn secret_files(run_dir: &RunDir) -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    let archive = std::fs::read(run_dir.own().join(FILE))?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&archive)?;
    let program = agent::files().find(|(name, _)| name == PROGRAM);
    let program = program.map_or_else(Vec::new, |(_, content)| content.into_owned());
    Ok(vec![(PROGRAM, program), (PACKED, packed.finish()?)])
}

/// The Scala compiler is recursive: with 1 MiB a sum of 300 numbers is too deep for it.
fn deep_stack(conf: &mut BTreeMap<String, String>) {
    let options = conf.entry(OPTIONS.to_owned()).or_default();
    *options = format!("-Xss4m {options}").trim_end().to_owned();
}

/// A path as Hadoop reads it, whatever is in it.
fn file_url(path: &Path) -> String {
    url::Url::from_file_path(path).map_or_else(|()| path.display().to_string(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::link::LinkKey;

    #[test]
    fn it_has_the_agent_and_its_secret_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;

        let temp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(temp.path().join("a b#c")).unwrap();
        let secret = LinkKey::generate().unwrap().secret(uuid::Uuid::nil());
        write(&run_dir, "{}", &secret).unwrap();
        let path = run_dir.own().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut archive = tar::Archive::new(std::fs::File::open(&path).unwrap());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        for name in ["remote.py", "firesteel_agent/link.py", "agent.json", "secret"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        let mut made = BTreeMap::from([(ARCHIVES.to_owned(), "hdfs:///x.zip#x".to_owned())]);
        conf(&mut made, &run_dir);
        let archives = &made[ARCHIVES];
        assert!(
            archives.ends_with("/a%20b%23c/own/agent.tar#__firesteel__,hdfs:///x.zip#x"),
            "{archives}"
        );
        assert_eq!(made[OPTIONS], "-Xss4m");
    }

    #[test]
    fn a_secret_has_room_for_it() {
        let temp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(temp.path().join("x")).unwrap();
        let driver = Uuid::nil();
        let secret = LinkKey::generate().unwrap().secret(driver);
        write(&run_dir, "{}", &secret).unwrap();
        let files = secret_files(&run_dir).unwrap();
        let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
        assert!(bytes < 512 << 10, "{bytes}");
        assert!(files.iter().all(|(_, content)| !content.is_empty()));
        let mut made = BTreeMap::from([(OPTIONS.to_owned(), "-Da=b".to_owned())]);
        kubernetes_conf(&mut made, driver);
        assert_eq!(
            made[&format!("spark.kubernetes.driver.secrets.firesteel-{driver}")],
            MOUNTED
        );
        assert_eq!(made[OPTIONS], "-Xss4m -Da=b");
    }
}
