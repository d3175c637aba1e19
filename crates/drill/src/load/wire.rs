//! Connections: from a chosen loopback source to a loopback target, plain or over TLS.

use crate::target::{LoopbackAddr, SourceAddr};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where a connection comes from and goes to.
#[derive(Clone)]
pub(crate) struct Route {
    /// Address that is bound before connecting.
    pub(crate) source: SourceAddr,
    /// The front.
    pub(crate) target: LoopbackAddr,
    /// TLS, with the name asked for.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Bytes of the receive buffer, for slow readers.
    pub(crate) receive_buffer: Option<usize>,
}

/// A connection.
pub(crate) enum Wire {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects without TLS, whatever the route says about it.
pub(crate) async fn connect_tcp(route: &Route) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(route.target.get()), Type::STREAM.nonblocking(), None)?;
    if let Some(bytes) = route.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if route.target.get().is_ipv4() {
        socket.set_reuse_address(true)?;
        // The port is chosen at connect, per destination, so thousands of binds do not search for free ones.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(route.source.get(), 0)).into())?;
    }
    let stream = TcpSocket::from_std_stream(socket.into()).connect(route.target.get()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects, and shakes hands where the route has TLS.
pub(crate) async fn connect(route: &Route) -> io::Result<Wire> {
    let stream = connect_tcp(route).await?;
    match &route.tls {
        None => Ok(Wire::Plain(stream)),
        Some((config, name)) => {
            let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
            Ok(Wire::Tls(Box::new(stream)))
        }
    }
}

impl Wire {
    /// Whether the peer agreed to HTTP/2 by ALPN.
    pub(crate) fn is_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
