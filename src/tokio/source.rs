//! What a listener accepts connections from.

use core::task::{Context, Poll};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsFd;
#[cfg(windows)]
use std::os::windows::io::AsSocket as AsFd;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream};

use crate::blocking::source::has_connection;
use crate::listener::{Process, Trouble};
#[cfg(unix)]
use {
    crate::blocking::unix_socket::BoundUnix,
    ::tokio::net::{UnixListener, UnixStream},
    std::path::Path,
};

/// A source of connections for a [`Listener`](super::Listener): a listening socket of tokio, or
/// whatever else yields streams.
///
/// ```
/// use countersign::tokio::Source;
/// use std::{io, net::SocketAddr, task::{Context, Poll, ready}};
/// use tokio::{io::DuplexStream, sync::mpsc};
///
/// /// Connections inside one process.
/// struct Pipes(mpsc::Receiver<DuplexStream>);
///
/// impl Source for Pipes {
///     type Stream = DuplexStream;
///
///     fn poll_accept(
///         &mut self,
///         cx: &mut Context<'_>,
///     ) -> Poll<io::Result<(DuplexStream, Option<SocketAddr>)>> {
///         let stream = ready!(self.0.poll_recv(cx));
///         Poll::Ready(match stream {
///             Some(stream) => Ok((stream, None)),
///             None => Err(io::ErrorKind::NotConnected.into()),
///         })
///     }
/// }
/// ```
pub trait Source: Send + 'static {
    /// The stream of a connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Polls for the next connection and the address of its peer, if it has one.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`NotConnected`](io::ErrorKind::NotConnected) or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if no further connection will come, which stops
    /// the listener. If descriptors or memory ran out, the listener evicts a pending handshake. After
    /// that, and after any other error, it polls again. `NotConnected` as an error of the system, such
    /// as from `peer_addr` of a connection that has ended, does not stop it either.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, Option<SocketAddr>)>>;

    /// Returns the address that clients connect to, if there is one.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Returns the process that connected, if the streams are Unix sockets and the system reports it:
    /// [`Process::connected_to`].
    #[must_use]
    fn process(_: &Self::Stream) -> Option<Process> {
        None
    }
}

impl Source for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, Option<SocketAddr>)>> {
        TcpListener::poll_accept(self, cx)
            .map_ok(|(stream, peer)| (stream, Some(peer)))
            .map_err(|error| or_nobody_waits(self, error))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        TcpListener::local_addr(self).ok()
    }
}

#[cfg(unix)]
impl Source for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        UnixListener::poll_accept(self, cx)
            .map_ok(|(stream, _)| (stream, None))
            .map_err(|error| or_nobody_waits(self, error))
    }

    fn process(stream: &UnixStream) -> Option<Process> {
        Process::connected_to(stream)
    }
}

#[cfg(unix)]
impl BoundUnix<UnixListener> {
    /// [`BoundUnix::bind`](crate::BoundUnix) over tokio.
    ///
    /// # Errors
    ///
    /// Returns the same errors.
    ///
    /// # Panics
    ///
    /// Panics outside a runtime whose I/O is enabled.
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let bound = BoundUnix::<std::os::unix::net::UnixListener>::bind(path, mode)?;
        let BoundUnix { file, socket } = bound;
        let socket = UnixListener::from_std(socket)?;
        Ok(Self { file, socket })
    }
}

#[cfg(unix)]
impl Source for BoundUnix<UnixListener> {
    type Stream = UnixStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        Source::poll_accept(&mut self.socket, cx)
    }

    fn process(stream: &UnixStream) -> Option<Process> {
        Process::connected_to(stream)
    }
}

/// Returns an error of kind `WouldBlock` if descriptors or memory ran out, but not for a connection.
///
/// Tokio accepts again after each connection, to find that no other one waits. Without a descriptor
/// the system does not look whether one waits.
fn or_nobody_waits(socket: &impl AsFd, error: io::Error) -> io::Error {
    match (Trouble::of(&error), has_connection(socket)) {
        (Trouble::Shortage, Ok(false)) => io::ErrorKind::WouldBlock.into(),
        _ => error,
    }
}
