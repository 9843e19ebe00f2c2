//! The web UI's files, packed into the binary, and the name under which browsers keep them: a digest of them all, so that a file
//! of one name never changes. Called by `api`; calls none.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

#[derive(RustEmbed)]
#[folder = "src/web/assets/"]
#[include = "*.js"]
#[include = "*.css"]
#[include = "*.svg"]
struct Files;

/// A file of the UI.
#[derive(Debug)]
pub struct Asset {
    /// Its content type.
    pub kind: &'static str,
    /// As it is.
    pub plain: Bytes,
    /// Compressed by gzip.
    pub gzip: Bytes,
}

/// All of them.
#[derive(Debug)]
struct Assets {
    version: String,
    files: BTreeMap<String, Asset>,
}

/// Read and compressed once, when the first browser asks.
static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    let mut files = BTreeMap::new();
    let mut names: Vec<String> = Files::iter().map(|name| name.to_string()).collect();
    names.sort_unstable();
    for name in names {
        let Some(file) = Files::get(&name) else { continue };
        digest.update(name.as_bytes());
        digest.update(&file.data);
        let mut gzip = Vec::new();
        // Reading from memory does not fail.
        let _ = GzEncoder::new(&*file.data, Compression::best()).read_to_end(&mut gzip);
        let asset = Asset {
            kind: kind(&name),
            plain: Bytes::from(file.data.into_owned()),
            gzip: gzip.into(),
        };
        files.insert(name, asset);
    }
    let version = digest.finalize();
    let version = version.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Assets { version, files }
});

/// The digest of all files, as 16 hex digits: it stands in their paths.
#[must_use]
pub fn version() -> &'static str {
    &ASSETS.version
}

/// The names of all scripts, so that a browser can ask for them at once, and not for each when it has read the one that needs it.
pub fn scripts() -> impl Iterator<Item = &'static str> {
    ASSETS
        .files
        .keys()
        .map(String::as_str)
        .filter(|name| name.ends_with(".js"))
}

/// The file of this name; none for one that this version has not.
#[must_use]
pub fn asset(version: &str, name: &str) -> Option<&'static Asset> {
    (version == ASSETS.version)
        .then(|| ASSETS.files.get(name))
        .flatten()
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript;charset=utf-8",
        Some("css") => "text/css;charset=utf-8",
        _ => "image/svg+xml",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_there_and_small() {
        for name in ["app.js", "style.css", "icon.svg"] {
            let asset = asset(version(), name).unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&*asset.gzip)
                .read_to_end(&mut back)
                .unwrap();
            assert_eq!(back, asset.plain, "{name}");
        }
        let whole: usize = ASSETS.files.values().map(|asset| asset.plain.len()).sum();
        assert!(whole < 300 * 1024, "{whole} bytes");
        assert!(asset("0", "app.js").is_none());
        assert!(asset(version(), "../mod.rs").is_none());
    }

    /// What users write becomes text: no file has a way to make markup or code of a string.
    #[test]
    fn nothing_makes_markup_of_text() {
        for (name, asset) in &ASSETS.files {
            let text = std::str::from_utf8(&asset.plain).unwrap();
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "createContextualFragment",
                "http://",
                "https://",
            ] {
                // Namespaces of SVG are names, no addresses; a link's scheme is checked by its name.
                let is_there = text.replace("http://www.w3.org/2000/svg", "").contains(way);
                assert!(!is_there, "{name} has {way}");
            }
        }
    }
}
