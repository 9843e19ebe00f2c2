//! docs/configuration.md is made from the key table; this fails when the two differ. `UPDATE=1` writes the page again.

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
