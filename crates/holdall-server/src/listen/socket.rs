//! Where connections come from.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use holdall_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

/// A socket that takes connections.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, std::path::PathBuf),
}

/// A connection that was taken.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// `HOST:PORT`, or `unix:PATH`.
    pub(crate) async fn bind(address: &str) -> Result<Self> {
        if let Some(path) = address.strip_prefix("unix:") {
            return Self::bind_path(path);
        }
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            return Err(Error::invalid(format!(
                "{address:?} is no address to listen on; write one like 127.0.0.1:4520, \
                 [::1]:4520 or unix:PATH"
            )));
        }
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self::Tcp(listener)),
            Err(error) => Err(refused(address, error)),
        }
    }

    #[cfg(unix)]
    fn bind_path(path: &str) -> Result<Self> {
        let listener = UnixListener::bind(path);
        // What is left of a server that was killed takes no connections.
        let listener = match listener {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match std::os::unix::net::UnixStream::connect(path) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        std::fs::remove_file(path).and_then(|()| UnixListener::bind(path))
                    }
                    _ => Err(error),
                }
            }
            listener => listener,
        };
        match listener {
            Ok(listener) => Ok(Self::Unix(listener, path.into())),
            Err(error) => Err(refused(&format!("unix:{path}"), error)),
        }
    }

    #[cfg(not(unix))]
    fn bind_path(_: &str) -> Result<Self> {
        Err(Error::unsupported(
            "this system has no Unix sockets; listen on an address like 127.0.0.1:4520",
        ))
    }

    pub(crate) fn from_std(listener: std::net::TcpListener) -> Result<Self> {
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener));
        listener.map(Self::Tcp).map_err(|error| {
            Error::other("the socket that was handed over cannot be listened on").because(error)
        })
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }

    #[cfg(unix)]
    pub(crate) fn path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => Some(path),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn path(&self) -> Option<&std::path::Path> {
        None
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is written in one go, so waiting for more gains nothing.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // That it is gone already is as well.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn refused(address: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::unavailable(format!(
            "another program listens on {address} already; end it, or choose another address \
             with --listen"
        )),
        io::ErrorKind::PermissionDenied => Error::denied(format!(
            "listening on {address} is not permitted; ports below 1024 are for \
             privileged programs, so choose another or use a socket of systemd's"
        ))
        .because(error),
        io::ErrorKind::AddrNotAvailable => Error::invalid(format!(
            "{address} is no address of this machine; choose one that is, or 0.0.0.0 for all"
        ))
        .because(error),
        _ => Error::other(format!("{address} cannot be listened on")).because(error),
    }
}

impl Stream {
    /// Whether HTTP/2 is what the peer speaks: agreed upon with TLS, else shown by
    /// its first bytes, which stay unread. Waits for these.
    pub(super) async fn speaks_http2(&self) -> io::Result<bool> {
        match self {
            Self::Tls(stream) => Ok(stream.get_ref().1.alpn_protocol() == Some(b"h2")),
            Self::Tcp(stream) => {
                // No method of HTTP/1.1 starts so, and nobody sends less at once.
                let mut first = [0; 3];
                let count = stream.peek(&mut first).await?;
                Ok(count == first.len() && first == *b"PRI")
            }
            #[cfg(unix)]
            Self::Unix(_) => Ok(false),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
            #[cfg(unix)]
            Self::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
