//! Clients that connect and authenticate in one call.

use core::fmt::Debug;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Instant;
use std::vec::Vec;
#[cfg(unix)]
use {
    rustix::io::Errno,
    rustix::net::sockopt::{Timeout, set_socket_timeout},
    rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    std::os::fd::OwnedFd,
    std::os::unix::net::UnixStream,
    std::path::Path,
};

#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::{Client, Deadline, Protected, Secured, Timed};
use crate::endpoint::connect::{not_connected, share};
use crate::error::Error;
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Mode, Protect, Session};

/// Connecting and authenticating in one call, with one deadline for both.
impl Client {
    /// Connects to a server over TCP and authenticates in mode 0.
    ///
    /// If `address` is a name with several addresses, it tries one after the other, each with an
    /// equal share of the time that is left, until one accepts the connection. If the handshake then
    /// fails, the others are not tried.
    ///
    /// All of it, from the first attempt to the verdict, takes at most 10 seconds or what
    /// [`connect_timeout`](Self::connect_timeout) says. **Looking up a name is not included**, because
    /// the system offers no timeout for it. What follows has no timeout. `TCP_NODELAY` is set, so small
    /// writes are sent at once.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Connect`] if the address cannot be looked up or connected to, and the errors
    /// of [`authenticate`](Self::authenticate).
    ///
    /// ```
    /// use countersign::{Client, Key, Listener, Server, generate_secret};
    /// use std::{io::{Read, Write}, net::TcpListener};
    ///
    /// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
    /// let socket = TcpListener::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let listener = Listener::new(socket, Server::new(key.clone()))?;
    ///
    /// let (mut stream, _session) = Client::new(key).connect(address)?;
    /// stream.write_all(b"hello")?;
    /// # let (mut stream, session) = listener.accept()?;
    /// # assert_eq!(session.key_id(), "worker-7");
    /// # stream.read_exact(&mut [0; 5])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(
        &self,
        address: impl ToSocketAddrs + Debug,
    ) -> Result<(TcpStream, Session), Error> {
        self.connect_tcp(address, Authenticate)
    }

    /// Like [`connect`](Self::connect), but in mode 1: what follows is protected from alteration.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    pub fn connect_protected(
        &self,
        address: impl ToSocketAddrs + Debug,
    ) -> Result<Protected<TcpStream>, Error> {
        let (stream, (session, records)) = self.connect_tcp(address, Protect)?;
        Ok(Secured::over_socket(stream, session, records))
    }

    /// Like [`connect`](Self::connect), but in mode 2: what follows is encrypted, with forward
    /// secrecy.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(feature = "encrypt")]
    pub fn connect_encrypted(
        &self,
        address: impl ToSocketAddrs + Debug,
    ) -> Result<Encrypted<TcpStream>, Error> {
        let (stream, (session, records)) = self.connect_tcp(address, Encrypt)?;
        Ok(Secured::over_socket(stream, session, records))
    }

    /// Like [`connect`](Self::connect), but over a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(unix)]
    pub fn connect_unix(&self, path: impl AsRef<Path>) -> Result<(UnixStream, Session), Error> {
        self.connect_path(path.as_ref(), Authenticate)
    }

    /// Like [`connect_protected`](Self::connect_protected), but over a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(unix)]
    pub fn connect_unix_protected(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Protected<UnixStream>, Error> {
        let (stream, (session, records)) = self.connect_path(path.as_ref(), Protect)?;
        Ok(Secured::over_socket(stream, session, records))
    }

    /// Like [`connect_encrypted`](Self::connect_encrypted), but over a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(all(unix, feature = "encrypt"))]
    pub fn connect_unix_encrypted(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Encrypted<UnixStream>, Error> {
        let (stream, (session, records)) = self.connect_path(path.as_ref(), Encrypt)?;
        Ok(Secured::over_socket(stream, session, records))
    }

    fn connect_tcp<M: Mode>(
        &self,
        named: impl ToSocketAddrs + Debug,
        mode: M,
    ) -> Result<(TcpStream, M::Established), Error> {
        self.run_on(Deadline::connect(named, self.time_to_connect())?, mode)
    }

    #[cfg(unix)]
    fn connect_path<M: Mode>(
        &self,
        path: &Path,
        mode: M,
    ) -> Result<(UnixStream, M::Established), Error> {
        self.run_on(Deadline::connect_unix(path, self.time_to_connect())?, mode)
    }

    fn run_on<S, M>(
        &self,
        mut connected: Deadline<S>,
        mode: M,
    ) -> Result<(S, M::Established), Error>
    where
        S: Timed + Read + Write,
        M: Mode,
    {
        let established = self.run(&mut connected, mode)?;
        Ok((connected.into_inner(), established))
    }
}

impl Deadline<TcpStream> {
    /// Connects over TCP, under a deadline that passes after `timeout` and that holds for what
    /// follows too: TLS, for instance, and then the handshake.
    ///
    /// It tries the addresses of a name as [`Client::connect`] does, and sets `TCP_NODELAY`. Looking up
    /// the name is not included in the timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Connect`] if the address cannot be looked up or connected to.
    ///
    /// ```
    /// # use countersign::{Client, Deadline, Key, Server, generate_secret};
    /// # use std::{net::TcpListener, thread, time::Duration};
    /// # let key = Key::new(generate_secret()?)?;
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # let server = Server::new(key.clone());
    /// # let server = thread::spawn(move || server.authenticate(&mut listener.accept().unwrap().0));
    /// let mut stream = Deadline::connect(address, Duration::from_secs(10))?;
    /// println!("connected to {}", stream.get_ref().peer_addr()?);
    /// Client::new(key).authenticate(&mut stream)?;
    /// # server.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(address: impl ToSocketAddrs + Debug, timeout: Duration) -> Result<Self, Error> {
        let mut found = match address.to_socket_addrs() {
            Ok(found) => found.collect::<Vec<_>>().into_iter(),
            Err(error) => return Err(not_connected(&address, error)),
        };
        let end = Instant::now().checked_add(timeout);
        let mut failure = None;
        while let Some(next) = found.next() {
            match to_address(next, share(left(end), found.len() + 1)) {
                Ok(stream) => return Ok(Self::until(stream, end)),
                Err(error) => failure = Some(not_connected(&next, error)),
            }
        }
        Err(failure.unwrap_or_else(|| not_connected(&address, io::ErrorKind::NotFound.into())))
    }
}

#[cfg(unix)]
impl Deadline<UnixStream> {
    /// Like [`connect`](Deadline::connect), but to a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Connect`] if the path cannot be connected to.
    pub fn connect_unix(path: impl AsRef<Path>, timeout: Duration) -> Result<Self, Error> {
        let path = path.as_ref();
        let end = Instant::now().checked_add(timeout);
        match to_path(path, end) {
            Ok(stream) => Ok(Self::until(stream, end)),
            Err(error) => Err(not_connected(&path, error)),
        }
    }
}

/// Returns the time that is left, which is endless without an end.
fn left(end: Option<Instant>) -> Duration {
    end.map_or(Duration::MAX, |end| {
        end.saturating_duration_since(Instant::now())
    })
}

fn to_address(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    if timeout.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// If the queue of the listening socket is full, Linux makes a connection wait for a place in it, for
/// as long as the socket's timeout of writes. Nobody else has the socket yet.
#[cfg(unix)]
fn to_path(path: &Path, end: Option<Instant>) -> io::Result<UnixStream> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    let address = SocketAddrUnix::new(path)?;
    let socket = unix_socket()?;
    loop {
        let left = left(end);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        set_socket_timeout(&socket, Timeout::Send, Some(left.min(LONGEST)))?;
        match connect(&socket, &address) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            connected => break connected?,
        }
    }
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket.into())
}

/// Returns a socket that no child process inherits.
#[cfg(unix)]
fn unix_socket() -> Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    #[cfg(not(target_vendor = "apple"))]
    let flags = SocketFlags::CLOEXEC;
    #[cfg(target_vendor = "apple")]
    let flags = SocketFlags::empty();
    let socket = socket_with(family, kind, flags, None)?;
    #[cfg(target_vendor = "apple")]
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}
