//! The verbs over blocking streams, for both roles.

use core::time::Duration;
use std::io::{Read, Write};

use rand::rngs::SysRng;

use super::{Deadline, Protected, Timeouts, run_client, run_server};
use crate::endpoint::{Blocking, ClientRole, Endpoint, Role, ServerRole, Which};
use crate::error::{Error, Phase};
use crate::handshake::{Authenticate, Message, Mode, Protect, Session};

/// A client over blocking streams. One serves many connections.
///
/// ```no_run
/// use countersign::{Client, Key};
/// use std::{net::TcpStream, time::Duration};
///
/// let client = Client::new(Key::from_file("secret.key")?).service("billing/2")?;
/// let stream = TcpStream::connect("127.0.0.1:7000")?;
/// let session = client.authenticate_timeout(&stream, Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Client = Endpoint<ClientRole, Blocking>;

/// A server over blocking streams. One serves many connections.
///
/// ```no_run
/// use countersign::{Key, Server};
/// use std::{net::TcpListener, time::Duration};
///
/// let server = Server::new(Key::from_file("secret.key")?).service("billing/2")?;
/// let (stream, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
/// let session = server.authenticate_timeout(&stream, Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Server<K> = Endpoint<ServerRole<K>, Blocking>;

/// The verbs over blocking streams.
impl<R: Role> Endpoint<R, Blocking> {
    /// Authenticates both ends in mode 0. What follows on the stream is not protected.
    ///
    /// After success the next byte read is application data. A client must send nothing before.
    /// The verb has no timeout: it blocks for as long as the stream does.
    ///
    /// # Errors
    ///
    /// Returns every [`Error`] except those of key files. The stream must then be dropped.
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::net::TcpStream;
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let mut stream = TcpStream::connect("127.0.0.1:7000")?;
    /// client.authenticate(&mut stream)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn authenticate<S>(&self, stream: &mut S) -> Result<Session, Error>
    where
        S: Read + Write + ?Sized,
    {
        self.run(stream, Authenticate)
    }

    /// Like [`authenticate`](Self::authenticate), but fails after `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of
    /// [`authenticate`](Self::authenticate).
    pub fn authenticate_timeout<S>(&self, socket: &S, timeout: Duration) -> Result<Session, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        self.run_timeout(socket, Authenticate, timeout)
    }

    /// Authenticates both ends in mode 1, and protects what follows from alteration.
    ///
    /// The peer must use the same verb: each end refuses the other's mode. The verb has no timeout:
    /// it blocks for as long as the stream does.
    ///
    /// # Errors
    ///
    /// Returns every [`Error`] except those of key files. The stream is then dropped.
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::{io::Write, net::TcpStream};
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let mut stream = client.protect(TcpStream::connect("127.0.0.1:7000")?)?;
    /// stream.write_all(b"hello")?;
    /// stream.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protect<S>(&self, mut stream: S) -> Result<Protected<S>, Error>
    where
        S: Read + Write,
    {
        let (session, records) = self.run(&mut stream, Protect)?;
        Ok(Protected::new(stream, session, records))
    }

    /// Like [`protect`](Self::protect), but the handshake fails after `timeout`. What follows has no
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of [`protect`](Self::protect).
    /// The socket is then dropped.
    pub fn protect_timeout<S>(&self, socket: S, timeout: Duration) -> Result<Protected<S>, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
    {
        let (session, records) = self.run_timeout(&socket, Protect, timeout)?;
        Ok(Protected::new(socket, session, records))
    }

    pub(super) fn run_timeout<S, M>(
        &self,
        socket: &S,
        mode: M,
        timeout: Duration,
    ) -> Result<M::Established, Error>
    where
        S: Timeouts,
        for<'s> &'s S: Read + Write,
        M: Mode,
    {
        let first = match self.role.get() {
            Which::Client(_) => Phase::Awaiting(Message::CHALLENGE),
            Which::Server(..) => Phase::Sending(Message::CHALLENGE),
        };
        let deadline = Deadline::new(socket, timeout);
        self.run(&mut deadline.map_err(|error| first.failed(error))?, mode)
    }

    fn run<S, M>(&self, stream: &mut S, mode: M) -> Result<M::Established, Error>
    where
        S: Read + Write + ?Sized,
        M: Mode,
    {
        let prologue = &self.prologue;
        match self.role.get() {
            Which::Client(key) => run_client(stream, key, prologue, mode, &mut SysRng),
            Which::Server(keys, dummy) => {
                run_server(stream, keys, dummy, prologue, mode, &mut SysRng)
            }
        }
    }
}
