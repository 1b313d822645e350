//! The sockets that a listener listens on.

use core::time::Duration;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::thread;

use crate::endpoint::Server;
use crate::error::Error;
use crate::handshake::{Mode, Session};
use crate::keys::Keys;

/// A listening socket of the standard library: a [`TcpListener`] or, on Unix, a `UnixListener`.
///
/// It is sealed: these two are all there are.
pub trait Socket: Sealed + Send + Sync + 'static {
    /// What it accepts.
    type Stream: Send + Sync + 'static;

    #[doc(hidden)]
    fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)>;

    #[doc(hidden)]
    fn set_blocking(&self) -> io::Result<()>;

    /// Makes a pending `accept` return, by connecting to it.
    #[doc(hidden)]
    fn wake(&self);

    /// Makes a pending `accept` return where connecting to it does not.
    #[doc(hidden)]
    fn end_listening(&self);

    #[doc(hidden)]
    fn authenticate<K: Keys>(
        stream: &Self::Stream,
        server: &Server<K>,
        mode: Mode,
        time: Duration,
    ) -> Result<Session, Error>;

    /// Ends both directions, and with them whatever waits for either.
    #[doc(hidden)]
    fn end(stream: &Self::Stream);
}

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

impl Sealed for TcpListener {}

#[cfg(unix)]
impl Sealed for UnixListener {}

impl Socket for TcpListener {
    type Stream = TcpStream;

    fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        self.accept().map(|(stream, peer)| (stream, Some(peer)))
    }

    fn set_blocking(&self) -> io::Result<()> {
        self.set_nonblocking(false)
    }

    fn end_listening(&self) {
        #[cfg(unix)]
        end_listening(self);
    }

    fn wake(&self) {
        if let Ok(mut address) = self.local_addr() {
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            let _ = TcpStream::connect_timeout(&address, Duration::from_millis(20));
        }
    }

    fn authenticate<K: Keys>(
        stream: &TcpStream,
        server: &Server<K>,
        mode: Mode,
        time: Duration,
    ) -> Result<Session, Error> {
        server.run_within(stream, mode, time)
    }

    fn end(stream: &TcpStream) {
        // One that is not connected any more has ended already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(unix)]
impl Socket for UnixListener {
    type Stream = UnixStream;

    fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.accept().map(|(stream, _)| (stream, None))
    }

    fn set_blocking(&self) -> io::Result<()> {
        self.set_nonblocking(false)
    }

    fn end_listening(&self) {
        end_listening(self);
    }

    fn wake(&self) {
        if let Ok(address) = self.local_addr() {
            // Where the queue is full this waits for a place in it, or for the end of the socket.
            let connect = move || UnixStream::connect_addr(&address);
            let _ = thread::Builder::new().spawn(connect);
        }
    }

    fn authenticate<K: Keys>(
        stream: &UnixStream,
        server: &Server<K>,
        mode: Mode,
        time: Duration,
    ) -> Result<Session, Error> {
        server.run_within(stream, mode, time)
    }

    fn end(stream: &UnixStream) {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Shuts a listening socket down. Only streams have a method for it, but the call is one and the
/// same for all sockets.
#[cfg(unix)]
fn end_listening(socket: &impl std::os::fd::AsFd) {
    if let Ok(duplicate) = socket.as_fd().try_clone_to_owned() {
        let _ = TcpStream::from(duplicate).shutdown(Shutdown::Both);
    }
}
