//! The verbs over blocking streams, for both roles.

#[cfg(feature = "net")]
use core::time::Duration;
use std::io::{Read, Write};

use rand::rngs::SysRng;

#[cfg(feature = "encrypt")]
use super::Encrypted;
#[cfg(feature = "net")]
use super::{Deadline, Timed};
use super::{Protected, Secured, run_client, run_server};
use crate::endpoint::{Blocking, ClientRole, Endpoint, Role, ServerRole, Which};
use crate::error::Error;
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Mode, Protect, Session};
use crate::keys::KeyLookup;
use crate::record::Records;

/// A client over blocking streams. One serves many connections.
///
/// Its options are [`service`](Endpoint::service) and [`bound`](Endpoint::bound). Its verbs are
/// [`authenticate`](Self::authenticate) and [`protect`](Self::protect), with a timeout
/// [`authenticate_timeout`](Self::authenticate_timeout) and
/// [`protect_timeout`](Self::protect_timeout), and for a new connection [`connect`](Self::connect)
/// and [`connect_protected`](Self::connect_protected).
///
/// ```no_run
/// use countersign::{Client, Key};
///
/// let client = Client::new(Key::from_file("secret.key")?).service("billing/2")?;
/// let (stream, session) = client.connect("127.0.0.1:7000")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Client = Endpoint<ClientRole, Blocking>;

/// A server over blocking streams. One serves many connections.
///
/// It has the same options and verbs as a [`Client`].
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
impl<R: Role<Keys: KeyLookup>> Endpoint<R, Blocking> {
    /// Authenticates both ends in mode 0. What follows on the stream is not protected.
    ///
    /// After success the next byte read is application data. A client must send nothing before.
    /// The verb has no timeout: it blocks for as long as the stream does.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a
    /// client, [`Error::Denied`]. The stream must then be dropped.
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
    /// [`authenticate`](Self::authenticate). A server that has denied a client waits until the client
    /// closes, so that its verdict arrives, but for no longer than a second or the timeout.
    #[cfg(feature = "net")]
    pub fn authenticate_timeout<S>(&self, stream: S, timeout: Duration) -> Result<Session, Error>
    where
        S: Timed + Read + Write,
    {
        self.run_timeout(&mut Deadline::new(stream, timeout), Authenticate)
    }

    /// Authenticates both ends in mode 1, and protects what follows from alteration.
    ///
    /// The peer must use the same verb: each end refuses the other's mode. The verb has no timeout:
    /// it blocks for as long as the stream does.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a
    /// client, [`Error::Denied`]. The stream is then dropped.
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
    pub fn protect<S>(&self, stream: S) -> Result<Protected<S>, Error>
    where
        S: Read + Write,
    {
        self.secure(stream, Protect)
    }

    /// Like [`protect`](Self::protect), but the handshake fails after `timeout`. What follows has no
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of [`protect`](Self::protect).
    /// The stream is then dropped.
    #[cfg(feature = "net")]
    pub fn protect_timeout<S>(&self, stream: S, timeout: Duration) -> Result<Protected<S>, Error>
    where
        S: Timed + Read + Write,
        for<'s> &'s S: Timed,
    {
        self.secure_timeout(stream, Protect, timeout)
    }

    /// Authenticates both ends in mode 2, and encrypts what follows, with forward secrecy.
    ///
    /// The peer must use the same verb: each end refuses the other modes. The verb has no timeout:
    /// it blocks for as long as the stream does.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a
    /// client, [`Error::Denied`]. The stream is then dropped.
    ///
    /// ```no_run
    /// # use countersign::{Client, Key};
    /// # use std::{io::Write, net::TcpStream};
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// let mut stream = client.encrypt(TcpStream::connect("127.0.0.1:7000")?)?;
    /// stream.write_all(b"hello")?;
    /// stream.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "encrypt")]
    pub fn encrypt<S>(&self, stream: S) -> Result<Encrypted<S>, Error>
    where
        S: Read + Write,
    {
        self.secure(stream, Encrypt)
    }

    /// Like [`encrypt`](Self::encrypt), but the handshake fails after `timeout`. What follows has no
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of [`encrypt`](Self::encrypt).
    /// The stream is then dropped.
    #[cfg(all(feature = "net", feature = "encrypt"))]
    pub fn encrypt_timeout<S>(&self, stream: S, timeout: Duration) -> Result<Encrypted<S>, Error>
    where
        S: Timed + Read + Write,
        for<'s> &'s S: Timed,
    {
        self.secure_timeout(stream, Encrypt, timeout)
    }

    fn secure<S, M, P>(&self, mut stream: S, mode: M) -> Result<Secured<S, P>, Error>
    where
        S: Read + Write,
        M: Mode<Established = (Session, Records<P>)>,
    {
        let (session, records) = self.run(&mut stream, mode)?;
        Ok(Secured::new(stream, session, records))
    }

    #[cfg(feature = "net")]
    fn secure_timeout<S, M, P>(
        &self,
        stream: S,
        mode: M,
        timeout: Duration,
    ) -> Result<Secured<S, P>, Error>
    where
        S: Timed + Read + Write,
        for<'s> &'s S: Timed,
        M: Mode<Established = (Session, Records<P>)>,
    {
        let mut deadline = Deadline::new(stream, timeout);
        let (session, records) = self.run_timeout(&mut deadline, mode)?;
        Ok(Secured::over_socket(
            deadline.into_inner(),
            session,
            records,
        ))
    }

    /// Runs a handshake under its deadline. After an answer that the peer needs, it lingers.
    #[cfg(feature = "net")]
    fn run_timeout<S, M>(
        &self,
        deadline: &mut Deadline<S>,
        mode: M,
    ) -> Result<M::Established, Error>
    where
        S: Timed + Read + Write,
        M: Mode,
    {
        let outcome = self.run(deadline, mode);
        if outcome
            .as_ref()
            .is_err_and(|error| self.has_answered(error))
        {
            deadline.linger();
        }
        outcome
    }

    pub(super) fn run<S, M>(&self, stream: &mut S, mode: M) -> Result<M::Established, Error>
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
