use proptest::prelude::*;

use super::*;
use crate::config::{ListMap, TextMap};

type Conf = BTreeMap<String, String>;

fn conf(entries: &[(&str, &str)]) -> Conf {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn rule(text: &str) -> PolicyRule {
    toml::from_str(text).unwrap()
}

fn rules(texts: &[(&str, &str)]) -> BTreeMap<String, PolicyRule> {
    texts
        .iter()
        .map(|(name, text)| ((*name).to_owned(), rule(text)))
        .collect()
}

/// What all rules make of a conf: the conf and the notes, or the refusal.
fn made(all: &BTreeMap<String, PolicyRule>, entries: &[(&str, &str)]) -> Result<(Conf, Vec<String>), String> {
    settled(all, conf(entries), &Conf::new())
}

fn settled(
    all: &BTreeMap<String, PolicyRule>,
    mut conf: Conf,
    below: &Conf,
) -> Result<(Conf, Vec<String>), String> {
    let rules = Rules::of(all, Some("ada"), &["staff".to_owned()]);
    let mut asked = Asked {
        conf: &mut conf,
        lists: Vec::new(),
    };
    let text = |rejection: Rejection| rejection.to_string();
    rules.check(&asked).map_err(text)?;
    let notes = rules.settle(&mut asked, below).map_err(text)?;
    Ok((conf, notes))
}

#[test]
fn for_whom_a_rule_is() {
    let all = rules(&[
        ("everybody", ""),
        ("ada", "users = ['ada']"),
        ("bob", "users = ['bob']"),
        ("staff", "groups = ['staff']"),
        ("others", "groups = ['others'] \n users = ['Ada']"),
    ]);
    let of = |user: Option<&str>, groups: &[&str]| -> Vec<String> {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let rules = Rules::of(&all, user, &groups).rules;
        rules.iter().map(|(name, _)| (*name).to_owned()).collect()
    };
    assert_eq!(of(Some("ada"), &["staff"]), ["ada", "everybody", "staff"]);
    assert_eq!(of(Some("bob"), &["others"]), ["bob", "everybody", "others"]);
    assert_eq!(of(None, &[]), ["everybody"]);
}

#[test]
fn deny_and_values_refuse() {
    let all = rules(&[(
        "a",
        "deny = ['spark.x*', 'spark.kerberos.keytab'] \n values = {'spark.serializer' = ['a', 'b']}",
    )]);
    assert_eq!(
        made(
            &all,
            &[("spark.xy", "1"), ("spark.yarn.keytab", "/k"), ("spark.z", "1")]
        )
        .unwrap_err(),
        "Blacklisted configuration values in session config: spark.xy, spark.yarn.keytab"
    );
    assert!(made(&all, &[("serializer", "a"), ("spark.serializer", "b")]).is_ok());
    assert_eq!(
        made(&all, &[("spark.serializer", "c")]).unwrap_err(),
        "spark.serializer: \"c\" is not among a, b (policy.rule.a)."
    );
    assert!(made(&all, &[("SPARK.Serializer", "c")]).is_err());
}

#[test]
fn fields_with_files_are_under_the_rules() {
    let all = rules(&[("a", "deny = ['spark.jars'] \n force = {'spark.files' = '/f'}")]);
    let rules = Rules::of(&all, None, &[]);
    let (mut jars, mut files) = (vec!["/a.jar".to_owned()], vec!["/b".to_owned()]);
    let mut own = Conf::new();
    let mut asked = Asked {
        conf: &mut own,
        lists: vec![("spark.jars", &mut jars), ("spark.files", &mut files)],
    };
    assert!(matches!(rules.check(&asked), Err(Rejection::Conf(keys)) if keys == ["spark.jars"]));
    let notes = rules.settle(&mut asked, &Conf::new()).unwrap();
    assert_eq!(
        notes,
        ["spark.files is /f, whatever is asked for (policy.rule.a.force)."]
    );
    assert_eq!(own, conf(&[("spark.files", "/f")]));
    assert!(files.is_empty());
}

#[test]
fn default_force_and_cap_settle() {
    let all = rules(&[
        (
            "b",
            "default = {'spark.d' = 'b', 'spark.e' = '1'} \n force = {'spark.f' = 'b'}",
        ),
        (
            "a",
            "default = {'spark.d' = 'a'} \n force = {'spark.f' = 'a'} \n cap = {'spark.driver.memory' = '8g', 'spark.e' = '4'}",
        ),
        ("c", "cap = {'spark.driver.*' = '4g'}"),
    ]);
    let (own, notes) = made(
        &all,
        &[
            ("spark.driver.memory", "16384"),
            ("spark.f", "x"),
            ("spark.e", "5"),
        ],
    )
    .unwrap();
    assert_eq!(
        own,
        conf(&[
            ("spark.d", "a"),
            ("spark.driver.memory", "4g"),
            ("spark.e", "4"),
            ("spark.f", "a")
        ])
    );
    assert_eq!(
        notes,
        [
            "spark.f is a, whatever is asked for (policy.rule.a.force).",
            "spark.driver.memory is 8g instead of 16384: that is the most (policy.rule.a.cap).",
            "spark.e is 4 instead of 5: that is the most (policy.rule.a.cap).",
            "spark.driver.memory is 4g instead of 8g: that is the most (policy.rule.c.cap).",
        ]
    );
    let (own, notes) = made(&all, &[]).unwrap();
    assert_eq!(own, conf(&[("spark.d", "a"), ("spark.e", "1"), ("spark.f", "a")]));
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn caps_hold_for_what_all_sessions_start_from() {
    let all = rules(&[(
        "a",
        "cap = {'spark.executor.memoryOverhead' = '1g', 'spark.driver.maxResultSize' = '1g'}",
    )]);
    let below = conf(&[
        ("spark.yarn.executor.memoryOverhead", "2048"),
        ("spark.other", "9g"),
    ]);
    let (own, _) = settled(&all, Conf::new(), &below).unwrap();
    assert_eq!(own, conf(&[("spark.yarn.executor.memoryOverhead", "1g")]));
    let (own, _) = settled(&all, conf(&[("spark.executor.memoryOverhead", "512")]), &below).unwrap();
    assert_eq!(own, conf(&[("spark.executor.memoryOverhead", "512")]));
    for endless in ["0", "0b", "00"] {
        let (own, _) = made(&all, &[("spark.driver.maxResultSize", endless)]).unwrap();
        assert_eq!(own["spark.driver.maxResultSize"], "1g");
    }
}

#[test]
fn what_is_no_amount_is_refused() {
    let all = rules(&[(
        "a",
        "cap = {'spark.driver.memory' = '8g', 'spark.network.timeout' = '10min'}",
    )]);
    assert_eq!(
        made(&all, &[("spark.driver.memory", "${spark.x}")]).unwrap_err(),
        "spark.driver.memory: \"${spark.x}\" can't be compared with 8g, which is the most; write it as that is written \
         (policy.rule.a)."
    );
    for value in ["600", "lots", "-1s", "", "1e3s"] {
        assert!(
            made(&all, &[("spark.network.timeout", value)]).is_err(),
            "{value}"
        );
    }
    assert!(made(&all, &[("spark.network.timeout", "600s")]).is_ok());
}

#[test]
fn secrets_stay_out_of_the_log() {
    let all = rules(&[("a", "force = {'spark.hadoop.fs.s3a.secret.key' = 'canary'}")]);
    let (own, notes) = made(&all, &[("spark.hadoop.fs.s3a.secret.key", "mine")]).unwrap();
    assert_eq!(own["spark.hadoop.fs.s3a.secret.key"], "canary");
    assert!(
        !notes[0].contains("canary") && !notes[0].contains("mine"),
        "{notes:?}"
    );
}

#[test]
fn a_profile_can_be_chosen_for_them() {
    let key = "firesteel.profile";
    let all = rules(&[("a", "default = {'firesteel.profile' = 'small'}")]);
    let mut own = Conf::new();
    Rules::of(&all, None, &[]).choose(&mut own, key);
    assert_eq!(own[key], "small");
    let mut own = conf(&[(key, "big")]);
    Rules::of(&all, None, &[]).choose(&mut own, key);
    assert_eq!(own[key], "big");
    let all = rules(&[("a", "force = {'firesteel.profile' = 'small'}")]);
    Rules::of(&all, None, &[]).choose(&mut own, key);
    assert_eq!(own[key], "small");
}

#[test]
fn caps_that_can_t_hold_together_are_refused() {
    let rule = |most| PolicyRule {
        cap: TextMap(conf(&[("spark.driver.memory", most)])),
        ..PolicyRule::default()
    };
    let all = BTreeMap::from([("a".to_owned(), rule("4g")), ("b".to_owned(), rule("10min"))]);
    // Read as minutes that is over the second one, which is no amount of memory.
    let refused = settled(&all, conf(&[("spark.driver.memory", "512m")]), &Conf::new());
    assert!(refused.is_err_and(|why| why.contains("\"10min\" can't be compared with 4g")));
}

const KEYS: &[&str] = &[
    "spark.driver.memory",
    "SPARK.driver.MEMORY",
    "driver.memory",
    "spark.executor.memoryOverhead",
    "spark.yarn.executor.memoryOverhead",
    "spark.kerberos.keytab",
    "spark.yarn.keytab",
    "spark.a",
    "spark.ab",
    "b",
];
const AMOUNTS: &[&str] = &[
    "1g",
    "8g",
    "512m",
    "1024",
    "9",
    "0",
    "16G",
    "1t",
    "x",
    "",
    "-1",
    "1.5",
    "30s",
    "${spark.a}",
];
const PATTERNS: &[&str] = &[
    "spark.driver.memory",
    "spark.*",
    "spark.a*",
    "spark.yarn.keytab",
    "spark.executor.memoryOverhead",
    "b",
];

fn any_rule() -> impl Strategy<Value = PolicyRule> {
    let some = |from: &'static [&'static str]| prop::sample::select(from).prop_map(str::to_owned);
    let map = |keys, values| prop::collection::btree_map(some(keys), some(values), 0..3).prop_map(TextMap);
    let lists = prop::collection::btree_map(some(PATTERNS), prop::collection::vec(some(AMOUNTS), 1..4), 0..2);
    (
        prop::collection::vec(some(PATTERNS), 0..2),
        lists.prop_map(ListMap),
        map(KEYS, AMOUNTS),
        map(KEYS, AMOUNTS),
        map(PATTERNS, &["4g", "1g", "5", "10min"]),
    )
        .prop_map(|(deny, values, default, force, cap)| PolicyRule {
            deny,
            values,
            default,
            force,
            cap,
            ..PolicyRule::default()
        })
}

fn any_conf() -> impl Strategy<Value = Conf> {
    let some = |from: &'static [&'static str]| prop::sample::select(from).prop_map(str::to_owned);
    prop::collection::btree_map(some(KEYS), some(AMOUNTS), 0..5)
}

proptest! {
    /// Whatever the rules: what they let through breaks none of them.
    #[test]
    fn no_rule_is_broken(all in prop::collection::btree_map("[a-c]", any_rule(), 0..4), own in any_conf(), below in any_conf()) {
        let Ok((made, _)) = settled(&all, own.clone(), &below) else { return Ok(()) };
        for rule in all.values() {
            for key in own.keys() {
                prop_assert!(!rule.deny.iter().any(|pattern| is_named(pattern, key)), "{key} is denied");
            }
            for (pattern, values) in rule.values.iter() {
                for (key, value) in &own {
                    prop_assert!(!is_named(pattern, key) || values.contains(value), "{key}={value}");
                }
            }
            for (pattern, most) in rule.cap.iter() {
                for (key, value) in made.iter().filter(|(key, _)| is_named(pattern, key)) {
                    let unit = IN_MIB.iter().any(|listed| is_named(listed, key)).then_some(1 << 20);
                    let within = Amount::parse(most).unwrap().compare(value, unit);
                    prop_assert_eq!(within, Compared::Within, "{}={} is over {}", key, value, most);
                }
            }
            // What is forced is so, but for a cap on it, and under one name only.
            for key in rule.force.keys() {
                let names = names(key);
                let held = made.keys().filter(|other| names.contains(&canonical(other))).count();
                prop_assert_eq!(held, 1, "{}", key);
            }
        }
        // What no rule names is as it was.
        for (key, value) in &own {
            let mut named = all.values().flat_map(|rule| rule.force.keys().chain(rule.cap.keys()));
            if !named.any(|pattern| is_named(pattern, key) || names(pattern).contains(&canonical(key))) {
                prop_assert_eq!(made.get(key), Some(value));
            }
        }
    }

    /// Caps alone: the order of the rules does not matter.
    #[test]
    fn the_least_cap_holds(first in any_rule(), second in any_rule(), own in any_conf()) {
        let only_caps = |rule: &PolicyRule| PolicyRule { cap: rule.cap.clone(), ..PolicyRule::default() };
        let (first, second) = (only_caps(&first), only_caps(&second));
        let one = BTreeMap::from([("a".to_owned(), first.clone()), ("b".to_owned(), second.clone())]);
        let other = BTreeMap::from([("a".to_owned(), second), ("b".to_owned(), first)]);
        let made = |all| settled(all, own.clone(), &Conf::new()).map(|(conf, _)| conf);
        if let (Ok(one), Ok(other)) = (made(&one), made(&other)) {
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn nothing_panics(key in ".*", value in ".*", pattern in ".*", most in ".*") {
        let rule = PolicyRule {
            deny: vec![pattern.clone()],
            values: ListMap(BTreeMap::from([(pattern.clone(), vec![value.clone()])])),
            force: TextMap(conf(&[(&pattern, &value)])),
            cap: TextMap(conf(&[(&pattern, &most)])),
            ..PolicyRule::default()
        };
        let _ = settled(&BTreeMap::from([("a".to_owned(), rule)]), conf(&[(&key, &value)]), &Conf::new());
    }
}
