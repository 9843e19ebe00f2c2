use super::*;

fn of(base: Option<&str>) -> Staging {
    Staging {
        base: base.map(str::to_owned),
        ..Staging::default()
    }
}

#[test]
fn only_an_applications_own_directory_is_named() {
    let id = "application_1795898565022_0001";
    let path = |base| of(base).path(id, "ada");
    assert_eq!(path(None).unwrap(), format!(".sparkStaging/{id}"));
    assert_eq!(
        path(Some("s3a://bucket/x/")).unwrap(),
        format!("s3a://bucket/x/ada/.sparkStaging/{id}")
    );
    for base in ["hdfs:///user/*", "/a/{b,c}", "/a?", "/[a]", "-r", "/a\\b"] {
        assert_eq!(path(Some(base)), None, "{base}");
    }
    for user in ["", "..", "a/b", "*"] {
        assert_eq!(of(Some("/x")).path(id, user), None, "{user}");
    }
    for id in [
        "",
        "application_1_",
        "application_1_2/..",
        "application_*_1",
        "job_1_2",
        "application_1",
    ] {
        assert_eq!(of(None).path(id, "ada"), None, "{id}");
    }
}

#[test]
fn one_shell_is_one_users() {
    let other = Staging {
        proxy_user: Some("ada".to_owned()),
        ..Staging::default()
    };
    assert!(of(None).is_like(&of(Some("/x"))));
    assert!(!of(None).is_like(&other));
}

#[test]
fn what_requests_say_is_text_in_the_file() {
    let conf = [("fs.x".to_owned(), "</value>&".to_owned())].into();
    assert!(site(&conf).contains("<value>&lt;/value&gt;&amp;</value>"));
}

#[test]
fn what_is_noted_is_found_unless_its_user_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let made = |name: &str, conf: &[(&str, &str)]| {
        let run_dir = RunDir::create(directory.path().join(name)).unwrap();
        let conf = conf
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Staging::note(&run_dir, &DriverSpec::default(), &conf, Some("ada")).unwrap();
        Staging::of(&run_dir)
    };
    let noted = made(
        "a",
        &[("spark.hadoop.fs.s3a.endpoint", "x"), ("spark.yarn.queue", "q")],
    )
    .unwrap();
    assert_eq!(
        noted.hadoop,
        [("fs.s3a.endpoint".to_owned(), "x".to_owned())].into()
    );
    assert_eq!(noted.proxy_user.as_deref(), Some("ada"));
    assert_eq!(made("b", &[("spark.yarn.preserve.staging.files", "true")]), None);
}

#[test]
fn a_shell_that_does_not_end_is_ended() {
    let child = |script: &str| {
        use std::os::unix::process::CommandExt as _;
        std::process::Command::new("sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap()
    };
    let long = Duration::from_secs(60);
    assert_eq!(wait(child("exit 0"), long, || false), Ok(()));
    let failed = wait(
        child("echo WARN x >&2; echo 'rm: no' >&2; echo more; exit 1"),
        long,
        || false,
    );
    assert_eq!(failed, Err("rm: no".to_owned()));
    let slow = wait(child("sleep 600 & sleep 600"), Duration::from_millis(100), || {
        false
    });
    assert!(slow.unwrap_err().contains("staging_timeout"));
    let over = wait(child("sleep 600"), long, || true);
    assert_eq!(over, Err("the server stops".to_owned()));
}
