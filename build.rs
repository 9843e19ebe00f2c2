//! Rebuilds when the packed agent changes.

fn main() {
    println!("cargo::rerun-if-changed=agent");
    println!("cargo::rerun-if-changed=src/store/migrations");
}
