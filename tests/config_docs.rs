//! docs/configuration.md is made from the key table, the table of docs/metrics.md from that of the metrics, and the one of docs/from-livy.md
//! from that of Livy's keys; this fails when they differ. `UPDATE=1` writes them again.
#![expect(
    clippy::expect_used,
    reason = "a test that can't read or write the pages must fail"
)]

#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = firesteel::config::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is out of date: UPDATE=1 cargo test --test config_docs"
    );
}

/// Compares what stands below a page's last heading, or writes it.
fn last_part(page: &str, heading: &str, current: &str) {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let written = std::fs::read_to_string(&path).expect("the page");
    let heading = format!("## {heading}\n\n");
    let (text, table) = written.split_once(&heading).expect("the heading");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{text}{heading}{current}")).expect("the page");
    } else {
        assert!(
            table == current,
            "docs/{page} is out of date: UPDATE=1 cargo test --test config_docs"
        );
    }
}

#[test]
fn the_table_of_metrics_is_current() {
    last_part("metrics.md", "The metrics", &firesteel::metrics::reference());
}

#[test]
fn the_table_of_livys_keys_is_current() {
    last_part("from-livy.md", "The keys", &firesteel::import::table());
}
