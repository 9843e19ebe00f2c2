//! Reads the modules' paths and fails when one uses a module above it in the journey of a statement.
#![expect(clippy::expect_used, reason = "a test that can't read the source must fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Small modules without a place in the journey: any may use them, they use nothing.
const LEAVES: &[&str] = &[
    "background",
    "clock",
    "sys",
    "failpoint",
    "counters",
    "metrics",
    "ready",
    "ownership",
    "peer",
    "traces",
];

/// Which modules each may use beside itself and the leaves. `docs/architecture.md` has the same table in words.
const MAY_USE: &[(&str, &str)] = &[
    (
        "main",
        "check security generated import client serve service api web access authentication session batch upload output idempotency policy driver store telemetry config",
    ),
    ("check", "security service authentication driver gpu config"),
    ("security", "policy config"),
    ("generated", ""),
    ("import", "config"),
    // It speaks HTTP, so that it works with any server.
    ("client", ""),
    (
        "serve",
        "service api access authentication audit session batch upload output pool turn starts quota gpu driver cluster store telemetry config",
    ),
    ("service", "driver config"),
    (
        "api",
        "web access authentication audit session batch upload output tabular idempotency pool profile gpu quota policy store config",
    ),
    ("web", ""),
    ("audit", "config"),
    ("authentication", "access store config"),
    ("access", "config"),
    (
        "session",
        "sharing idempotency output policy turn starts admission quota pool gpu driver cluster store config",
    ),
    (
        "batch",
        "sharing idempotency policy turn starts admission quota gpu driver cluster store config",
    ),
    ("upload", "quota config"),
    ("output", "config"),
    ("tabular", ""),
    ("pool", "profile starts gpu driver store config"),
    ("profile", "gpu config"),
    ("driver", "cluster gpu config"),
    ("cluster", "config"),
    ("sharing", "turn quota store"),
    ("idempotency", "store"),
    ("store", "config"),
    ("turn", "starts admission quota gpu config"),
    ("starts", "admission quota config"),
    ("admission", "quota"),
    ("quota", "policy config"),
    ("policy", "config"),
    ("gpu", "config"),
    ("telemetry", "config"),
    ("config", ""),
];

/// Every Rust file below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src can be read") {
        let path = entry.expect("an entry of src").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module that a file belongs to, and how many `super` lead from the file to the crate's root.
fn place(relative: &Path) -> (String, usize) {
    let mut names: Vec<String> = relative
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    (names[0].clone(), names.len())
}

/// A file's code without its comments and string literals, on one line.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let mut inside = false;
        let mut previous = ' ';
        for c in line.chars() {
            if c == '"' && previous != '\\' && previous != '\'' {
                inside = !inside;
            } else if !inside {
                out.push(c);
            }
            previous = c;
        }
        out.push(' ');
    }
    out
}

/// The identifiers that stand first in what follows a path's root: `a::b` gives a, `{a::b, c}` gives a and c.
fn first_names(after: &str) -> Vec<String> {
    let identifier = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let after = after.trim_start();
    if !after.starts_with('{') {
        return vec![identifier(after)];
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for (at, c) in after.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == '{' || c == ',') {
            names.push(identifier(&after[at + 1..]));
        }
    }
    names
}

/// The crate's modules that a file names.
fn named(text: &str, depth: usize) -> BTreeSet<String> {
    let code = code(text);
    let to_root = "super::".repeat(depth);
    let mut roots = vec!["crate::", "firesteel::"];
    if depth > 0 {
        roots.push(&to_root);
    }
    let mut found = BTreeSet::new();
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !before.is_alphanumeric() && before != '_' && before != ':' {
                found.extend(first_names(&code[at + root.len()..]));
            }
        }
    }
    found
}

/// What is wrong in one file.
fn faults(module: &str, named: &BTreeSet<String>, modules: &BTreeSet<String>) -> Vec<String> {
    let allowed = MAY_USE
        .iter()
        .find(|(name, _)| *name == module)
        .map_or("", |(_, allowed)| allowed);
    named
        .iter()
        .filter(|name| modules.contains(*name) && *name != module)
        .filter(|name| !LEAVES.contains(&name.as_str()) && !allowed.split(' ').any(|other| other == *name))
        .map(|name| format!("{module} must not use {name}"))
        .collect()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&src, &mut paths);
    let mut modules = BTreeSet::new();
    for path in &paths {
        modules.insert(place(path.strip_prefix(&src).expect("below src")).0);
    }
    let mut wrong = Vec::new();
    for module in modules.iter().filter(|name| *name != "lib") {
        if !LEAVES.contains(&module.as_str()) && !MAY_USE.iter().any(|(name, _)| name == module) {
            wrong.push(format!(
                "{module} has no place in the journey: give it one in tests/structure.rs"
            ));
        }
    }
    for path in &paths {
        let relative = path.strip_prefix(&src).expect("below src");
        let (module, depth) = place(relative);
        if module == "lib" {
            continue;
        }
        let text = fs::read_to_string(path).expect("a source file");
        for fault in faults(&module, &named(&text, depth), &modules) {
            wrong.push(format!("src/{}: {fault}", relative.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_journey_has_no_cycle() {
    for (at, (module, allowed)) in MAY_USE.iter().enumerate() {
        for name in allowed.split_whitespace() {
            let below = MAY_USE.iter().position(|(other, _)| *other == name);
            assert!(
                below.is_some_and(|below| below > at),
                "{module} may use {name}, which isn't below it"
            );
        }
    }
}

#[test]
fn what_is_wrong_is_found() {
    let modules: BTreeSet<String> = ["api", "session", "store", "clock"].map(str::to_owned).into();
    let check = |module: &str, text: &str, depth: usize| faults(module, &named(text, depth), &modules);
    assert_eq!(
        check("store", "use crate::session::Kind;", 1),
        ["store must not use session"]
    );
    assert_eq!(
        check("store", "use crate::{clock::now_ms, session::{Kind, api::X}};", 1),
        ["store must not use session"]
    );
    assert_eq!(
        check("store", "fn f() { crate::api::serve() }", 2),
        ["store must not use api"]
    );
    assert_eq!(
        check("store", "use super::super::session::Kind;", 2),
        ["store must not use session"]
    );
    assert_eq!(
        check("clock", "use crate::store::Store;", 1),
        ["clock must not use store"]
    );
    assert!(check("session", "use crate::store::Store; // crate::api", 1).is_empty());
    assert!(check("store", "use super::session::Kind; use crate::clock;", 2).is_empty());
    assert!(check("store", "let text = \"crate::session::X\";", 1).is_empty());
}

/// What may stand in SQL beside its own words: constants, and names of the store's for one of a few of its texts.
const IN_SQL: &[&str] = &[
    "which", "order", "page", "sound", "of_owner", "", // `PRAGMA busy_timeout = {}`, a number.
];

#[test]
fn only_the_store_speaks_sql() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&src, &mut paths);
    let mut queries = 0;
    for path in &paths {
        let text = fs::read_to_string(path).expect("a source file");
        let shown = path.display();
        if !path.starts_with(src.join("store")) {
            assert!(!text.contains("sqlx"), "{shown}: only the store may speak SQL");
            continue;
        }
        // Values are bound: what is put into a text of SQL is another text of the store's.
        for literal in text
            .split("format!(")
            .skip(1)
            .filter_map(|rest| rest.split('"').nth(1))
        {
            let is_sql = ["SELECT ", "WHERE ", "AND ", "PRAGMA ", "{SESSION}", "{STATEMENT}"];
            if !is_sql.iter().any(|word| literal.contains(word)) {
                continue;
            }
            queries += 1;
            for name in literal
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
            {
                let is_constant =
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                assert!(
                    is_constant || IN_SQL.contains(&name),
                    "{shown}: {{{name}}} in SQL: bind it"
                );
            }
        }
    }
    assert!(queries > 5, "none is recognised any more");
}

#[test]
fn unsafe_code_has_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    files(&root.join("src"), &mut paths);
    for path in &paths {
        let text = code(&fs::read_to_string(path).expect("a source file"));
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let count = words.filter(|word| *word == "unsafe").count();
        let is_place = path.ends_with("src/sys.rs");
        let may = is_place || path.parent().is_some_and(|parent| parent.ends_with("src/sys"));
        assert!(may || count == 0, "{}: only src/sys may", path.display());
        assert!(!is_place || count > 0, "it is not recognised any more");
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"deny\""));
}
