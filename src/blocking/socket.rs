//! The sockets that a listener accepts from.

use core::time::Duration;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::thread;

use super::{Deadline, Secured, Server};
use crate::error::Error;
use crate::handshake::{Mode, Session};
use crate::keys::KeyLookup;
use crate::record::Records;

/// A listening socket of the standard library: a [`TcpListener`] or, on Unix, a `UnixListener`.
///
/// It is sealed: these two are all there are.
pub trait Socket: Wake {
    /// The stream of an accepted connection.
    type Stream: End;

    #[doc(hidden)]
    fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)>;

    #[doc(hidden)]
    fn set_blocking(&self) -> io::Result<()>;

    #[doc(hidden)]
    fn run<K: KeyLookup, M: Mode>(
        stream: &Self::Stream,
        server: &Server<K>,
        mode: M,
        timeout: Duration,
    ) -> Result<M::Established, Error>;

    #[doc(hidden)]
    fn linger(stream: &Self::Stream, timeout: Duration);

    #[doc(hidden)]
    fn secured<P>(
        stream: Self::Stream,
        session: Session,
        records: Records<P>,
    ) -> Secured<Self::Stream, P>;
}

/// What ends a pending `accept`, whatever the socket is.
#[doc(hidden)]
pub trait Wake: Send + Sync + 'static {
    /// Makes a pending `accept` return, by connecting to it.
    fn wake(&self);

    /// Makes a pending `accept` return where connecting to it does not.
    fn end_listening(&self);
}

/// What ends a pending handshake, whatever the stream is.
#[doc(hidden)]
pub trait End: Send + Sync + 'static {
    /// Shuts down both directions, which ends whatever waits for either.
    fn end(&self);
}

macro_rules! socket {
    ($(#[$cfg:meta])? $listener:ty, $stream:ty, $peer:expr) => {
        $(#[$cfg])?
        impl Socket for $listener {
            type Stream = $stream;

            fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
                self.accept().map(|(stream, peer)| (stream, $peer(peer)))
            }

            fn set_blocking(&self) -> io::Result<()> {
                self.set_nonblocking(false)
            }

            fn run<K: KeyLookup, M: Mode>(
                stream: &Self::Stream,
                server: &Server<K>,
                mode: M,
                timeout: Duration,
            ) -> Result<M::Established, Error> {
                server.run(&mut Deadline::new(stream, timeout), mode)
            }

            fn linger(stream: &Self::Stream, timeout: Duration) {
                Deadline::new(stream, timeout).linger();
            }

            fn secured<P>(
                stream: Self::Stream,
                session: Session,
                records: Records<P>,
            ) -> Secured<Self::Stream, P> {
                Secured::over_socket(stream, session, records)
            }
        }

        $(#[$cfg])?
        impl End for $stream {
            fn end(&self) {
                // A stream that is not connected any more has ended already.
                let _ = self.shutdown(Shutdown::Both);
            }
        }
    };
}

socket!(TcpListener, TcpStream, Some);
socket!(
    #[cfg(unix)]
    UnixListener,
    UnixStream,
    |_| None
);

impl Wake for TcpListener {
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

    fn end_listening(&self) {
        #[cfg(unix)]
        end_listening(self);
    }
}

#[cfg(unix)]
impl Wake for UnixListener {
    fn wake(&self) {
        if let Ok(address) = self.local_addr() {
            // If the queue is full, this waits for a place in it or for the end of the socket.
            let connect = move || UnixStream::connect_addr(&address);
            let _ = thread::Builder::new().spawn(connect);
        }
    }

    fn end_listening(&self) {
        end_listening(self);
    }
}

/// Shuts a listening socket down. The standard library has a method for it only on streams, but the
/// system call is the same for all sockets.
#[cfg(unix)]
fn end_listening(socket: &impl std::os::fd::AsFd) {
    if let Ok(duplicate) = socket.as_fd().try_clone_to_owned() {
        let _ = TcpStream::from(duplicate).shutdown(Shutdown::Both);
    }
}
