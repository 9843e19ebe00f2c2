//! The reference page, docs/configuration.md, made of the key table.

use std::fmt::Write as _;

use super::keys::{self, Key, Table};
use super::values::Kind;

const HEAD: &str = r#"# Configuration

<!-- Made from src/config/keys/: run `UPDATE=1 cargo test --test config_docs` after a change there. -->

Firesteel runs without any configuration. What is set counts in this order, the later over the earlier:

1. the defaults below;
2. the file named by `--config FILE` or, without that flag, by the environment variable `FIRESTEEL_CONFIG` (there is no
   default path);
3. the environment: `FIRESTEEL_` and the key in capitals with two underscores for each dot;
4. flags: `--set KEY=VALUE`, which may come often, `--listen ADDRESS` for `server.listen`, `--state-dir DIR` for
   `server.state_dir`.

`firesteel check` reads the same sources and says what is wrong: the file with line and column, the variable or the flag, the
key, and the reason. An unknown key is an error, and so is a variable that begins with `FIRESTEEL_` and names no key.
Reserved, never errors: `FIRESTEEL_URL`, `FIRESTEEL_USER`, `FIRESTEEL_TOKEN` (the client's), `FIRESTEEL_CONFIG`,
`FIRESTEEL_DRIVER_ID`, `FIRESTEEL_KEEPER_PID`, `FIRESTEEL_GPU_FRACTION`, `FIRESTEEL_TEST_*`, and what Kubernetes sets for a service named `firesteel`.

## Values

| type | in the file | in the environment and `--set` |
|---|---|---|
| text | `"local[4]"` | as it is: `local[4]` |
| flag | `true`, `false` | the same |
| number | `1000` | the same |
| duration | `"250ms"`, `"10m"`, `"1h 30m"`, `"0s"` | the same, quotes not needed; units `ms`, `s`, `m`, `h`, `d` |
| size | `"16MiB"`, `"500kB"` | the same, quotes not needed; `KiB` is 1024 bytes, `kB` 1000 |
| list | `["a", "b"]` | the same, or `a,b` |
| table | `[spark.conf]` and a line for each entry | the whole as `{ "spark.ui.enabled" = "false" }`, which replaces the file's; one entry as `--set spark.conf.spark.ui.enabled=false`, which goes over the file's, or as `FIRESTEEL_DRIVER__ENV__HADOOP_CONF_DIR=/etc/hadoop` (not for `spark.conf`: its keys are of mixed case) |
| table of lists | `[access.groups]` and a line for each entry, `ops = ["ada", "bob"]` | the whole as `{ ops = ["ada", "bob"] }`, which replaces the file's |

The same key in each form:

    # firesteel.toml
    [policy.conf]
    mode = "allow"

    FIRESTEEL_POLICY__CONF__MODE=allow firesteel serve
    firesteel serve --set policy.conf.mode=allow

## An example

    # firesteel.toml: a host with 8 GPUs for a team, behind a reverse proxy
    [server]
    listen = "127.0.0.1:8998"
    hosts = ["spark.example.com"]
    base_path = "/firesteel"

    [spark]
    home = "/opt/spark"
    master = "local[16]"

    [spark.conf]
    spark.driver.memory = "8g"
    spark.sql.shuffle.partitions = 64

    [session]
    idle_timeout = "4h"

    [files]
    allow = ["/srv/shared"]

    [access]
    mode = "basic"
    basic_file = "/etc/firesteel/users"
    superusers = ["admin"]

## Keys
"#;

/// The text of docs/configuration.md: how configuration works, an example, and every key with its type, default and meaning.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for table in keys::all() {
        // Writing to a String can't fail.
        let _ = write_table(&mut page, table);
    }
    page
}

fn write_table(page: &mut String, table: &Table) -> std::fmt::Result {
    write!(page, "\n### [{}]\n\n{}\n\n", table.path, prose(table.about))?;
    writeln!(page, "| key | type | default | meaning |\n|---|---|---|---|")?;
    let values = (table.defaults)();
    for key in table.keys {
        let default = values.get(key.name).map(ToString::to_string).unwrap_or_default();
        writeln!(
            page,
            "| `{}` | {} | `{default}` | {} |",
            key.name,
            kind(key),
            prose(key.about)
        )?;
    }
    Ok(())
}

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Flag => "flag".to_owned(),
        Kind::Integer | Kind::Number => "number".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::List => "list of texts".to_owned(),
        Kind::Map => "table of texts".to_owned(),
        Kind::ListMap => "table of lists".to_owned(),
        Kind::Choice(words) => words
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn prose(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
