use std::collections::BTreeSet;

use super::keys::{How, ROWS, find};
use super::read::Entry;
use super::write::{Imported, import};
use crate::config::tables;

/// Imports lines of a `livy.conf`.
fn imported(lines: &str) -> Result<Imported, String> {
    let entries = lines.lines().enumerate().filter_map(|(at, line)| {
        let (key, value) = line.split_once('=')?;
        Some(Entry {
            file: "livy.conf".to_owned(),
            line: at + 1,
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
        })
    });
    import(&entries.collect::<Vec<_>>()).map_err(|error| error.to_string())
}

/// The keys of the new file with their values, `table.key = value` each.
fn settings(toml: &str) -> BTreeSet<String> {
    let mut table = "";
    let mut found = BTreeSet::new();
    for line in toml
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => table = name,
            None => drop(found.insert(format!("{table}.{line}"))),
        }
    }
    found
}

/// What lines become, without the address that every file has.
fn becomes(lines: &str) -> Vec<String> {
    let made = imported(lines).unwrap();
    let all = settings(&made.toml).into_iter();
    all.filter(|line| line != "server.listen = \"127.0.0.1:8998\"")
        .collect()
}

fn existing() -> BTreeSet<String> {
    let tables = tables();
    let keys = tables.flat_map(|table| {
        table
            .keys
            .iter()
            .map(|key| format!("{}.{}", table.path, key.name))
    });
    keys.collect()
}

#[test]
fn every_row_names_keys_that_there_are() {
    let existing = existing();
    for row in ROWS {
        let is_nothing = matches!(row.how, How::Nothing | How::Secret);
        assert_eq!(row.to.is_empty(), is_nothing, "{}", row.key);
        assert!(!is_nothing || !row.about.is_empty(), "{}: no reason", row.key);
        for key in row.to {
            assert!(existing.contains(*key), "{}: there is no {key}", row.key);
        }
        // What reasons and differences refer to is there as well.
        let words = row
            .about
            .split(|c: char| !(c.is_ascii_alphanumeric() || "._-/*".contains(c)));
        for word in words.map(|word| word.trim_end_matches('.')) {
            let is_key = tables().any(|table| word.starts_with(&format!("{}.", table.path)));
            let is_known = existing.contains(word) || word.ends_with(".*");
            assert!(!is_key || is_known, "{}: there is no {word}", row.key);
            if word.starts_with("docs/") {
                let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(word);
                assert!(page.is_file(), "{}: there is no {word}", row.key);
            }
        }
    }
}

#[test]
fn every_name_leads_to_its_own_row() {
    for row in ROWS {
        let names = row.old.iter().chain([&row.key]);
        for name in names.map(|name| name.replace('*', "any.thing")) {
            let found = find(&name).map(|found| found.key);
            assert_eq!(found, Some(row.key), "{name}");
        }
    }
    for unknown in [
        "livy.server.recovery.",
        "livy.server.auth.ldap.uri",
        "livy.rsc.rpc",
        "livy",
        "",
    ] {
        assert!(find(unknown).is_none(), "{unknown}");
    }
}

#[test]
fn values_are_read_as_livy_reads_them() {
    for (lines, expected) in [
        (
            "livy.server.session.state-retain.sec = 600s",
            &["batch.ended_shown = \"10m\"", "session.ended_shown = \"10m\""][..],
        ),
        (
            "livy.server.launch.kerberos.refresh-interval = 7200000",
            &["hadoop.renew_interval = \"2h\""],
        ),
        (
            "livy.rsc.server.idle_timeout = 90MIN",
            &["driver.orphan_grace = \"1h 30m\""],
        ),
        (
            "livy.rsc.server.connect.timeout = 1500ms",
            &["session.start_timeout = \"1s 500ms\""],
        ),
        (
            "livy.file.upload.max.size = 104857600",
            &["upload.max_bytes = \"100MiB\""],
        ),
        (
            "livy.file.upload.max.size = 2048",
            &["upload.max_bytes = \"2KiB\""],
        ),
        (
            "livy.file.upload.max.size = 1001",
            &["upload.max_bytes = \"1001B\""],
        ),
        (
            "livy.file.local-dir-whitelist = /srv/a,/srv/b",
            &["files.allow = [\"/srv/a\", \"/srv/b\"]"],
        ),
        (
            "livy.superusers = ada, bob",
            &["access.superusers = [\"ada\", \"bob\"]"],
        ),
        ("livy.repl.enableHiveContext = TRUE", &["spark.hive = true"]),
        ("livy.rsc.retained-statements = 100", &["statement.kept = 500"]),
        ("livy.rsc.retained-statements = 2000", &["statement.kept = 2000"]),
        (
            "spark-blacklist.conf = spark.master",
            &["policy.conf.deny = [\"spark.master\"]"],
        ),
        ("livy.superusers =", &[]),
    ] {
        assert_eq!(becomes(lines), expected, "{lines}");
    }
}

#[test]
fn keys_that_depend_on_others() {
    for (lines, expected) in [
        ("livy.ui.basePath = /spark", &[][..]),
        (
            "livy.keystore = /etc/k.jks",
            &[
                "server.tls.cert = \"/etc/k.jks.crt.pem\"",
                "server.tls.key = \"/etc/k.jks.key.pem\"",
            ],
        ),
        (
            "livy.spark.master = yarn-cluster",
            &["spark.deploy_mode = \"cluster\"", "spark.master = \"yarn\""],
        ),
        (
            "livy.spark.master = yarn-client",
            &["spark.deploy_mode = \"client\"", "spark.master = \"yarn\""],
        ),
        (
            "livy.spark.deployMode = cluster\nlivy.spark.master = yarn\nlivy.server.session.max-creation = 7",
            &[
                "limits.starting = 7",
                "spark.deploy_mode = \"cluster\"",
                "spark.master = \"yarn\"",
            ],
        ),
        ("livy.server.session.max-creation = 7", &["limits.sessions = 7"]),
        (
            "livy.server.session.timeout = 2h",
            &["session.idle_timeout = \"2h\""],
        ),
        (
            "livy.server.session.timeout = 2h\nlivy.server.session.timeout-check = false",
            &["session.idle_timeout = \"0s\""],
        ),
        ("livy.server.session.ttl = 2h", &[]),
        ("livy.server.session.ttl-check = true", &["session.ttl = \"8h\""]),
        (
            "livy.server.session.ttl = 2h\nlivy.server.session.ttl-check = true",
            &["session.ttl = \"2h\""],
        ),
        ("livy.rsc.sql.num-rows = 5000", &["sql.max_rows = 5000"]),
        (
            "livy.rsc.sql.num-rows = 200000",
            &["sql.max_rows = 200000", "sql.max_rows_ceiling = 200000"],
        ),
        (
            "livy.impersonation.enabled = true",
            &["access.impersonation = true", "hadoop.proxy_user = true"],
        ),
        ("livy.server.access-control.view-users = ada", &[]),
        (
            "livy.server.access_control.enabled = true\nlivy.server.access-control.view-users = ada\n\
             livy.server.access-control.modify-users = *\nlivy.server.access-control.allowed-users = bob",
            &[
                "access.allowed_users = [\"bob\"]",
                "access.modify_users = [\"*\"]",
                "access.view_users = [\"ada\"]",
            ],
        ),
        (
            "livy.server.auth.type = mine",
            &[
                "access.basic_file = \"/etc/firesteel/users\"",
                "access.mode = [\"basic\"]",
            ],
        ),
        (
            "livy.server.auth.ldap.url = ldaps://ldap\nlivy.server.auth.ldap.base-dn = dc=x",
            &[],
        ),
        (
            "livy.server.auth.type = ldap\nlivy.server.auth.ldap.url = ldap://localhost:3890\nlivy.server.auth.ldap.base-dn = dc=x",
            &[
                "access.ldap.starttls = false",
                "access.ldap.url = \"ldap://localhost:3890\"",
                "access.ldap.user_dn = \"uid={user},dc=x\"",
                "access.mode = [\"ldap\"]",
            ],
        ),
        (
            "livy.server.auth.type = ldap\nlivy.server.auth.ldap.url = ldap://ldap\nlivy.server.auth.ldap.base-dn = dc=x\n\
             livy.server.auth.ldap.username-domain = corp.example",
            &[
                "access.ldap.url = \"ldap://ldap\"",
                "access.ldap.user_dn = \"uid={user}@corp.example,dc=x\"",
                "access.mode = [\"ldap\"]",
            ],
        ),
        (
            "livy.server.auth.type = ldap\nlivy.server.auth.ldap.url = ldaps://ad\n\
             livy.server.auth.ldap.username-domain = corp.example",
            &[
                "access.ldap.url = \"ldaps://ad\"",
                "access.ldap.user_attribute = \"sAMAccountName\"",
                "access.ldap.user_base = \"dc=corp,dc=example\"",
                "access.ldap.user_filter = \"(userPrincipalName={user}@corp.example)\"",
                "access.mode = [\"ldap\"]",
            ],
        ),
        (
            "livy.server.auth.type = kerberos\nlivy.server.auth.kerberos.keytab = /k\n\
             livy.server.auth.kerberos.principal = HTTP/_HOST@X.ORG\nlivy.server.host = a.x.org",
            &[
                "access.kerberos.keytab = \"/k\"",
                "access.kerberos.principal = \"HTTP/a.x.org@X.ORG\"",
                "access.mode = [\"kerberos\"]",
            ],
        ),
        (
            "livy.server.launch.kerberos.principal = livy/_HOST@X.ORG\nlivy.server.launch.kerberos.keytab = /k",
            &[
                "hadoop.keytab = \"/k\"",
                "hadoop.principal = \"livy/_HOST@X.ORG\"",
            ],
        ),
        (
            "livy.spark.master = yarn\nlivy.server.yarn.poll-interval = 5s\nlivy.server.kubernetes.poll-interval = 15s",
            &["cluster.poll_interval = \"5s\"", "spark.master = \"yarn\""],
        ),
        (
            "livy.spark.master = k8s://https://k\nlivy.server.yarn.app-lookup-timeout = 5s\n\
             livy.server.kubernetes.app-lookup-timeout = 15s",
            &[
                "cluster.lookup_timeout = \"15s\"",
                "spark.master = \"k8s://https://k\"",
            ],
        ),
    ] {
        assert_eq!(becomes(lines), expected, "{lines}");
    }
}

#[test]
fn the_address_is_one_that_may_be_listened_on() {
    let safe = "livy.server.auth.type = mine\nlivy.keystore = /k.jks\n";
    for (lines, expected, is_todo) in [
        ("".to_owned(), "127.0.0.1:8998", true),
        (
            "livy.server.host = 0.0.0.0\nlivy.server.port = 9000".to_owned(),
            "127.0.0.1:9000",
            true,
        ),
        ("livy.server.host = ::1".to_owned(), "[::1]:8998", false),
        (
            "livy.server.host = localhost\nlivy.server.port = 80".to_owned(),
            "127.0.0.1:80",
            false,
        ),
        (safe.to_owned(), "0.0.0.0:8998", false),
        (
            format!("{safe}livy.server.host = 10.0.0.7"),
            "10.0.0.7:8998",
            false,
        ),
        (
            format!("{safe}livy.server.host = livy.example.org\nlivy.server.port = 8443"),
            "0.0.0.0:8443",
            false,
        ),
        ("livy.keystore = /k.jks".to_owned(), "127.0.0.1:8998", true),
    ] {
        let made = imported(&lines).unwrap();
        let listen = format!("server.listen = \"{expected}\"");
        assert!(settings(&made.toml).contains(&listen), "{lines}: {}", made.toml);
        let told = made.report.contains("only this host reaches 127.0.0.1");
        assert_eq!(told, is_todo, "{lines}: {}", made.report);
    }
}

#[test]
fn what_is_wrong_names_its_line_its_key_and_the_fix() {
    for (lines, expected) in [
        (
            "livy.server.port = x",
            "livy.conf:1: livy.server.port: must be a port, from 0 to 65535",
        ),
        (
            "\nlivy.repl.enable-hive-context = false # note",
            "livy.conf:2: livy.repl.enable-hive-context: must be true or false; a # behind a value begins no comment",
        ),
        (
            "livy.server.session.timeout = 1w",
            "livy.conf:1: livy.server.session.timeout: must be a duration, such as 500ms",
        ),
        (
            "livy.server.session.timeout = 99999999999999999999d",
            "must be a duration",
        ),
        (
            "livy.rsc.retained-statements = -1",
            "must be a whole number, 0 or more",
        ),
        (
            "livy.server.yarn.poll-interval = soon",
            "livy.server.yarn.poll-interval: must be a duration",
        ),
        // Firesteel's own check, told of with Livy's key.
        (
            "livy.server.spark-home = spark",
            "livy.conf:1: livy.server.spark-home: spark.home: \"spark\" is not an absolute path",
        ),
        (
            "livy.server.session.timeout = 4000d",
            "livy.server.session.timeout: session.idle_timeout: the duration",
        ),
        (
            "livy.superusers = *",
            "livy.superusers: access.superusers: `*` would make everybody a superuser",
        ),
        (
            "livy.spark.deploy-mode = cluster",
            "livy.conf:1: livy.spark.deploy-mode: spark.deploy_mode: \"cluster\" works with",
        ),
        (
            "livy.spark.deploy-mode = far",
            "livy.spark.deploy-mode: spark.deploy_mode: unknown variant",
        ),
        (
            "livy.file.local-dir-whitelist = /a,b",
            "livy.file.local-dir-whitelist: files.allow: \"b\" is not an absolute path",
        ),
        (
            "livy.server.auth.type = kerberos",
            "not set: livy.server.auth.kerberos.keytab: access.kerberos.keytab: access.mode",
        ),
        (
            "livy.server.auth.type = ldap",
            "not set: livy.server.auth.ldap.url: access.ldap.url: must be the directory's address",
        ),
        (
            "livy.server.launch.kerberos.principal = livy/x@X",
            "livy.server.launch.kerberos.principal: hadoop.principal: is of use only with",
        ),
        (
            "livy.server.session.state-retain.sec = 0",
            "session.ended_shown: must be longer than 0s",
        ),
    ] {
        let error = imported(lines).unwrap_err();
        assert!(error.contains(expected), "{lines}: {error}");
    }
    // All at once.
    let error = imported("livy.server.port = x\nlivy.impersonation.enabled = on").unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn each_key_is_mapped_or_listed() {
    let made = imported(
        "livy.server.port = 1\nlivy.server.port = 2\nlivy.server.prot = 3\nmine.own = x\nlivy.rsc.rpc.threads = 8\n\
         livy.spark.master =\nlivy.server.sesion.timeout = 1h\nspark.executor.memory = 4g",
    )
    .unwrap();
    let expected = [
        "livy.conf:3: livy.server.prot: unknown to Livy and here: did you mean livy.server.port?",
        "livy.conf:4: mine.own: unknown to Livy and here\n",
        "livy.conf:7: livy.server.sesion.timeout: unknown to Livy and here: did you mean livy.server.session.timeout?",
        "livy.conf:1: livy.server.port: set again: livy.conf:2 counts",
        "livy.conf:2: livy.server.port: to do: only this host",
        "livy.conf:5: livy.rsc.rpc.threads: no counterpart: drivers speak",
        "livy.conf:6: livy.spark.master: nothing to set: empty, as if it were not set",
        "livy.conf:8: spark.executor.memory: no counterpart: it is Spark's conf",
        "firesteel: keys mapped: 1 (to do: 1); without a counterpart: 4; unknown: 3\n",
    ];
    for line in expected {
        assert!(made.report.contains(line), "{line}\n{}", made.report);
    }
    assert_eq!(made.report.lines().count(), expected.len(), "{}", made.report);
    assert!(
        made.toml.contains("\n# livy.server.port: TO DO: only this host"),
        "{}",
        made.toml
    );
}

#[test]
fn of_several_files_the_first_counts() {
    let entry = |file: &str, line: usize, value: &str| Entry {
        file: file.to_owned(),
        line,
        key: "livy.rsc.sql.num-rows".to_owned(),
        value: value.to_owned(),
    };
    let entries = [
        entry("livy.conf", 1, "10"),
        entry("livy.conf", 2, "20"),
        entry("livy-client.conf", 1, "30"),
        entry("livy-client.conf", 2, "40"),
    ];
    let made = import(&entries).unwrap();
    assert!(
        settings(&made.toml).contains("sql.max_rows = 20"),
        "{}",
        made.toml
    );
    assert!(
        made.report
            .contains("livy-client.conf:2: livy.rsc.sql.num-rows: set again: livy.conf:2 counts")
    );
}

#[test]
fn nothing_shows_a_secret() {
    let rows = ROWS.iter().filter(|row| !row.key.starts_with("spark-"));
    let rows = rows.filter(|row| matches!(row.how, How::Nothing | How::Secret));
    let lines: String = rows
        .map(|row| format!("{} = hunter2\n", row.key.replace('*', "a")))
        .collect();
    let made = imported(&format!("{lines}livy.mine.password = hunter2")).unwrap();
    assert!(!made.toml.contains("hunter2") && !made.report.contains("hunter2"));
    assert!(
        made.report
            .contains("livy.keystore.password: no counterpart: a secret, which is not taken over")
    );
    for key in [
        "livy.server.port",
        "livy.impersonation.enabled",
        "livy.server.session.timeout",
    ] {
        let error = imported(&format!("{key} = hunter2")).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
