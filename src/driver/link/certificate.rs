//! The certificate of the link over TLS: the server's own, made once, and the only one that its drivers trust.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The file in the state directory that has the key and the certificate (0600).
const FILE: &str = "link.tls.pem";
/// The name that the certificate is for. Nobody looks at it: the certificate itself is known.
const NAME: &str = "firesteel-link";

/// The certificate with its key.
pub(super) struct Certificate {
    /// As drivers get it.
    pub pem: String,
    /// Speaks TLS 1.3 with it.
    pub acceptor: TlsAcceptor,
}

impl Certificate {
    /// Reads it, or makes it where there is none.
    ///
    /// # Errors
    /// The file can't be read or written, or does not hold the two.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(state_dir, &path)?,
            read => read?,
        };
        Self::of(&text).map_err(|why| {
            let reason = format!(
                "{} is of no use: {why}; without it the drivers that run in a cluster can't call: restore it, or remove it and lose them",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    fn of(text: &str) -> Result<Self, String> {
        let certificate =
            CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
        let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate], key)
            })
            .map_err(|error| error.to_string())?;
        // Drivers don't come back with a ticket, and one that sends a result takes anything that comes for the end.
        config.send_tls13_tickets = 0;
        Ok(Self {
            pem: text[begin..].to_owned(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

/// Makes key and certificate; the file is there once it is whole.
fn make(state_dir: &Path, path: &Path) -> io::Result<String> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(io::Error::other)?;
    let text = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
    let fresh = state_dir.join(format!("{FILE}.new"));
    // Left by a server that died half-way.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_certificate_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let made = Certificate::open(directory.path()).unwrap();
        let read = Certificate::open(directory.path()).unwrap();
        assert_eq!(made.pem, read.pem);
        assert!(made.pem.starts_with("-----BEGIN CERTIFICATE-----") && !made.pem.contains("PRIVATE"));
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path, "torn").unwrap();
        assert!(Certificate::open(directory.path()).is_err());
    }
}
