//! docs/configuration.md is made from the key table, and the table of docs/metrics.md from that of the metrics; this fails when they differ. `UPDATE=1` writes them again.

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

#[test]
fn the_table_of_metrics_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let written = std::fs::read_to_string(path).unwrap();
    let (text, table) = written.split_once("## The metrics\n\n").unwrap();
    let current = firesteel::metrics::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{text}## The metrics\n\n{current}")).unwrap();
    } else {
        assert!(
            table == current,
            "docs/metrics.md is out of date: UPDATE=1 cargo test --test config_docs"
        );
    }
}
