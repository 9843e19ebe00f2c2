//! Where YARN's ResourceManagers and its log server are, as Hadoop's own configuration says it: `yarn-site.xml` of HADOOP_CONF_DIR or YARN_CONF_DIR.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The most bytes of a file.
const MOST_BYTES: u64 = 4 << 20;
/// The file that says it.
const FILE: &str = "yarn-site.xml";

/// The web addresses of all ResourceManagers.
///
/// # Errors
/// There is no such file, or it can't be read, or names none.
pub(super) fn resource_managers(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Vec<String>> {
    let directories: Vec<PathBuf> = ["YARN_CONF_DIR", "HADOOP_CONF_DIR"]
        .into_iter()
        .filter_map(&variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .collect();
    anyhow::ensure!(
        !directories.is_empty(),
        "where YARN's ResourceManager is is not known: set HADOOP_CONF_DIR to the directory of {FILE}, or cluster.yarn.resource_manager"
    );
    let file = directories
        .iter()
        .map(|path| path.join(FILE))
        .find(|path| path.is_file());
    let file = file.with_context(|| {
        format!(
            "there is no {FILE} in {}: set cluster.yarn.resource_manager",
            directories[0].display()
        )
    })?;
    let found = addresses(&read(&file).with_context(|| file.display().to_string())?);
    anyhow::ensure!(
        !found.is_empty(),
        "{} names no ResourceManager (yarn.resourcemanager.hostname or yarn.resourcemanager.webapp.address): set \
         cluster.yarn.resource_manager",
        file.display()
    );
    Ok(found)
}

/// What a property of the file holds; none where it is not there, empty, or refers to another.
pub(super) fn property(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    let directories = ["YARN_CONF_DIR", "HADOOP_CONF_DIR"]
        .into_iter()
        .filter_map(variable);
    let file = directories
        .filter(|value| !value.is_empty())
        .map(|path| Path::new(&path).join(FILE))
        .find(|path| path.is_file())?;
    let value = read(&file).ok()?.remove(name)?;
    Some(value).filter(|value| !value.is_empty() && !value.contains("${"))
}

fn read(path: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MOST_BYTES)
        .read_to_string(&mut text)?;
    Ok(properties(&text))
}

/// The web addresses that these properties give.
fn addresses(properties: &BTreeMap<String, String>) -> Vec<String> {
    let get = |key: &str| {
        properties
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let is_https = get("yarn.http.policy") == Some("HTTPS_ONLY");
    let (scheme, key, port) = match is_https {
        true => ("https", "yarn.resourcemanager.webapp.https.address", 8090),
        false => ("http", "yarn.resourcemanager.webapp.address", 8088),
    };
    let ids = get("yarn.resourcemanager.ha.rm-ids")
        .filter(|_| get("yarn.resourcemanager.ha.enabled") == Some("true"));
    let suffixes: Vec<String> = match ids {
        Some(ids) => ids.split(',').map(|id| format!(".{}", id.trim())).collect(),
        None => vec![String::new()],
    };
    suffixes
        .iter()
        .filter_map(|suffix| {
            let named = get(&format!("{key}{suffix}")).filter(|address| !address.contains("${"));
            let host = get(&format!("yarn.resourcemanager.hostname{suffix}"));
            named
                .map(str::to_owned)
                .or_else(|| Some(format!("{}:{port}", host?)))
                .map(|address| format!("{scheme}://{address}"))
        })
        .collect()
}

/// The properties of one of Hadoop's files: `<property><name>..</name><value>..</value></property>`, the last of a name counts.
fn properties(text: &str) -> BTreeMap<String, String> {
    let text = without_comments(text);
    text.split("<property>")
        .skip(1)
        .filter_map(|property| {
            let property = property.split("</property>").next()?;
            Some((element(property, "name")?, element(property, "value")?))
        })
        .collect()
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

fn element(text: &str, name: &str) -> Option<String> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = after.split_once(&format!("</{name}>"))?;
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(inner.trim().to_owned(), |text, (entity, character)| {
        text.replace(entity, character)
    });
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&str, &str)]) -> Vec<String> {
        let rows: String = rows
            .iter()
            .map(|(name, value)| {
                format!(
                    "<property>\n<name>{name}</name><value> {value} </value><final>true</final></property>"
                )
            })
            .collect();
        addresses(&properties(&format!(
            "<?xml version=\"1.0\"?><configuration>{rows}</configuration>"
        )))
    }

    #[test]
    fn addresses_are_hadoops() {
        assert_eq!(of(&[("yarn.resourcemanager.hostname", "rm")]), ["http://rm:8088"]);
        assert_eq!(
            of(&[
                ("yarn.resourcemanager.webapp.address", "rm:18088"),
                ("yarn.resourcemanager.hostname", "other")
            ]),
            ["http://rm:18088"]
        );
        assert_eq!(
            of(&[
                (
                    "yarn.resourcemanager.webapp.address",
                    "${yarn.resourcemanager.hostname}:8088"
                ),
                ("yarn.resourcemanager.hostname", "rm"),
            ]),
            ["http://rm:8088"]
        );
        assert_eq!(
            of(&[
                ("yarn.resourcemanager.ha.enabled", "true"),
                ("yarn.resourcemanager.ha.rm-ids", "a, b"),
                ("yarn.resourcemanager.hostname.a", "one"),
                ("yarn.resourcemanager.webapp.https.address.b", "two:9"),
                ("yarn.http.policy", "HTTPS_ONLY"),
            ]),
            ["https://one:8090", "https://two:9"]
        );
        assert!(of(&[("other", "x")]).is_empty());
    }

    #[test]
    fn comments_and_entities_are_read() {
        let found = properties(
            "<!-- <property><name>a</name><value>no</value></property> --><property><name>a</name><value>&lt;&amp;amp;</value></property><property>",
        );
        assert_eq!(found.get("a").map(String::as_str), Some("<&amp;"));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_missing_file_says_what_to_set() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let told = resource_managers(|_| None).unwrap_err().to_string();
        assert!(told.contains("HADOOP_CONF_DIR"), "{told}");
        let told = resource_managers(|_| Some(path.clone())).unwrap_err().to_string();
        assert!(told.contains("cluster.yarn.resource_manager"), "{told}");
        std::fs::write(
            directory.path().join(FILE),
            "<property><name>yarn.resourcemanager.hostname</name><value>rm</value></property>",
        )
        .unwrap();
        let of = |name: &str| property(|_| Some(path.clone()), name);
        assert_eq!(of("yarn.resourcemanager.hostname").as_deref(), Some("rm"));
        assert_eq!(of("other"), None);
        assert_eq!(
            resource_managers(|_| Some(path.clone())).unwrap(),
            ["http://rm:8088"]
        );
    }
}
