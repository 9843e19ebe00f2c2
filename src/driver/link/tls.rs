//! The port on which drivers call that run in a cluster, over TLS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::greeter::Greeter;
use super::stream::Stream;
use crate::config;

/// After so many seconds without a word the other side is asked whether it is there.
const KEEP_IDLE: u32 = 30;
/// It is asked again after so many seconds,
const KEEP_INTERVAL: u32 = 10;
/// and is gone when it has not answered so often.
const KEEP_COUNT: u32 = 3;
/// For so many milliseconds what was sent may be without an answer.
const SENT_MOST: u32 = 60_000;

/// A listening port.
pub(super) struct TlsPort {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    calls: Arc<Semaphore>,
}

/// How drivers in a cluster call.
#[derive(Clone, Debug)]
pub struct Address {
    /// `HOST:PORT`, tried in turn.
    pub tried: Vec<String>,
    /// The only certificate that is trusted there, as PEM.
    pub certificate: String,
}

impl TlsPort {
    /// Binds `link.listen`, and makes the certificate where there is none yet. None where no drivers call from elsewhere.
    ///
    /// # Errors
    /// The port can't be bound, or the certificate can't be read or written.
    pub(super) fn bind(settings: &config::Link, state_dir: &Path) -> io::Result<Option<(Self, Address)>> {
        let Some(address) = settings.address() else {
            return Ok(None);
        };
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("link.listen = {address}: {error}"));
        let listener = bind(address).map_err(named)?;
        let certificate = Certificate::open(state_dir)?;
        let tried = match settings.advertise.is_empty() {
            true => vec![address.to_string()],
            false => settings.advertise.clone(),
        };
        let port = Self {
            listener,
            acceptor: certificate.acceptor,
            calls: Arc::new(Semaphore::new(settings.calls)),
        };
        let certificate = certificate.pem;
        Ok(Some((port, Address { tried, certificate })))
    }

    /// Takes calls until the server stops, at most `link.calls` at the same time that have not proved themselves.
    pub(super) async fn run(self, greeter: Greeter) {
        loop {
            let accepted = tokio::select! {
                accepted = self.next() => accepted,
                () = greeter.background.stopping().cancelled() => return,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let agreed = self.acceptor.accept(stream);
                    greeter.greet(
                        async move {
                            let stream = agreed.await?;
                            Ok(Stream::Tls(Box::new(stream)))
                        },
                        None,
                        Some(permit),
                    );
                }
                Err(error) => greeter.rest(&error).await,
            }
        }
    }

    /// The next call, once there is room for one.
    async fn next(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        keep_alive(&stream)?;
        Ok((stream, permit))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Frames are sent as they come, and a connection whose other side is gone without a word does not stay for ever.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_IDLE)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_INTERVAL)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEP_COUNT)?;
    Ok(setsockopt(stream, sockopt::TcpUserTimeout, &SENT_MOST)?)
}
