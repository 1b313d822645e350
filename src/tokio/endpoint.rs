//! The verbs over tokio's streams, for both roles.

use core::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::look_up::Lookup;
use super::timeout::{Timeout, linger};
use super::{Protected, Secured, run_client, run_server};
use crate::endpoint::{ClientRole, Endpoint, Role, ServerRole, Tokio, Which};
use crate::error::Error;
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Mode, Protect, Session};

/// [`countersign::Client`](crate::Client) with `await`.
///
/// ```no_run
/// use countersign::{Key, tokio::Client};
/// use std::time::Duration;
/// use tokio::net::TcpStream;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(Key::from_file("secret.key")?).service("billing/2")?;
/// let mut stream = TcpStream::connect("127.0.0.1:7000").await?;
/// let session = client.authenticate_timeout(&mut stream, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
pub type Client = Endpoint<ClientRole, Tokio>;

/// [`countersign::Server`](crate::Server) with `await`.
///
/// ```no_run
/// use countersign::{Keyring, tokio::Server};
/// use std::time::Duration;
/// use tokio::net::TcpListener;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(Keyring::from_dir("/etc/billing/keys")?).service("billing/2")?;
/// let (mut stream, _) = TcpListener::bind("127.0.0.1:7000").await?.accept().await?;
/// let session = server.authenticate_timeout(&mut stream, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
pub type Server<K> = Endpoint<ServerRole<K>, Tokio>;

/// The verbs over tokio's streams.
impl<R: Role<Keys: Lookup>> Endpoint<R, Tokio> {
    /// Authenticates both ends in mode 0. What follows on the stream is not protected.
    ///
    /// After success the next byte read is application data. A client must send nothing before.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a
    /// client, [`Error::Denied`]. The stream must then be dropped.
    pub async fn authenticate<S>(&self, stream: &mut S) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        self.run(stream, Authenticate, Timeout::NEVER).await
    }

    /// Like [`authenticate`](Self::authenticate), but fails after `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of
    /// [`authenticate`](Self::authenticate). A server that has denied a client waits until the client
    /// closes, so that its verdict arrives, but for no longer than a second or the timeout.
    pub async fn authenticate_timeout<S>(
        &self,
        stream: &mut S,
        timeout: Duration,
    ) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        self.run_timeout(stream, Authenticate, timeout).await
    }

    /// Authenticates both ends in mode 1, and protects what follows from alteration.
    ///
    /// The peer must use the same verb: each end refuses the other's mode.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a
    /// client, [`Error::Denied`]. The stream is then dropped.
    pub async fn protect<S>(&self, mut stream: S) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (session, records) = self.run(&mut stream, Protect, Timeout::NEVER).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Like [`protect`](Self::protect), but the handshake fails after `timeout`. What follows has no
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of [`protect`](Self::protect).
    /// The stream is then dropped.
    pub async fn protect_timeout<S>(
        &self,
        mut stream: S,
        timeout: Duration,
    ) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (session, records) = self.run_timeout(&mut stream, Protect, timeout).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Authenticates both ends in mode 2, and encrypts what follows, with forward secrecy.
    ///
    /// The peer must use the same verb: each end refuses the other modes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Closed`], [`Error::TimedOut`], [`Error::Handshake`] or, at a
    /// client, [`Error::Denied`]. The stream is then dropped.
    #[cfg(feature = "encrypt")]
    pub async fn encrypt<S>(&self, mut stream: S) -> Result<Encrypted<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (session, records) = self.run(&mut stream, Encrypt, Timeout::NEVER).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Like [`encrypt`](Self::encrypt), but the handshake fails after `timeout`. What follows has no
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TimedOut`] after `timeout`, and the errors of [`encrypt`](Self::encrypt).
    /// The stream is then dropped.
    #[cfg(feature = "encrypt")]
    pub async fn encrypt_timeout<S>(
        &self,
        mut stream: S,
        timeout: Duration,
    ) -> Result<Encrypted<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (session, records) = self.run_timeout(&mut stream, Encrypt, timeout).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Runs a handshake under a deadline. After an answer that the peer needs, it lingers.
    async fn run_timeout<S, M>(
        &self,
        stream: &mut S,
        mode: M,
        timeout: Duration,
    ) -> Result<M::Established, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
        M: Mode,
    {
        Timeout::after(timeout, async |timeout| {
            // Only the error is kept across the wait. An outcome would give every pending login room
            // for the records of a session.
            let error = match self.run(stream, mode, timeout).await {
                Ok(established) => return Ok(established),
                Err(error) => error,
            };
            if self.has_answered(&error) {
                linger(stream, timeout.left()).await;
            }
            Err(error)
        })
        .await
    }

    pub(super) async fn run<S, M>(
        &self,
        stream: &mut S,
        mode: M,
        timeout: Timeout,
    ) -> Result<M::Established, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
        M: Mode,
    {
        let prologue = &self.prologue;
        match self.role.get() {
            Which::Client(key) => run_client(stream, key, prologue, mode, timeout).await,
            Which::Server(keys, dummy) => {
                run_server(stream, keys, dummy, prologue, mode, timeout).await
            }
        }
    }
}
