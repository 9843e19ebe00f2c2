use std::os::unix::fs::PermissionsExt as _;

use super::super::{passwd, set_password};
use super::*;

/// Lets the next question look at the file without waiting for its second.
fn due(file: &BasicFile) {
    locked(&file.users).looked = Instant::now().checked_sub(LOOK_EVERY).unwrap();
}

fn bcrypt_line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
}

#[test]
fn right_and_wrong_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    set_password(&path, "ada", "engine: 1").unwrap();
    let mut text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("ada:$argon2id$"));
    let y = bcrypt::hash_with_result("bcrypt", 4)
        .unwrap()
        .format_for_version(bcrypt::Version::TwoY);
    text.push_str(&format!("# a comment\n\n  bob : {y}\r\n"));
    std::fs::write(&path, text).unwrap();
    let file = BasicFile::open(&path, Duration::from_secs(60)).unwrap();
    assert!(file.verify("ada", "engine: 1") && file.verify("bob", "bcrypt"));
    for (user, password) in [
        ("ada", "engine"),
        ("ada", ""),
        ("ada", "bcrypt"),
        ("bob", "engine: 1"),
        ("Ada", "engine: 1"),
        ("", "engine: 1"),
        ("eve", "bcrypt"),
        ("ada ", "engine: 1"),
        ("# a comment", ""),
        ("ada", &"x".repeat(1025)),
    ] {
        assert!(!file.verify(user, password), "{user:?} {password:?}");
        assert_ne!(
            file.verify_cached(user, password),
            Some(true),
            "{user:?} {password:?}"
        );
    }
}

#[test]
fn remembered_until_it_expires_or_the_line_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, bcrypt_line("ada", "one") + &bcrypt_line("bob", "two")).unwrap();
    let file = BasicFile::open(&path, Duration::from_secs(60)).unwrap();
    assert_eq!(file.verify_cached("ada", "one"), None);
    assert!(file.verify("ada", "one") && file.verify("bob", "two"));
    assert_eq!(file.verify_cached("ada", "one"), Some(true));
    assert_eq!(file.verify_cached("ada", "two"), None);
    assert_eq!(file.verify_cached("bob", "two"), Some(true));

    set_password(&path, "ada", "three").unwrap();
    due(&file);
    assert_eq!(file.verify_cached("ada", "one"), None);
    assert!(!file.verify("ada", "one") && file.verify("ada", "three"));
    assert_eq!(
        file.verify_cached("bob", "two"),
        Some(true),
        "another's line is as it was"
    );

    std::fs::remove_file(&path).unwrap();
    due(&file);
    assert_eq!(file.verify_cached("bob", "two"), None);
    assert!(!file.verify("bob", "two"));
    std::fs::write(&path, bcrypt_line("bob", "two")).unwrap();
    due(&file);
    assert!(file.verify("bob", "two"));

    file.remembered.expire();
    assert_eq!(file.verify_cached("bob", "two"), None);
    let never = BasicFile::open(&path, Duration::ZERO).unwrap();
    assert!(never.verify("bob", "two"));
    assert_eq!(never.verify_cached("bob", "two"), None);
}

#[test]
fn a_change_in_place_counts_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, bcrypt_line("ada", "one")).unwrap();
    let file = BasicFile::open(&path, Duration::from_secs(60)).unwrap();
    assert!(file.verify("ada", "one"));
    std::fs::write(&path, bcrypt_line("ada", "two")).unwrap();
    std::thread::sleep(LOOK_EVERY);
    assert!(!file.verify("ada", "one") && file.verify("ada", "two"));
}

#[test]
fn lines_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    let good = bcrypt_line("ada", "one");
    let hash = good.trim().split_once(':').unwrap().1.to_owned();
    let argon = passwd::hash("x").unwrap();
    for (line, reason) in [
        ("ada".to_owned(), "not a `name:hash` line"),
        ("ada:plain".to_owned(), "not argon2id or bcrypt"),
        (
            "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(),
            "not argon2id or bcrypt",
        ),
        ("ada:$apr1$x$y".to_owned(), "not argon2id or bcrypt"),
        (
            format!("ada:{}", argon.replace("argon2id", "argon2i")),
            "not argon2id or bcrypt",
        ),
        (
            format!("ada:{}", argon.replace("m=19456", "m=4194304")),
            "too costly",
        ),
        (format!("ada:{}", hash.replace("$04$", "$31$")), "too costly"),
        ("ada:$2b$04$short".to_owned(), "not a valid bcrypt hash"),
        ("ada:$argon2id$v=19$m=1".to_owned(), "not a valid argon2id hash"),
        (format!("-ada:{hash}"), "not a user's name"),
        (format!(":{hash}"), "not a user's name"),
        (format!("bob:{hash}\nbob:{hash}"), "twice"),
    ] {
        std::fs::write(&path, format!("# users\n{line}\n")).unwrap();
        let error = BasicFile::open(&path, Duration::ZERO).unwrap_err().to_string();
        assert!(
            error.contains(reason) && !error.contains("$2b$"),
            "{line}: {error}"
        );
        assert!(
            error.contains("users:2: ") || error.contains("users:3: "),
            "{error}"
        );
        // While the server runs, the other lines go on.
        std::fs::write(&path, bcrypt_line("carol", "x")).unwrap();
        let file = BasicFile::open(&path, Duration::ZERO).unwrap();
        std::fs::write(&path, format!("{line}\n{}", bcrypt_line("carol", "y"))).unwrap();
        due(&file);
        assert!(file.verify("carol", "y") && !file.verify("carol", "x"), "{line}");
        assert!(!file.verify("bob", "one"));
    }
    assert!(BasicFile::open(Path::new("/no/such"), Duration::ZERO).is_err());
}

#[test]
fn unknown_users_cost_the_same_and_always_against_the_same_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, bcrypt_line("ada", "one") + &bcrypt_line("bob", "two")).unwrap();
    let file = BasicFile::open(&path, Duration::ZERO).unwrap();
    let (known, hash) = file.hash_of("eve");
    assert!(!known && is_bcrypt(&hash));
    assert_eq!(file.hash_of("eve"), (false, hash));
    // The password of the line that stands in lets nobody in.
    assert!(!file.verify("eve", "one") && !file.verify("eve", "two"));
    std::fs::write(&path, "").unwrap();
    let empty = BasicFile::open(&path, Duration::ZERO).unwrap();
    assert_eq!(empty.hash_of("eve"), (false, DECOY.to_owned()));
    assert_eq!(acceptable(DECOY), Ok(()));
    let cost = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
    assert_eq!(cost(DECOY), cost(&passwd::hash("x").unwrap()));
}

#[test]
fn passwd_keeps_other_lines_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("users");
    let path = dir.path().join("link");
    std::fs::write(&real, "# first\nada:old\nbroken\nada:older\nbob:x").unwrap();
    std::os::unix::fs::symlink("users", &path).unwrap();
    std::fs::write(dir.path().join(".users.new"), "left over").unwrap();
    set_password(&path, "ada", "new").unwrap();
    set_password(&path, "carol", "new").unwrap();
    let text = std::fs::read_to_string(&real).unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.get(..9).unwrap_or(line)).collect();
    assert_eq!(lines, ["# first", "ada:$argo", "broken", "bob:x", "carol:$ar"]);
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(path.is_symlink());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);

    for user in ["", "a:b", "-x", "a\nb"] {
        assert!(matches!(
            set_password(&path, user, "x"),
            Err(BasicFileError::User)
        ));
    }
    assert!(matches!(
        set_password(&path, "ada", ""),
        Err(BasicFileError::Password)
    ));
    assert!(set_password(&dir.path().join("no/such"), "ada", "x").is_err());
    assert_eq!(std::fs::read_to_string(&real).unwrap(), text);
}

#[test]
fn two_runs_of_passwd_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || set_password(path, &format!("user{number}"), "x").unwrap());
        }
    });
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 8);
}
