//! The class-data archive of the drivers' JVM: classes that were parsed once, mapped into memory by every driver from then on (JEP 350).
//!
//! Owns: which archive belongs to this Java and this Spark, whether it is whole, and how a JVM is told to use or to make it. A JVM looks
//! itself whether an archive fits its class path, and goes on without one that does not; that its bytes are whole it does not look at, so a digest
//! lies beside it.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

use super::run_as::let_read;
use super::spark::Spark;

/// The first Java whose archives of an application's classes are made at its exit and take no list.
const JAVA: u32 = 17;
/// The first Java with an ahead-of-time cache that one JVM makes at its exit (JEP 514): it has linked classes and lambdas as well, and needs no archive
/// of the JDK's own below it.
const JAVA_WITH_CACHE: u32 = 25;
/// The smallest file that can be one: the JVM leaves an empty one behind where it fails.
const LEAST_BYTES: u64 = 1 << 20;
/// Changes when archives are made in another way.
const FORMAT: &str = "2";

/// How a driver is started with an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Options of the JVM.
    pub options: String,
    /// In the place of Spark's own directory of configuration.
    pub conf_dir: Option<PathBuf>,
}

/// The archive of one Java and one Spark.
#[derive(Debug)]
pub(super) struct ClassArchive {
    directory: PathBuf,
    name: String,
    /// Whether drivers get an empty directory for Spark's conf, which has nothing in it that they need.
    hides_conf: bool,
    /// Whether it is Java's ahead-of-time cache.
    is_cache: bool,
    is_ready: AtomicBool,
}

impl ClassArchive {
    /// The one for this Spark and the Java that `environment` leads drivers to. Reads names and times of files only.
    ///
    /// # Errors
    /// There can be none: a sentence that says why.
    pub(super) fn of(
        directory: &Path,
        spark: &Spark,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        for name in ["HADOOP_CONF_DIR", "YARN_CONF_DIR"] {
            if variable(name).is_some() {
                return Err(format!(
                    "{name} puts a directory on the class path, and Java archives none that has files"
                ));
            }
        }
        let conf = variable("SPARK_CONF_DIR").map_or_else(|| spark.home.join("conf"), PathBuf::from);
        let hides_conf = hides(&conf)?;
        let java = java(variable).ok_or("there is no Java")?;
        let release = fs::read_to_string(java.join("release"))
            .map_err(|error| format!("{}: {error}", java.join("release").display()))?;
        let major = major(&release).filter(|major| *major >= JAVA);
        let Some(major) = major else {
            return Err(format!("Java {JAVA} or later makes them"));
        };
        let mut digest = Sha256::new();
        for part in [
            FORMAT,
            &release,
            &java.to_string_lossy(),
            &spark.home.to_string_lossy(),
            // It is on the class path.
            &match hides_conf {
                true => "".into(),
                false => conf.to_string_lossy(),
            },
        ] {
            digest.update(part);
            digest.update([0]);
        }
        let jars = spark.home.join("jars");
        let mut jars: Vec<(PathBuf, u64, i64)> = fs::read_dir(&jars)
            .map_err(|error| format!("{}: {error}", jars.display()))?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let data = entry.metadata().ok()?;
                Some((entry.path(), data.len(), data.mtime()))
            })
            .collect();
        jars.sort_unstable();
        for jar in jars {
            digest.update(format!("{jar:?}"));
        }
        Ok(Self {
            directory: directory.to_owned(),
            name: hex(&digest.finalize()[..12]),
            hides_conf,
            is_cache: major >= JAVA_WITH_CACHE,
            is_ready: AtomicBool::new(false),
        })
    }

    /// Whether it is the same file.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.path() == other.path()
    }

    /// What a driver is started with so that its JVM maps it. None while it is not there.
    pub(super) fn to_use(&self) -> Option<Start> {
        self.is_ready.load(Ordering::Relaxed).then(|| {
            // Its own word on an archive that does not fit would be the first line of every log.
            let path = self.path();
            self.start(match self.is_cache {
                true => format!(
                    "\"-XX:AOTCache={}\" -XX:AOTMode=auto \"-Xlog:aot*=off\"",
                    path.display()
                ),
                false => format!(
                    "\"-XX:SharedArchiveFile={}\" -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off",
                    path.display()
                ),
            })
        })
    }

    /// What the driver is started with whose JVM makes it, at its exit.
    pub(super) fn to_make(&self) -> Start {
        let option = match self.is_cache {
            true => "AOTCacheOutput",
            false => "ArchiveClassesAtExit",
        };
        self.start(format!("\"-XX:{option}={}\"", self.fresh().display()))
    }

    fn start(&self, options: String) -> Start {
        Start {
            options,
            conf_dir: self.hides_conf.then(|| self.empty()),
        }
    }

    /// Whether a whole one is there, which drivers use from now on. One that is not whole is removed.
    pub(super) fn find(&self) -> bool {
        let is_whole = fs::read_to_string(self.digest_path())
            .is_ok_and(|known| digest_of(&self.path()).is_ok_and(|found| found == known));
        if !is_whole {
            self.remove();
        }
        let is_whole = is_whole && self.open_to_drivers().is_ok();
        self.is_ready.store(is_whole, Ordering::Relaxed);
        is_whole
    }

    /// Puts one that was made into its place, and removes those of other Javas and Sparks beyond so many bytes in all, the oldest first.
    ///
    /// # Errors
    /// The JVM made none, or the disk says no.
    pub(super) fn keep(&self, room: u64) -> io::Result<u64> {
        let fresh = self.fresh();
        let bytes = fs::metadata(&fresh).map_or(0, |data| data.len());
        if bytes < LEAST_BYTES {
            return Err(io::Error::other("the JVM wrote no archive"));
        }
        if bytes > room {
            return Err(io::Error::other(format!(
                "it would take {bytes} bytes (driver.class_archive_bytes)"
            )));
        }
        let digest = digest_of(&fresh)?;
        fs::rename(&fresh, self.path())?;
        self.open_to_drivers()?;
        // Last: an archive counts once its digest is there.
        fs::write(self.digest_path(), digest)?;
        self.make_room(room);
        self.is_ready.store(true, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Makes the directory, without what an attempt that was cut off has left.
    ///
    /// # Errors
    /// The disk says no.
    pub(super) fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.empty())?;
        let _ = fs::remove_file(self.fresh());
        Ok(())
    }

    /// Drivers that run as other users map it too. None of them can write it.
    fn open_to_drivers(&self) -> io::Result<()> {
        let_read(&self.path())?;
        match self.hides_conf {
            true => let_read(&self.empty()),
            false => Ok(()),
        }
    }

    /// Removes what an attempt has left.
    pub(super) fn give_up(&self) {
        let _ = fs::remove_file(self.fresh());
    }

    fn make_room(&self, room: u64) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut archives: Vec<(i64, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let data = entry.metadata().ok()?;
                let is_archive = entry.path().extension().is_some_and(|end| end == "jsa");
                is_archive.then(|| (data.mtime(), data.len(), entry.path()))
            })
            .collect();
        archives.sort_unstable();
        let mut used: u64 = archives.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in archives {
            if used <= room {
                break;
            }
            if path != self.path() {
                // Drivers that have mapped it keep it.
                let _ = fs::remove_file(path.with_extension("sha256"));
                let _ = fs::remove_file(path);
                used -= bytes;
            }
        }
    }

    fn remove(&self) {
        let _ = fs::remove_file(self.digest_path());
        let _ = fs::remove_file(self.path());
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.jsa", self.name))
    }

    fn digest_path(&self) -> PathBuf {
        self.directory.join(format!("{}.sha256", self.name))
    }

    /// A directory without files.
    fn empty(&self) -> PathBuf {
        self.directory.join("conf")
    }

    fn fresh(&self) -> PathBuf {
        self.directory.join(format!("{}.new", self.name))
    }
}

/// Whether Spark's directory of configuration, which is on the class path, is to be hidden from drivers: Java makes no archive with a directory that has files. It
/// can be where it has templates, and what this server reads itself.
///
/// # Errors
/// It has files that Spark would read: a sentence.
fn hides(conf: &Path) -> Result<bool, String> {
    let Ok(entries) = fs::read_dir(conf) else {
        return Ok(false);
    };
    let names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    let is_idle = |name: &&String| name.ends_with(".template") || *name == "spark-defaults.conf";
    match names.iter().find(|name| !is_idle(name)) {
        Some(name) => Err(format!(
            "{} has {name}, and Java archives no class path with a directory that has files",
            conf.display()
        )),
        None => Ok(!names.is_empty()),
    }
}

/// The Java that `spark-submit` takes: of JAVA_HOME, else of the `java` on PATH.
fn java(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if let Some(home) = environment("JAVA_HOME") {
        return fs::canonicalize(home).ok();
    }
    let path = environment("PATH")?;
    let found = std::env::split_paths(&path).map(|directory| directory.join("java"));
    let java = fs::canonicalize(found.into_iter().find(|java| java.is_file())?).ok()?;
    Some(java.parent()?.parent()?.to_owned())
}

/// The major version in a Java's `release` file: `JAVA_VERSION="17.0.15"`.
fn major(release: &str) -> Option<u32> {
    let version = release
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
    version.split(['.', '"', '-', '+']).next()?.parse().ok()
}

fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            count => digest.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(directory: &Path) -> ClassArchive {
        ClassArchive {
            directory: directory.to_owned(),
            name: "a".to_owned(),
            hides_conf: false,
            is_cache: false,
            is_ready: AtomicBool::new(false),
        }
    }

    #[test]
    fn only_a_whole_one_is_used() {
        let temp = tempfile::tempdir().unwrap();
        let archive = archive(temp.path());
        archive.prepare().unwrap();
        assert!(!archive.find() && archive.to_use().is_none());
        assert!(archive.keep(1 << 30).is_err(), "there is none");
        fs::write(archive.fresh(), vec![7; 2 << 20]).unwrap();
        assert!(archive.keep(1 << 20).is_err(), "it is too large");
        assert_eq!(archive.keep(1 << 30).unwrap(), 2 << 20);
        assert!(archive.to_use().unwrap().options.contains("a.jsa"));
        assert!(archive.find());
        let mut bytes = fs::read(archive.path()).unwrap();
        bytes[1000] = 8;
        fs::write(archive.path(), bytes).unwrap();
        assert!(!archive.find() && archive.to_use().is_none());
        assert!(!archive.path().exists());
    }

    #[test]
    fn others_make_room() {
        let temp = tempfile::tempdir().unwrap();
        let archive = archive(temp.path());
        for other in ["b", "c"] {
            fs::write(temp.path().join(format!("{other}.jsa")), vec![0; 2 << 20]).unwrap();
            fs::write(temp.path().join(format!("{other}.sha256")), "x").unwrap();
        }
        fs::write(archive.fresh(), vec![7; 2 << 20]).unwrap();
        archive.keep(3 << 20).unwrap();
        let mut left: Vec<_> = fs::read_dir(temp.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort_unstable();
        assert_eq!(left, ["a.jsa", "a.sha256"]);
    }

    #[test]
    fn a_conf_directory_in_the_way() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(hides(&temp.path().join("nowhere")), Ok(false));
        assert_eq!(hides(temp.path()), Ok(false));
        for name in ["log4j2.properties.template", "spark-defaults.conf"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        assert_eq!(hides(temp.path()), Ok(true));
        fs::write(temp.path().join("hive-site.xml"), "").unwrap();
        assert!(hides(temp.path()).unwrap_err().contains("hive-site.xml"));
    }

    #[test]
    fn versions_of_java() {
        assert_eq!(
            major("IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\n"),
            Some(17)
        );
        assert_eq!(major("JAVA_VERSION=\"25\""), Some(25));
        assert_eq!(major("JAVA_VERSION=\"1.8.0_402\""), Some(1));
        assert_eq!(major(""), None);
    }
}
