use proptest::prelude::*;

use super::*;
use crate::background::Background;

pub(super) async fn credentials(dir: &tempfile::TempDir) -> Credentials {
    let file = dir.path().join("firesteel.db");
    let store = Store::open(&file, &crate::config::Store::default(), &Background::new()).await;
    Credentials::open(&store.unwrap()).await.unwrap()
}

pub(super) fn new(kind: Kind, most: usize) -> New {
    New {
        kind,
        owner: "ada".to_owned(),
        groups: vec!["staff".to_owned()],
        way: AccessMode::Basic,
        label: Some("nightly".to_owned()),
        expires: now_ms() + 60_000,
        most,
    }
}

pub(super) fn token() -> Kind {
    Kind::Token("read".parse().unwrap())
}

pub(super) const IDLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn found_by_its_text_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let held = credentials(&dir).await;
    let (text, made) = held.make(new(token(), 5)).await.unwrap();
    assert!(
        text.starts_with(TOKEN_PREFIX) && text.len() == TOKEN_PREFIX.len() + 54,
        "{text}"
    );
    assert_eq!(held.token(&text).unwrap().id, made.id);
    for at in 0..text.len() {
        let mut other = text.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert!(held.token(&other).is_none(), "{at}");
    }
    for other in [
        "",
        "fst_",
        &text[4..],
        &text[..57],
        &format!("{text}A"),
        &format!("{text}="),
    ] {
        assert!(held.token(other).is_none(), "{other}");
    }
    assert!(held.login(&text[4..], IDLE).is_none(), "a token is no login");
}

#[tokio::test]
async fn kept_by_the_store_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (text, made) = credentials(&dir).await.make(new(token(), 5)).await.unwrap();
    let again = credentials(&dir).await;
    let found = again.token(&text).unwrap();
    assert_eq!(
        (
            &found.owner,
            &found.groups,
            &found.kind,
            &found.label,
            found.expires
        ),
        (&made.owner, &made.groups, &made.kind, &made.label, made.expires)
    );
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let secret = BASE64_URL_SAFE_NO_PAD.decode(&text[4..]).unwrap();
        for needle in [
            text.as_bytes(),
            &secret[NAME_BYTES..],
            hex(&secret[NAME_BYTES..]).as_bytes(),
        ] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }
    again.end(&made.id).await.unwrap();
    assert!(again.token(&text).is_none());
    assert!(credentials(&dir).await.token(&text).is_none());
}

#[tokio::test]
async fn bounded_for_each_user() {
    let dir = tempfile::tempdir().unwrap();
    let held = credentials(&dir).await;
    held.make(new(token(), 2)).await.unwrap();
    held.make(new(token(), 2)).await.unwrap();
    assert!(matches!(held.make(new(token(), 2)).await, Err(NotMade::Full(2))));
    let mut logins = Vec::new();
    for _ in 0..3 {
        logins.push(held.make(new(Kind::Login(None), 2)).await.unwrap().0);
    }
    let counting: Vec<bool> = logins
        .iter()
        .map(|text| held.login(text, IDLE).is_some())
        .collect();
    assert_eq!(counting, [false, true, true]);
    assert_eq!(held.tokens().len(), 2);
}

#[tokio::test]
async fn ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let held = credentials(&dir).await;
    let past = |kind| New {
        expires: now_ms(),
        ..new(kind, 9)
    };
    let (text, _) = held.make(past(token())).await.unwrap();
    assert!(held.token(&text).is_none() && held.tokens().is_empty());
    let (text, _) = held.make(new(Kind::Login(None), 9)).await.unwrap();
    assert!(held.login(&text, IDLE).is_some());
    assert!(held.login(&text, Duration::ZERO).is_none(), "idle");
}

/// Coarse: the time of a look does not tell how much of the secret was right (S18). What is compared are hashes, so no prefix is.
#[tokio::test]
async fn a_look_takes_as_long_for_a_near_miss_as_for_a_far_one() {
    let dir = tempfile::tempdir().unwrap();
    let held = credentials(&dir).await;
    let (text, _) = held.make(new(token(), 5)).await.unwrap();
    let mut near = text.clone();
    near.replace_range(50..54, "AAAA");
    let mut far = text.clone();
    far.replace_range(16..54, &"A".repeat(38));
    let unknown = format!("{TOKEN_PREFIX}{}", "A".repeat(54));
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..2_000 {
        for (at, text) in [&near, &far, &unknown].into_iter().enumerate() {
            let begun = Instant::now();
            for _ in 0..5 {
                assert!(held.token(text).is_none());
            }
            times[at].push(begun.elapsed());
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos()
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(most * 2 <= least * 3, "{medians:?} ns");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// Whatever stands for a token or in a cookie, it is nobody's.
    #[test]
    fn any_text_is_looked_up(texts in prop::collection::vec(prop_oneof![".{0,80}", "(fst_)?[A-Za-z0-9_-]{50,56}"], 100)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let held = credentials(&dir).await;
            held.make(new(token(), 5)).await.unwrap();
            held.make(new(Kind::Login(None), 5)).await.unwrap();
            for text in &texts {
                assert!(held.token(text).is_none() && held.login(text, IDLE).is_none(), "{text}");
            }
        });
    }
}
