use std::io::Write as _;

use super::keys::NAME;
use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)], sets: &[(&str, &str)]) -> Result<Config, String> {
    let mut on_disk = tempfile::Builder::new()
        .prefix("firesteel")
        .suffix(".toml")
        .tempfile()
        .unwrap();
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let mut environment = owned(environment);
    environment.push(("HOME".to_owned(), "/home/ada".to_owned()));
    let file = file.map(|text| {
        on_disk.write_all(text.as_bytes()).unwrap();
        on_disk.path().to_owned()
    });
    Config::load(Sources {
        file,
        environment,
        sets: owned(sets),
    })
    .map_err(|error| {
        error
            .to_string()
            .replace(&on_disk.path().display().to_string(), "FILE")
    })
}

fn file_error(text: &str) -> String {
    load(Some(text), &[], &[]).unwrap_err()
}

#[test]
fn nothing_gives_the_defaults() {
    let config = load(None, &[], &[]).unwrap();
    let mut expected = Config::default();
    expected.server.state_dir = PathBuf::from("/home/ada/.local/state/firesteel");
    assert_eq!(config, expected);
    assert_eq!(load(Some(""), &[], &[]).unwrap(), expected);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8998");
    assert_eq!(config.link.max_frame.bytes(), 64 << 20);
    assert_eq!(config.session.ttl.positive(), None);
}

#[test]
fn every_default_survives_being_written_and_read() {
    let text = toml::to_string(&Config::default()).unwrap();
    let again: Config = toml::from_str(&text).unwrap();
    assert_eq!(again, Config::default());
}

#[test]
fn every_key_is_reached_by_file_environment_and_flag() {
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    // A profile is there once it is named: `profiles_are_named`.
    for table in super::keys::all().filter(|table| !table.path.ends_with(NAME)) {
        let mut values = defaults.clone();
        for part in table.path.split('.') {
            values = values[part].as_table().unwrap().clone();
        }
        let is_table =
            |name: &str| super::keys::all().any(|inner| inner.path == format!("{}.{name}", table.path));
        values.retain(|name, _| !is_table(name));
        assert_eq!(values.len(), table.keys.len(), "{}", table.path);
        for key in table.keys {
            let value = values[key.name].to_string();
            let path = format!("{}.{}", table.path, key.name);
            let variable = format!("FIRESTEEL_{}", path.to_uppercase().replace('.', "__"));
            let in_file = format!("[{}]\n{} = {value}\n", table.path, key.name);
            let expected = load(None, &[], &[]).unwrap();
            assert_eq!(load(Some(&in_file), &[], &[]).unwrap(), expected, "{path}");
            assert_eq!(
                load(None, &[(&variable, &value)], &[]).unwrap(),
                expected,
                "{path}"
            );
            assert_eq!(load(None, &[], &[(&path, &value)]).unwrap(), expected, "{path}");
        }
    }
}

#[test]
fn profiles_are_named() {
    let file =
        "[profile.big]\nabout = 'much memory'\n[profile.big.conf]\nspark.driver.memory = '8g'\nspark.x = 1";
    let sets = [
        ("profile.big.conf.spark.x", "2"),
        ("profile.other.about", "another"),
    ];
    let config = load(Some(file), &[], &sets).unwrap();
    let big = &config.profile["big"];
    assert_eq!((big.about.as_str(), config.profile.len()), ("much memory", 2));
    assert_eq!(big.conf["spark.driver.memory"], "8g");
    assert_eq!(big.conf["spark.x"], "2");
    let variable = ("FIRESTEEL_PROFILE__BIG__CONF", r#"{ "spark.x" = "3" }"#);
    assert_eq!(
        load(Some(file), &[variable], &[]).unwrap().profile["big"].conf["spark.x"],
        "3"
    );
    for (file, told) in [
        (
            "[profile.big]\nconfig = 1",
            "FILE:2:1: unknown key `profile.big.config`",
        ),
        (
            "[profile.'a b']\nabout = ''",
            "profile.a b: a profile's name has letters",
        ),
        (
            "[profile.big.conf]\n'a b' = 1",
            "profile.big.conf: \"a b\" is no conf key",
        ),
        (
            "[profile.big.conf]\nfiresteel.profile = 'x'",
            "can't choose another one",
        ),
    ] {
        let error = file_error(file);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn clusters_are_named() {
    let file = "[clusters.big]\nmaster = 'yarn'\n[profile.night]\ncluster = 'big'\n";
    let set = ("clusters.big.conf.spark.x", "2");
    let config = load(Some(file), &[], &[set]).unwrap();
    assert_eq!(config.clusters["big"].conf["spark.x"], "2");
    for (file, told) in [
        (
            "[clusters.big]\nhome = '/x'",
            "clusters.big.master: must not be empty",
        ),
        (
            "[clusters.big]\nmaster = 'yarn'\nhome = 'x'",
            "clusters.big.home: \"x\" is not an absolute path",
        ),
        (
            "[clusters.big]\nmaster = 'yarn'\nhadoop_conf_dir = 'x'",
            "clusters.big.hadoop_conf_dir: \"x\" is not an absolute path",
        ),
        (
            "[clusters.big]\nmaster = 'yarn'\nresource_manager = ['rm']",
            "clusters.big.resource_manager: \"rm\" is no address",
        ),
        (
            "[clusters.big]\nmaster = 'local[2]'\ndeploy_mode = 'cluster'",
            "clusters.big.deploy_mode: \"cluster\"",
        ),
        (
            "[clusters.big]\nmaster = 'yarn'\nusers = ['ada']",
            "clusters.big.users: says who may use the cluster, and nobody has a name here",
        ),
        (
            "[clusters.default]\nmaster = 'yarn'",
            "clusters.default: default is the cluster of [spark]",
        ),
        (
            "[clusters.a]\nmaster = 'yarn'\n[clusters.A]\nmaster = 'yarn'",
            "differs from clusters.A in capital letters only",
        ),
        (
            "[profile.night]\ncluster = 'big'",
            "profile.night.cluster: there is no cluster \"big\"; there is no [clusters.NAME]",
        ),
        (
            "[clusters.a]\nmaster = 'yarn'\n[profile.night]\ncluster = 'big'",
            "there is no cluster \"big\"; there are a",
        ),
        (
            "[profile.night.conf]\n'firesteel.cluster' = 'big'",
            "a profile's cluster is named by profile.night.cluster",
        ),
        (
            "[policy.rule.all.force]\n'firesteel.cluster' = 'big'",
            "policy.rule.all.force: there is no cluster \"big\"",
        ),
        (
            "[clusters.a]\nmaster = 'yarn'\ndeploy_mode = 'cluster'\n[profile.night]\ncluster = 'a'\npool = 1",
            "profile.night.pool: warm drivers run on this host, and those of the cluster \"a\" there",
        ),
    ] {
        let error = file_error(file);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn later_sources_win() {
    let file = "[limits]\nsessions = 1\nsessions_queued = 1\npage = 1\n[policy.conf]\nmode = 'deny'";
    let environment = [
        ("FIRESTEEL_LIMITS__SESSIONS", "2"),
        ("FIRESTEEL_LIMITS__SESSIONS_QUEUED", "2"),
        ("FIRESTEEL_POLICY__CONF__MODE", "allow"),
    ];
    let config = load(Some(file), &environment, &[("limits.sessions", "3")]).unwrap();
    assert_eq!(
        (
            config.limits.sessions,
            config.limits.sessions_queued,
            config.limits.page
        ),
        (3, 2, 1)
    );
    assert_eq!(config.policy.conf.mode, ConfMode::Allow);
    let config = load(None, &environment, &[("policy.conf.mode", "deny")]).unwrap();
    assert_eq!(config.policy.conf.mode, ConfMode::Deny);
}

#[test]
fn texts_stay_texts() {
    for text in ["7", "007", "true", "1979-05-27", "{", "[x", "a = b", "x\ny"] {
        let config = load(None, &[("FIRESTEEL_SPARK__PYTHON", text.trim_end())], &[]);
        match text {
            "x\ny" => assert!(config.unwrap_err().contains("control characters")),
            _ => assert_eq!(config.unwrap().spark.python, text),
        }
    }
    assert_eq!(
        load(None, &[], &[("spark.python", "\"a b\"")])
            .unwrap()
            .spark
            .python,
        "a b"
    );
}

#[test]
fn lists_and_tables() {
    let config = load(
        None,
        &[("FIRESTEEL_FILES__ALLOW", "/a, /b/c,")],
        &[("server.hosts", "[\"x.org\"]")],
    )
    .unwrap();
    assert_eq!(config.files.allow, [PathBuf::from("/a"), PathBuf::from("/b/c")]);
    assert_eq!(config.server.hosts, ["x.org"]);
    assert!(
        load(None, &[("FIRESTEEL_SERVER__HOSTS", "")], &[])
            .unwrap()
            .server
            .hosts
            .is_empty()
    );

    let file = "[spark.conf]\nspark.ui.enabled = false\n\"spark.executor.cores\" = 2\nspark.executor.memory = \"2g\"";
    let sets = [
        ("spark.conf.spark.executor.memory", "4g"),
        ("spark.conf.spark.x", "1"),
    ];
    let config = load(
        Some(file),
        &[("FIRESTEEL_DRIVER__ENV__HADOOP_CONF_DIR", "/h")],
        &sets,
    )
    .unwrap();
    let conf: Vec<_> = config
        .spark
        .conf
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(
        conf,
        [
            "spark.executor.cores=2",
            "spark.executor.memory=4g",
            "spark.ui.enabled=false",
            "spark.x=1"
        ]
    );
    assert_eq!(config.driver.env["HADOOP_CONF_DIR"], "/h");
    let whole = [("FIRESTEEL_SPARK__CONF", "{ a.b = 1 }")];
    assert_eq!(
        load(Some(file), &whole, &[]).unwrap().spark.conf.0,
        [("a.b".into(), "1".into())].into()
    );
    let twice = file_error("[spark.conf]\n\"a.b\" = 1\na.b = 2");
    assert_eq!(twice, "FILE:1:1: spark.conf: a.b is there twice");
    assert_eq!(
        file_error("[spark]\nconf = 3"),
        "FILE:2:8: spark.conf: invalid type: integer `3`, expected a table"
    );
}

#[test]
fn errors_of_the_file_have_line_and_column() {
    assert_eq!(
        file_error("[server]\nworkers = \"eighty\""),
        "FILE:2:11: server.workers: invalid type: string \"eighty\", expected a whole number, 0 or more"
    );
    assert_eq!(
        file_error("[session]\n\n  idle_timeuot = '1h'"),
        "FILE:3:3: unknown key `session.idle_timeuot`, did you mean `session.idle_timeout`?"
    );
    assert_eq!(
        file_error("[sesion]\nttl = '1h'"),
        "FILE:1:2: unknown key `sesion`, did you mean `session`?"
    );
    assert_eq!(
        file_error("idle_timeout = '1h'"),
        "FILE:1:1: unknown key `idle_timeout`, did you mean `session.idle_timeout`?"
    );
    assert_eq!(
        file_error("[policy.cnf]"),
        "FILE:1:9: unknown key `policy.cnf`, did you mean `policy.conf`?"
    );
    assert_eq!(
        file_error("[nothing-like-it]"),
        "FILE:1:2: unknown key `nothing-like-it`"
    );
    assert_eq!(
        file_error("[session]\nttl = 60"),
        "FILE:2:7: session.ttl: invalid type: integer `60`, expected a duration with its unit in quotes, such as \"10m\""
    );
    assert!(
        file_error("[session]\nttl = '60'")
            .starts_with("FILE:2:7: session.ttl: \"60\" is no duration: a number")
    );
    assert!(file_error("[log]\nmax_bytes = '16'").starts_with("FILE:2:13: log.max_bytes: \"16\" is no size"));
    assert!(file_error("[log]\nformat = 'xml'").contains("unknown variant `xml`, expected `text` or `json`"));
    assert!(file_error("server = 3").starts_with("FILE:1:10: server: invalid type: integer `3`"));
    let broken = file_error("[server]\nlisten = ");
    assert!(broken.starts_with("FILE:2:10: not valid TOML: "), "{broken}");
    let missing = Config::load(Sources {
        file: Some("/no/such.toml".into()),
        ..Sources::default()
    })
    .unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("/no/such.toml: cannot be read: No such file")
    );
}

#[test]
fn errors_of_environment_and_flags_name_them() {
    let variable = |name: &str, value: &str| load(None, &[(name, value)], &[]).unwrap_err();
    assert_eq!(
        variable("FIRESTEEL_SERVER__LISTEN", "everywhere"),
        "environment variable FIRESTEEL_SERVER__LISTEN: server.listen: \"everywhere\" is no address with a port, such as \
         \"127.0.0.1:8998\" or \"[::1]:8998\""
    );
    assert_eq!(
        variable("FIRESTEEL_SERVER_LISTEN", "x"),
        "environment variable FIRESTEEL_SERVER_LISTEN: unknown key `server_listen`, did you mean `FIRESTEEL_SERVER__LISTEN`?"
    );
    assert!(variable("FIRESTEEL_SPARK__CONF__A", "x").contains("unknown key `spark.conf.a`"));
    assert!(
        variable("FIRESTEEL_LIMITS__SESSIONS", "7.5")
            .contains("FIRESTEEL_LIMITS__SESSIONS: limits.sessions: invalid type")
    );
    assert!(variable("FIRESTEEL_SERVER__FORWARDED", "yes").ends_with("expected `true` or `false`"));
    assert!(variable("FIRESTEEL_SERVER__HOSTS", "[1]").contains("server.hosts[0]"));
    let set = |key: &str, value: &str| load(None, &[], &[(key, value)]).unwrap_err();
    assert_eq!(
        set("session.ttk", "1h"),
        "--set session.ttk: unknown key `session.ttk`, did you mean `session.ttl`?"
    );
    assert!(
        set("session.ttl", "soon").starts_with("--set session.ttl: session.ttl: \"soon\" is no duration")
    );
    assert!(
        set("server.listen", "0.0.0.0:80").starts_with("--listen: server.listen: 0.0.0.0:80 can be reached")
    );
}

#[test]
fn reserved_variables_are_no_errors() {
    let names = [
        ("FIRESTEEL_URL", "http://x"),
        ("FIRESTEEL_USER", "x"),
        ("FIRESTEEL_TOKEN", "x"),
        ("FIRESTEEL_CONFIG", "x"),
        ("FIRESTEEL_TEST_SPARK", "x"),
        ("FIRESTEEL_DRIVER_ID", "x"),
        ("FIRESTEEL_KEEPER_PID", "1"),
        ("FIRESTEEL_SERVICE_HOST", "10.0.0.1"),
        ("FIRESTEEL_SERVICE_PORT_HTTP", "8998"),
        ("FIRESTEEL_PORT", "tcp://10.0.0.1:8998"),
        ("FIRESTEEL_PORT_8998_TCP_ADDR", "10.0.0.1"),
        ("FIRESTEELX", "x"),
    ];
    load(None, &names, &[]).unwrap();
    assert!(load(None, &[("FIRESTEEL_PORT", "8998")], &[]).is_err());
}

#[test]
fn values_are_checked_against_one_another() {
    for (set, reason) in [
        (("server.listen", "0.0.0.0:1"), "access.mode = \"none\""),
        (("server.listen", "[::]:1"), "access.mode = \"none\""),
        (("server.base_path", "x"), "must start with `/`"),
        (("server.base_path", "/x/"), "must start with `/`"),
        (("server.base_path", "/"), "must start with `/`"),
        (("server.base_path", "/a/../b"), "must start with `/`"),
        (("server.hosts", "http://x"), "bare host name"),
        (("server.hosts", "x:80"), "bare host name"),
        (("server.workers", "0"), "at least 1"),
        (("session.start_timeout", "0s"), "longer than 0s"),
        (("session.watch_interval", "0s"), "longer than 0s"),
        (("statement.kept", "499"), "at least 500"),
        (("job.kept", "0"), "at least 1"),
        (("output.max_bytes", "40MiB"), "at least 82MiB"),
        (("link.max_frame", "4GiB"), "below 4GiB"),
        (("limits.request_body", "63MiB"), "does not fit"),
        (("link.max_frame", "16MiB"), "does not fit"),
        (("access.mode", "basic"), "needs a file of users"),
        (("files.allow", "relative"), "not an absolute path"),
        (("driver.oom_score_adj", "-1001"), "from -1000"),
        (("driver.background_nice", "20"), "from 0 to 19"),
        (("driver.env_pass", "A=B"), "no name of a variable"),
        (("policy.conf.deny", "a*b"), "at the end only"),
        (("sql.max_rows", "100001"), "max_rows_ceiling"),
        (("spark.local_ip", "here"), "no IP address"),
        (("spark.master", ""), "must not be empty"),
        (
            ("spark.deploy_mode", "cluster"),
            "spark.master = \"yarn\" or \"k8s://...\" only",
        ),
        (("cluster.poll_interval", "0s"), "longer than 0s"),
        (("cluster.max_answer", "1KiB"), "at least 64KiB"),
        (("cluster.yarn.resource_manager", "rm:8088"), "no address such as"),
        (("cluster.yarn.log_server", "history:19888"), "no address such as"),
        (("cluster.yarn.staging_timeout", "0s"), "must be longer than 0s"),
        (
            ("spark.history_server", "http://user@history:18080"),
            "no address such as",
        ),
        (("spark.history_server", "history"), "no address such as"),
        (("cluster.kubernetes.namespace", "Spark"), "no namespace's name"),
        (("cluster.kubernetes.kubeconfig", "x"), "not an absolute path"),
        (("cluster.kubernetes.ui_url", "spark"), "no address such as"),
        (("session.ttl", "11years"), "ten years"),
        (("server.tls.cert", "/x"), "needs both"),
        (("server.tls.key", "/x"), "needs both"),
        (("server.tls.cert", "x"), "not an absolute path"),
        (("server.tls.client_ca", "/x"), "set server.tls.cert"),
        (("server.tls.client_required", "true"), "server.tls.client_ca"),
        (("server.unix_socket", "x"), "not an absolute path"),
        (("access.mode", "token"), "alone lets nobody in"),
        (("access.mode", "proxy"), "access.proxy.peers"),
        (("access.token.age", "2years"), "access.token.max_age"),
        (("access.token.per_user", "0"), "from 1 to"),
        (("access.login.idle", "0s"), "longer than 0s"),
        (("access.proxy.header", "a b"), "no header's name"),
        (("access.proxy.groups_header", "a:b"), "no header's name"),
        (("access.proxy.peers", "a b"), "blanks"),
        (
            ("access.throttle.first_wait", "2m"),
            "access.throttle.longest_wait",
        ),
        (("access.throttle.user_delay", "1m"), "30s at most"),
    ] {
        let error = load(None, &[], &[set]).unwrap_err();
        assert!(error.contains(reason), "{set:?}: {error}");
    }
    for set in [
        ("session.ttl", "0s"),
        ("session.idle_timeout", "0s"),
        ("server.listen", "[::1]:0"),
        ("server.hosts", "[::1]"),
    ] {
        load(None, &[], &[set]).unwrap();
    }
    let basic = [
        ("access.mode", "basic"),
        ("access.basic_file", "/users"),
        ("server.listen", "0.0.0.0:1"),
    ];
    let plain = load(None, &[], &basic).unwrap_err();
    assert!(
        plain.contains("0.0.0.0:1") && plain.contains("plain HTTP"),
        "{plain}"
    );
    for more in [
        &[("server.plain_http", "true")][..],
        &[("server.tls.cert", "/x"), ("server.tls.key", "/y")][..],
    ] {
        load(None, &[], &[&basic[..], more].concat()).unwrap();
    }
    let file = "[server]\n\nlisten = '0.0.0.0:1'";
    assert!(file_error(file).starts_with("FILE:3:1: server.listen: 0.0.0.0:1 can be reached"));
}

#[test]
fn state_dir_follows_xdg() {
    let config = load(None, &[("XDG_STATE_HOME", "/var/state")], &[]).unwrap();
    assert_eq!(config.server.state_dir, PathBuf::from("/var/state/firesteel"));
    let config = load(
        None,
        &[("XDG_STATE_HOME", "relative")],
        &[("server.state_dir", "here")],
    )
    .unwrap();
    assert_eq!(
        config.server.state_dir,
        std::env::current_dir().unwrap().join("here")
    );
    assert!(
        Config::load(Sources::default())
            .unwrap_err()
            .to_string()
            .contains("neither XDG_STATE_HOME nor HOME")
    );
}

#[test]
fn the_example_of_the_reference_page_loads() {
    let page = reference();
    let example = page
        .split("## An example")
        .nth(1)
        .unwrap()
        .split("## Keys")
        .next()
        .unwrap();
    let config = load(Some(&example.replace("\n    ", "\n")), &[], &[]).unwrap();
    assert_eq!(config.spark.conf["spark.sql.shuffle.partitions"], "64");
}

#[test]
fn sizes_and_durations_read_back() {
    for text in ["0B", "1B", "1KiB", "16MiB", "1536KiB", "1000B", "1TiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    assert_eq!("1.5MiB".parse::<Size>().unwrap(), Size::kib(1536));
    assert_eq!("500kB".parse::<Size>().unwrap().bytes(), 500_000);
    assert_eq!("1h 30m".parse::<Span>().unwrap(), Span::secs(5400));
    for text in ["", "-1s", "5", "m", "9999999999999999999h"] {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }
    for text in ["", "-1B", "5", "5XB", "9999999999999TiB"] {
        assert!(text.parse::<Size>().is_err(), "{text}");
    }
}

#[test]
fn submits_to_kubernetes_are_the_servers() {
    let cluster = [
        ("spark.master", "k8s://127.0.0.1:6443"),
        ("spark.deploy_mode", "cluster"),
    ];
    let config = load(None, &[], &cluster).unwrap();
    let api = config.spark.kubernetes_api();
    assert_eq!(api.as_deref(), Some("https://127.0.0.1:6443"));
    assert_eq!(config.kubernetes_namespace(), "default");
    let owner = [
        ("access.mode", "proxy"),
        ("access.proxy.peers", "127.0.0.1"),
        ("run_as.mode", "owner"),
    ];
    let error = load(None, &[], &[&cluster[..], &owner[..]].concat()).unwrap_err();
    assert!(error.contains("is not for drivers in Kubernetes"), "{error}");
}
