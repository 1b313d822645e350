//! The sockets that a listener accepts from.

use core::task::{Context, Poll};
use std::io;
use std::net::SocketAddr;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use ::tokio::net::{UnixListener, UnixStream};

use super::Secured;
use crate::handshake::Session;
use crate::record::Records;

/// A listening socket of tokio: a [`TcpListener`] or, on Unix, a `UnixListener`.
///
/// It is sealed: these two are all there are.
pub trait Socket: Sealed + Send + Sync + 'static {
    /// The stream of an accepted connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    #[doc(hidden)]
    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>>;

    #[doc(hidden)]
    fn secured<P>(
        stream: Self::Stream,
        session: Session,
        records: Records<P>,
    ) -> Secured<Self::Stream, P> {
        Secured::new(stream, session, records)
    }
}

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

impl Sealed for TcpListener {}

impl Socket for TcpListener {
    type Stream = TcpStream;

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        (self.poll_accept(cx)).map_ok(|(stream, peer)| (stream, Some(peer)))
    }
}

#[cfg(unix)]
impl Sealed for UnixListener {}

#[cfg(unix)]
impl Socket for UnixListener {
    type Stream = UnixStream;

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        self.poll_accept(cx).map_ok(|(stream, _)| (stream, None))
    }
}
