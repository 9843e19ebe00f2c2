use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

/// A directory with `allowed/` (a file, a directory, links), its sibling `allowed-not/` and a secret beside them.
struct House {
    dir: tempfile::TempDir,
    root: String,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().to_str().unwrap().to_owned();
        for inner in ["allowed/sub", "allowed-not", "other"] {
            fs::create_dir_all(dir.path().join(inner)).unwrap();
        }
        for file in [
            "allowed/ok.jar",
            "allowed/a b.jar",
            "allowed/sub/x.py",
            "allowed-not/x.jar",
            "other/s",
            "secret",
        ] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        fs::write(dir.path().join("allowed/odd,name.jar"), "x").unwrap();
        let link = |target: &str, name: &str| symlink(target, dir.path().join("allowed").join(name)).unwrap();
        link("ok.jar", "inside");
        link("../secret", "outside");
        link("../other", "out-dir");
        link("../gone", "dangling");
        link("loop", "loop");
        link("/", "root");
        link("odd,name.jar", "to-odd");
        symlink("allowed", dir.path().join("alias")).unwrap();
        Self { dir, root }
    }

    fn allow(&self) -> Vec<PathBuf> {
        vec![self.dir.path().join("allowed")]
    }

    /// What a URI comes to; `R` stands for the root on both sides.
    fn resolve(&self, uri: &str) -> Result<String, String> {
        let uri = uri.replace('R', &self.root);
        match resolve_files([uri], &self.allow()) {
            Ok(files) => Ok(files.concat().replace(&self.root, "R")),
            Err(rejection) => Err(rejection.to_string().replace(&self.root, "R")),
        }
    }
}

#[test]
fn what_is_allowed() {
    let house = House::new();
    for (uri, resolved) in [
        ("R/allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("file:R/allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("file://R/allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("file:///R/allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("FILE://R/allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("file://localhostR/allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("local:R/allowed/ok.jar", "local://R/allowed/ok.jar"),
        (
            "Local://R/allowed/in-the-image.jar",
            "local://R/allowed/in-the-image.jar",
        ),
        ("R/allowed", "file://R/allowed"),
        ("R//allowed/./sub/../ok.jar", "file://R/allowed/ok.jar"),
        ("R/other/../allowed/ok.jar", "file://R/allowed/ok.jar"),
        ("R/allowed/inside", "file://R/allowed/ok.jar"),
        ("R/alias/sub/x.py", "file://R/allowed/sub/x.py"),
        ("R/allowed/%6fk.jar", "file://R/allowed/ok.jar"),
        ("R/allowed/a%20b.jar", "file://R/allowed/a%20b.jar"),
        ("R/allowed/a b.jar", "file://R/allowed/a%20b.jar"),
        ("R/allowed/ok.jar#env", "file://R/allowed/ok.jar#env"),
        (
            "file:R/allowed/inside#my-env_1.2",
            "file://R/allowed/ok.jar#my-env_1.2",
        ),
        ("hdfs:///a/b.jar", "hdfs:///a/b.jar"),
        ("hdfs://nn:8020/a*.jar#x", "hdfs://nn:8020/a*.jar#x"),
        ("s3a://bucket/%2e%2e/x", "s3a://bucket/%2e%2e/x"),
        ("HTTP://host/x?y=1", "HTTP://host/x?y=1"),
        ("gs://b/x", "gs://b/x"),
        ("", ""),
    ] {
        assert_eq!(house.resolve(uri).as_deref(), Ok(resolved), "{uri}");
    }
}

#[test]
fn what_is_not_absolute() {
    let house = House::new();
    for uri in [
        "rel.jar",
        "./rel.jar",
        "../x",
        "~/x.jar",
        "%2fetc/passwd",
        ".",
        "a/b:c",
        "1x:/y",
        ":x",
        "?x",
    ] {
        let text = format!("requirement failed: Path '{uri}' is not absolute.");
        assert_eq!(house.resolve(uri), Err(text));
    }
}

#[test]
fn what_is_outside() {
    let house = House::new();
    for (uri, path) in [
        ("/etc/passwd", "/etc/passwd"),
        ("file:/etc/passwd", "/etc/passwd"),
        ("file:///etc/passwd", "/etc/passwd"),
        ("file:////etc/passwd", "//etc/passwd"),
        ("file://///etc/passwd", "///etc/passwd"),
        ("//etc/passwd", "//etc/passwd"),
        ("FiLe:/etc/passwd", "/etc/passwd"),
        ("LOCAL:///etc/passwd", "/etc/passwd"),
        ("file:///%65tc/passwd", "/etc/passwd"),
        ("file://localhost/etc/passwd", "/etc/passwd"),
        ("R/allowed/../secret", "R/allowed/../secret"),
        ("R/allowed/sub/../../secret", "R/allowed/sub/../../secret"),
        ("R/allowed/%2e%2e/secret", "R/allowed/../secret"),
        ("R/allowed/%2E./secret", "R/allowed/../secret"),
        ("R/allowed%2f..%2fsecret", "R/allowed/../secret"),
        ("R/allowed/..%2fsecret", "R/allowed/../secret"),
        ("R/allowed-not/x.jar", "R/allowed-not/x.jar"),
        ("R/allowed.", "R/allowed."),
        ("R/allowed/outside", "R/allowed/outside"),
        ("R/allowed/out-dir/s", "R/allowed/out-dir/s"),
        ("R/allowed/out-dir/../secret", "R/allowed/out-dir/../secret"),
        ("R/allowed/root/etc/passwd", "R/allowed/root/etc/passwd"),
        ("R/allowed/dangling", "R/allowed/dangling"),
        ("local:R/allowed/dangling", "R/allowed/dangling"),
        ("local:R/allowed/out-dir/gone", "R/allowed/out-dir/gone"),
        ("local:R/allowed/gone/../../secret", "R/allowed/gone/../../secret"),
        ("R/allowed/loop", "R/allowed/loop"),
        ("R/allowed/ok.jar/x", "R/allowed/ok.jar/x"),
        ("R/allowed/to-odd", "R/allowed/to-odd"),
        ("R/gone", "R/gone"),
        ("R", "R"),
        ("/", "/"),
        ("/proc/self/environ", "/proc/self/environ"),
        ("/proc/self/root/etc/passwd", "/proc/self/root/etc/passwd"),
        ("/proc/self/fd/0", "/proc/self/fd/0"),
        ("/dev/stdin", "/dev/stdin"),
        ("file:etc/passwd", "etc/passwd"),
        ("file:", ""),
        ("file://evil/R/allowed/ok.jar", "//evil/R/allowed/ok.jar"),
        ("jar:file:/etc/x.jar!/a", "jar:file:/etc/x.jar!/a"),
        ("har://file-localhost/etc/x.har", "har://file-localhost/etc/x.har"),
    ] {
        let text = format!("requirement failed: Local path {path} cannot be added to user sessions.");
        assert_eq!(house.resolve(uri), Err(text), "{uri}");
    }
}

#[test]
fn what_no_path_may_have() {
    let house = House::new();
    for uri in [
        "R/allowed/ok.jar,/etc/passwd",
        "R/allowed/ok.jar%2c/etc/passwd",
        "hdfs:///a,/etc/passwd",
        "hdfs:///a${spark.x}",
        "${spark.x}:///etc/passwd",
        "${env:HOME}/x",
        "ivy://org.x:y:1.0",
        "IVY:org.x:y:1.0",
        "hdfs:///a /etc/passwd",
        "hdfs:",
        "R/allowed/*",
        "R/allowed/%2a",
        "R/allowed/o?.jar",
        "R/allowed/[o]k.jar",
        "R/allowed/{ok,x}.jar",
        "R/allowed/%7bok%7d.jar",
        "R/allowed/%252e%252e/secret",
        "R/allowed/%25",
        "R/allowed/\\..\\secret",
        "R/allowed/%5c",
        "R/allowed/ok.jar\n",
        "R/allowed/ok.jar\0",
        "R/allowed/ok.jar%00",
        "R/allowed/ok.jar%0a",
        "R/allowed/%ff",
        "R/allowed/ok%23x",
        "R/allowed/\u{202e}ok.jar",
        "\t/etc/passwd",
        "R/allowed/ok.jar#",
        "R/allowed/ok.jar#..",
        "R/allowed/ok.jar#../../x",
        "R/allowed/ok.jar#a/b",
        "R/allowed/ok.jar#%2e%2e",
        "R/allowed/ok.jar#a#b",
        "R/allowed/ok.jar#.hidden",
        "hdfs:///a.zip#../../home",
        "hdfs:///a.zip#a\\b",
    ] {
        let error = house.resolve(uri).unwrap_err();
        assert!(error.starts_with("Invalid path"), "{uri:?}: {error}");
    }
}

#[test]
fn missing_files_are_told_only_inside() {
    let house = House::new();
    let text = "requirement failed: Local path R/allowed/gone.jar does not exist.";
    assert_eq!(house.resolve("R/allowed/gone.jar"), Err(text.to_owned()));
    assert!(
        house
            .resolve("R/other/gone.jar")
            .unwrap_err()
            .contains("cannot be added")
    );
}

#[test]
fn the_kernels_views_are_never_allowed() {
    let root = [PathBuf::from("/")];
    for uri in [
        "/proc/self/environ",
        "/proc/self/cwd/../proc/self/maps",
        "/sys/kernel",
        "/dev/null",
    ] {
        assert!(resolve_files([uri], &root).is_err(), "{uri}");
    }
    assert_eq!(
        resolve_files(["/etc/passwd"], &root).unwrap(),
        ["file:///etc/passwd"]
    );
    assert!(resolve_files(["/etc/passwd"], &[]).is_err());
}

#[test]
fn conf_keys_with_files() {
    let house = House::new();
    let conf = |key: &str, value: &str| -> Result<String, Rejection> {
        let value = value.replace('R', &house.root);
        let mut conf = BTreeMap::from([
            (key.to_owned(), value),
            ("spark.x".to_owned(), "rel, /etc".to_owned()),
        ]);
        resolve_conf(&mut conf, &house.allow())?;
        assert_eq!(conf["spark.x"], "rel, /etc");
        Ok(conf[key].replace(&house.root, "R"))
    };
    let both = "file://R/allowed/ok.jar,hdfs:///x.jar";
    assert_eq!(
        conf("spark.jars", "R/allowed/inside, hdfs:///x.jar,,").unwrap(),
        both
    );
    assert_eq!(conf("spark.jars", "").unwrap(), "");
    assert_eq!(
        conf("spark.kerberos.keytab", "file:R/allowed/inside").unwrap(),
        "R/allowed/ok.jar"
    );
    assert_eq!(
        conf("spark.jars.ivySettings", "R/allowed/a b.jar").unwrap(),
        "R/allowed/a b.jar"
    );
    for key in FILE_KEYS {
        let key = key.key.replace('*', "driver.x");
        assert!(conf(&key, "/etc/passwd").is_err(), "{key}");
        assert!(conf(&key, "R/allowed/../secret").is_err(), "{key}");
        assert!(conf(&key.to_uppercase(), "/etc/passwd").is_err(), "{key}");
        assert!(
            conf(key.strip_prefix("spark.").unwrap(), "/etc/passwd").is_err(),
            "{key}"
        );
    }
    for key in [
        "spark.ssl.keyStore",
        "spark.kubernetes.authenticate.submission.caCertFile",
        "spark.authenticate.secret.file",
    ] {
        assert!(conf(key, "/etc/passwd").is_err(), "{key}");
    }
    assert!(conf("spark.ssl.keyStorePassword", "x").is_ok());
}

/// A link that is turned to and fro while it is looked at: what is let through is where it led at the time, and inside.
#[test]
fn a_link_that_is_swapped_meanwhile() {
    let house = House::new();
    let link = PathBuf::from(format!("{}/allowed/swapped", house.root));
    let aside = PathBuf::from(format!("{}/allowed/aside", house.root));
    let targets =
        ["allowed/ok.jar", "secret"].map(|target| PathBuf::from(format!("{}/{target}", house.root)));
    std::os::unix::fs::symlink(&targets[0], &link).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in targets.iter().cycle() {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                std::os::unix::fs::symlink(target, &aside).unwrap();
                std::fs::rename(&aside, &link).unwrap();
            }
        });
        let resolved: Vec<_> = (0..10_000).map(|_| house.resolve("R/allowed/swapped")).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let inside = resolved.iter().filter(|found| found.is_ok()).count();
        assert!(inside > 0 && inside < resolved.len(), "{inside} were inside");
        let is_fine = |found: &Result<String, String>| match found {
            Ok(uri) => uri == "file://R/allowed/ok.jar",
            Err(text) => text.contains("cannot be added"),
        };
        let odd = resolved.iter().find(|found| !is_fine(found));
        assert_eq!(odd, None);
    });
}

proptest! {
    #[test]
    fn nothing_local_escapes(parts in prop::collection::vec(
        prop::sample::select(vec![
            "..", ".", "%2e%2e", "%2E.", "%252e", "allowed", "allowed-not", "other", "out-dir", "outside", "root", "sub", "secret",
            "ok.jar", "x.jar", "inside", "", "dangling", "etc", "passwd", "proc", "self", "loop", "%2f", "alias",
        ]), 0..8),
        start in prop::sample::select(vec!["R/allowed/", "R/", "/", "file:R/allowed/", "FILE:///", "local:R/allowed/", "file://localhost/"]),
    ) {
        let house = House::new();
        if let Ok(resolved) = house.resolve(&format!("{start}{}", parts.join("/"))) {
            let path = resolved.split_once("://").unwrap().1;
            prop_assert!(path == "R/allowed" || path.starts_with("R/allowed/"), "{}", resolved);
            prop_assert!(!path.split('/').any(|part| part == ".." || part == "."));
        }
    }

    #[test]
    fn nothing_panics(uri in ".*") {
        if let Ok(files) = resolve_files([&uri], &[PathBuf::from("/nowhere")]) {
            prop_assert!(files.iter().all(|file| *file == uri));
        }
    }
}
