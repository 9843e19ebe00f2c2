//! TLS of the listening socket: the certificate, its key and the authorities of clients' certificates, read again when a file changes, so
//! that a certificate that is renewed needs no restart. A connection keeps what it began with. New files that don't fit together leave
//! the old ones in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{error, info, warn};

use crate::background::Background;
use crate::config;

/// The most bytes of one of the files.
const MOST_BYTES: u64 = 4 << 20;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{key}: {}: {source}", path.display())]
    Read {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key}: {}: {reason}", path.display())]
    Content {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The files don't go together.
    #[error("server.tls.cert and server.tls.key: {0}")]
    Pair(rustls::Error),
}

/// TLS as it is at the moment. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    now: watch::Receiver<Arc<ServerConfig>>,
    handshake: Duration,
}

/// What a change of the files changes.
#[derive(PartialEq, Eq)]
struct Stamps(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamps {
    fn of(config: &config::Tls) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        Self([&config.cert, &config.key, &config.client_ca].map(stamp).into())
    }
}

impl Tls {
    /// Reads the files, and goes on looking at them in the background; none where TLS is off.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn open(config: &config::Tls, background: &Background) -> Result<Option<Self>, TlsError> {
        if !config.is_on() {
            return Ok(None);
        }
        let stamps = Stamps::of(config);
        let (publish, now) = watch::channel(read(config)?);
        if open_to_all(&config.key) {
            warn!(
                "server.tls.key: {} can be read by every user of this host",
                config.key.display()
            );
        }
        let (config, stopping) = (config.clone(), background.stopping().clone());
        let handshake = config.handshake_timeout.get();
        background.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = look(config, stamps, publish) => {}
            }
        });
        Ok(Some(Self { now, handshake }))
    }

    /// Looks whether the files can be used, for `firesteel check`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn check(config: &config::Tls) -> Result<(), TlsError> {
        read(config).map(drop)
    }

    /// Agrees on TLS; gives the DNS names of the client's certificate, where it showed one.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Arc<[String]>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.now.borrow()));
        let stream = tokio::time::timeout(self.handshake, acceptor.accept(stream)).await??;
        let (_, connection) = stream.get_ref();
        let names = connection
            .peer_certificates()
            .and_then(|certificates| names(certificates.first()?))
            .unwrap_or_default();
        Ok((stream, names.into()))
    }
}

/// The DNS names of a certificate; what else it has of names is not looked at.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.valid_dns_names().map(str::to_owned).collect())
}

/// Looks for changes, for ever.
async fn look(config: config::Tls, mut used: Stamps, publish: watch::Sender<Arc<ServerConfig>>) {
    let mut failed: Option<(Stamps, bool)> = None;
    loop {
        tokio::time::sleep(config.look_interval.get()).await;
        let stamps = Stamps::of(&config);
        if stamps == used {
            failed = None;
            continue;
        }
        match read(&config) {
            Ok(new) => {
                publish.send_replace(new);
                info!("TLS: the files have changed; new connections get the new certificate");
                (used, failed) = (stamps, None);
            }
            // The files may be on their way, one after the other: it is told at the second look, and once.
            Err(reason) => match &failed {
                Some((before, told)) if *before == stamps => {
                    if !told {
                        error!(
                            "TLS: the files have changed and can't be used, so the old ones stay: {reason}"
                        );
                        failed = Some((stamps, true));
                    }
                }
                _ => failed = Some((stamps, false)),
            },
        }
    }
}

fn read(config: &config::Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("server.tls.cert", &config.cert)?;
    let pem = bytes("server.tls.key", &config.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|reason| {
        content(
            "server.tls.key",
            &config.key,
            format!("no private key in PEM: {reason}"),
        )
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = if config.client_ca.as_os_str().is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        let wrong = |reason: String| content("server.tls.client_ca", &config.client_ca, reason);
        for authority in certificates("server.tls.client_ca", &config.client_ca)? {
            roots.add(authority).map_err(|reason| wrong(reason.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = match config.client_required {
            true => verifier,
            false => verifier.allow_unauthenticated(),
        };
        builder.with_client_cert_verifier(verifier.build().map_err(|reason| wrong(reason.to_string()))?)
    };
    let mut made = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(made))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = bytes(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|reason| content(key, path, format!("no certificate in PEM: {reason}")))?;
    if found.is_empty() {
        return Err(content(
            key,
            path,
            "there is no certificate in PEM in it".to_owned(),
        ));
    }
    Ok(found)
}

fn bytes(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let failed = |source| TlsError::Read {
        key,
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn content(key: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError::Content {
        key,
        path: path.to_owned(),
        reason,
    }
}

fn open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
