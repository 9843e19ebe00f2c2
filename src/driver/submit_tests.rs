use proptest::prelude::*;

use super::*;

fn spark() -> Spark {
    Spark {
        home: "/spark".into(),
        python: "python3".into(),
        version: None,
        chosen_by: "a test".to_owned(),
    }
}

proptest! {
    /// Whatever a value holds (this reader knows no surrogate pairs, Java does), Java reads the same value back, and nothing of it becomes another key.
    #[test]
    fn properties_come_back(conf in prop::collection::btree_map("[\u{1}-\u{d7ff}]+", "[\u{1}-\u{d7ff}]*", 0..8)) {
        let text = properties(&conf);
        prop_assert!(text.is_ascii());
        let mut read = BTreeMap::new();
        java_properties::PropertiesIter::new(text.as_bytes())
            .read_into(|key, value| drop(read.insert(key, value)))
            .unwrap();
        prop_assert_eq!(read, conf);
    }
}

#[test]
fn a_proxy_user_that_looks_like_an_option_stays_a_value() {
    let spec = DriverSpec {
        proxy_user: Some("--class".into()),
        ..DriverSpec::default()
    };
    let argv = argv(
        &spark(),
        &spec,
        Path::new("/r/p"),
        &["/a/main.py".into(), "/r".into()],
        hadoop_user(&Config::default(), &spec),
    );
    let expected = [
        "/spark/bin/spark-submit",
        "--properties-file",
        "/r/p",
        "--proxy-user",
        "--class",
        "/a/main.py",
        "/r",
    ];
    assert_eq!(argv, expected);
}

#[test]
fn for_whom_a_driver_acts() {
    let of = |config: &Config, proxy: Option<&str>, user: Option<&str>| {
        let spec = DriverSpec {
            proxy_user: proxy.map(str::to_owned),
            user: user.map(str::to_owned),
            ..DriverSpec::default()
        };
        hadoop_user(config, &spec).map(str::to_owned)
    };
    let mut config = Config::default();
    assert_eq!(of(&config, None, Some("ada")), None);
    assert_eq!(of(&config, Some("bob"), Some("ada")), Some("bob".to_owned()));
    for set in [
        |config: &mut Config| config.hadoop.proxy_user = true,
        |config: &mut Config| config.hadoop.keytab = "/k".into(),
    ] {
        let mut config = config.clone();
        set(&mut config);
        assert_eq!(of(&config, None, Some("ada")), Some("ada".to_owned()));
        assert_eq!(of(&config, Some("bob"), Some("ada")), Some("bob".to_owned()));
        assert_eq!(of(&config, None, None), None);
    }
    config.run_as.mode = RunAsMode::Owner;
    assert_eq!(of(&config, Some("bob"), Some("ada")), None);
}

#[test]
fn directories_and_tickets_are_the_servers_word() {
    let mut config = Config::default();
    let given = [
        ("SPARK_CONF_DIR", "/x"),
        ("HADOOP_CONF_DIR", "/x"),
        ("KRB5CCNAME", "/x"),
    ];
    config.driver.env = crate::config::TextMap(
        given
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    );
    let spec = DriverSpec {
        conf_dirs: Some(ConfDirs {
            spark: Some("/s".into()),
            hadoop: Some("/h".into()),
        }),
        ..DriverSpec::default()
    };
    let environment = environment(
        &config,
        &spark(),
        &spec,
        uuid::Uuid::nil(),
        &Jvm {
            work: Path::new("/run/work"),
            conf: &BTreeMap::new(),
            class_archive: None,
            identity: None,
            ticket: Some(Path::new("/state/krb5cc")),
        },
        |name| (name == "YARN_CONF_DIR").then(|| "/y".to_owned()),
    );
    assert_eq!(environment["SPARK_CONF_DIR"], "/s");
    assert_eq!(environment["HADOOP_CONF_DIR"], "/h");
    assert_eq!(environment["KRB5CCNAME"], "/state/krb5cc");
    assert!(!environment.contains_key("YARN_CONF_DIR"));
}

#[test]
fn fields_win_over_conf_and_lists_are_joined() {
    let spec = DriverSpec {
        conf: BTreeMap::from([
            ("spark.driver.memory".into(), "1g".into()),
            ("spark.jars".into(), "/b.jar".into()),
            ("spark.master".into(), "yarn".into()),
        ]),
        resources: Resources {
            driver_memory: Some("2g".into()),
            jars: vec!["/a.jar".into()],
            ..Resources::default()
        },
        ..DriverSpec::default()
    };
    let defaults = BTreeMap::from([("spark.ui.enabled".to_owned(), "false".to_owned())]);
    let conf = conf(&Config::default(), &spec, &defaults, Path::new("/run/work"));
    assert_eq!(conf["spark.driver.memory"], "2g");
    assert_eq!(conf["spark.jars"], "/a.jar,/b.jar");
    assert_eq!(conf["spark.master"], "local[*]");
    assert_eq!(conf["spark.ui.enabled"], "false");
    assert_eq!(conf["spark.ui.port"], "0");
    assert_eq!(conf["spark.local.dir"], "/run/work");
}

#[test]
fn only_listed_variables_reach_a_driver() {
    let server = |name: &str| match name {
        "PATH" => Some("/bin".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("canary".to_owned()),
        _ => None,
    };
    let environment = environment(
        &Config::default(),
        &spark(),
        &DriverSpec::default(),
        uuid::Uuid::nil(),
        &Jvm {
            work: Path::new("/run/work"),
            conf: &BTreeMap::new(),
            class_archive: None,
            identity: None,
            ticket: None,
        },
        server,
    );
    let names: Vec<&str> = environment.keys().map(String::as_str).collect();
    let expected = [
        "FIRESTEEL_DRIVER_ID",
        "PATH",
        "PYSPARK_DRIVER_PYTHON",
        "PYSPARK_PYTHON",
        "SPARK_HOME",
        "SPARK_LOCAL_IP",
        "SPARK_SUBMIT_OPTS",
        "TMPDIR",
    ];
    assert_eq!(names, expected);
}
