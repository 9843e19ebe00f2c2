//! The checked-in OpenAPI document is the one that this code makes. `UPDATE=1 cargo test --test openapi` rewrites it.

#[test]
fn the_document_has_not_drifted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    let made = firesteel::api::document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap();
    assert!(
        made == checked_in,
        "openapi/openapi.json has drifted: UPDATE=1 cargo test --test openapi"
    );
}
