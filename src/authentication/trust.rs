//! Whom the server believes when it asks elsewhere: TLS as a client, with certificates of a file. Called by the ways that ask.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A client that believes the authorities of this PEM file and no others.
///
/// # Errors
/// It can't be read, or has no certificate of an authority.
pub(super) fn client(authorities: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(Error::other)? {
        roots
            .add(certificate.map_err(Error::other)?)
            .map_err(Error::other)?;
    }
    if roots.is_empty() {
        return Err(Error::other("there is no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
