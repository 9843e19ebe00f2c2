//! The HTTP server below its routes: what is accepted, on which socket, in plain or over TLS, becomes a connection that is counted from
//! its first moment and knows its other end. actix-web's own `HttpServer` counts a connection once TLS is agreed on, and a drain would
//! cut those that are not so far yet.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Extensions};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::Tls;
use super::traffic::{Connection, Traffic};
use super::workers::Workers;
use crate::config;
use crate::peer::Peer;

/// How long a client may take to close its side.
const DISCONNECT: Duration = Duration::from_secs(1);

/// Where clients come in.
#[derive(Debug)]
pub struct Doors {
    /// `server.listen`, or what was handed in.
    pub tcp: TcpListener,
    /// TLS of it, where it is on.
    pub tls: Option<Tls>,
    /// `server.unix_socket`, where there is one.
    pub unix: Option<UnixListener>,
}

/// Serves the application that `factory` makes for each worker. The server is run by whoever awaits it.
///
/// # Errors
/// A socket can't be served.
pub fn serve<F, I, S, B>(
    config: &config::Server,
    doors: Doors,
    factory: F,
    workers: &Workers,
    traffic: &Traffic,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let mut builder = Server::build()
        .workers(config.workers)
        .shutdown_timeout(config.shutdown_grace.get().as_secs())
        .disable_signals();
    let ending = builder.graceful_shutdown_signal();
    let (keep_alive, header_timeout) = (config.keep_alive.get(), config.header_timeout.get());
    let http = move || {
        let ending = ending.clone();
        let application = factory()
            .into_factory()
            .map_err(|error| error.into().error_response());
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let ending = ending.clone();
                async move { ending.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(header_timeout)
            .client_disconnect_timeout(DISCONNECT)
            // A client that has left frees what its request held.
            .h1_allow_half_closed(false)
            .on_connect_ext(|accepted: &Accepted, data: &mut Extensions| accepted.tell(data))
            .finish(map_config(application, |()| AppConfig::default()))
    };
    let Doors { tcp, tls, unix } = doors;
    if let Some(unix) = unix {
        let (http, traffic) = (http.clone(), traffic.clone());
        builder = builder.listen_uds("unix", unix, move || {
            let traffic = traffic.clone();
            fn_service(move |stream| {
                let accepted = of_unix(stream, traffic.connected_here());
                async move { accepted.map(with_protocol).map_err(DispatchError::Io) }
            })
            .and_then(http())
        })?;
    }
    let (workers, traffic) = (workers.clone(), traffic.clone());
    builder = builder.listen("tcp", tcp, move || {
        // Once for each worker, on its own runtime.
        workers.join();
        let (tls, traffic) = (tls.clone(), traffic.clone());
        fn_service(move |stream| {
            let counted = traffic.connected(&stream);
            let accepted = of_tcp(stream, tls.clone(), counted);
            async move { accepted.await.map(with_protocol).map_err(DispatchError::Io) }
        })
        .and_then(http())
    })?;
    Ok(builder.run())
}

/// A connection that was accepted.
struct Accepted {
    // Before the stream, and so dropped before it: the descriptor of what is counted is this connection's.
    counted: Arc<Connection>,
    stream: Box<dyn Stream>,
    address: Option<SocketAddr>,
    peer: Peer,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Accepted {
    /// What each request of this connection can ask for.
    fn tell(&self, data: &mut Extensions) {
        data.insert(Arc::clone(&self.counted));
        data.insert(self.peer.clone());
    }
}

fn with_protocol(accepted: Accepted) -> (Accepted, Protocol, Option<SocketAddr>) {
    let address = accepted.address;
    (accepted, Protocol::Http1, address)
}

/// A TCP connection, once TLS is agreed on where it is on; one without a place has been closed.
async fn of_tcp(stream: TcpStream, tls: Option<Tls>, counted: Option<Connection>) -> io::Result<Accepted> {
    let counted = counted.ok_or(io::ErrorKind::ConnectionAborted)?;
    // An answer is one piece; waiting for a second one would hold it back.
    stream.set_nodelay(true)?;
    let address = stream.peer_addr().ok();
    let mut peer = Peer {
        address: address.map(|address| address.ip()),
        ..Peer::default()
    };
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let (stream, names) = tls.accept(stream).await?;
            peer.is_tls = true;
            peer.certificate = names;
            Box::new(stream)
        }
    };
    Ok(Accepted {
        stream,
        address,
        peer,
        counted: Arc::new(counted),
    })
}

fn of_unix(stream: UnixStream, counted: Connection) -> io::Result<Accepted> {
    let peer = Peer {
        unix_user: Some(stream.peer_cred()?.uid()),
        ..Peer::default()
    };
    Ok(Accepted {
        stream: Box::new(stream),
        address: None,
        peer,
        counted: Arc::new(counted),
    })
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
