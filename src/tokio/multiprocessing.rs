//! The protocol of Python's `multiprocessing.connection` over tokio.
//! [`compat::multiprocessing`](crate::compat::multiprocessing) describes it, and says that it does
//! **not authenticate the listener**.
//!
//! After [`client_authenticate`] or [`server_authenticate`], a [`Connection`] sends and receives
//! messages. For CPython up to 3.11 there are [`client_authenticate_md5`] and
//! [`server_authenticate_md5`].

use std::io;
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Timeout, receive, send};
use crate::error::Error;
use crate::wire::multiprocessing::messages::{Messages, Received};
use crate::wire::multiprocessing::{
    Authkey, CHALLENGE, DIGEST, Digests, KnowsAuthkey, Verified, WELCOME, Welcomed,
};

/// [`compat::multiprocessing::client_authenticate`] with `await`.
///
/// # Errors
///
/// Returns the same errors.
///
/// [`compat::multiprocessing::client_authenticate`]: crate::compat::multiprocessing::client_authenticate
pub async fn client_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    run_client(stream, Authkey::new(authkey, Digests::Sha2)?).await
}

/// [`compat::multiprocessing::server_authenticate`] with `await`.
///
/// # Errors
///
/// Returns the same errors.
///
/// [`compat::multiprocessing::server_authenticate`]: crate::compat::multiprocessing::server_authenticate
pub async fn server_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    run_server(stream, Authkey::new(authkey, Digests::Sha2)?).await
}

/// [`compat::multiprocessing::client_authenticate_md5`] with `await`, and with its **warning**.
///
/// # Errors
///
/// Returns the same errors.
///
/// [`compat::multiprocessing::client_authenticate_md5`]: crate::compat::multiprocessing::client_authenticate_md5
#[cfg(feature = "multiprocessing-md5")]
pub async fn client_authenticate_md5<S>(
    stream: &mut S,
    authkey: &[u8],
) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    run_client(stream, Authkey::new(authkey, Digests::Md5)?).await
}

/// [`compat::multiprocessing::server_authenticate_md5`] with `await`, and with its **warning**.
///
/// # Errors
///
/// Returns the same errors.
///
/// [`compat::multiprocessing::server_authenticate_md5`]: crate::compat::multiprocessing::server_authenticate_md5
#[cfg(feature = "multiprocessing-md5")]
pub async fn server_authenticate_md5<S>(
    stream: &mut S,
    authkey: &[u8],
) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    run_server(stream, Authkey::new(authkey, Digests::Md5)?).await
}

async fn run_client<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let welcomed = answer(stream, authkey).await?;
    let verified = challenge(stream, authkey).await?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

async fn run_server<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let verified = challenge(stream, authkey).await?;
    let welcomed = answer(stream, authkey).await?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

async fn answer<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<Welcomed, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let timeout = Timeout::NEVER;
    let digest = receive(stream, authkey.await_challenge()?, timeout).await?;
    send(stream, DIGEST, digest.as_ref(), timeout).await?;
    receive(stream, authkey.await_welcome()?, timeout).await
}

async fn challenge<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<Verified, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let timeout = Timeout::NEVER;
    let (challenge, await_digest) = authkey.challenge::<Error>()?;
    send(stream, CHALLENGE, challenge.as_ref(), timeout).await?;
    let (verdict, verified) = receive(stream, await_digest, timeout).await?;
    let sent = send(stream, WELCOME, verdict.as_ref(), timeout).await;
    // Why a peer was refused says more than that it did not wait for the verdict.
    let verified = verified?;
    sent?;
    Ok(verified)
}

/// [`compat::multiprocessing::Connection`](crate::compat::multiprocessing::Connection) with
/// `await`.
///
/// [`recv_bytes`](Self::recv_bytes) is cancel safe: if it is dropped, the next call receives the rest
/// of the message. [`send_bytes`](Self::send_bytes) is not: if it is dropped in the middle of a
/// message, the connection is dead, and every later call fails with
/// [`io::ErrorKind::NotConnected`].
///
/// ```no_run
/// # use countersign::tokio::multiprocessing::{Connection, client_authenticate};
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut stream = tokio::net::TcpStream::connect("127.0.0.1:6000").await?;
/// let knows = client_authenticate(&mut stream, b"secret password").await?;
/// let mut connection = Connection::new(stream, knows);
/// while let Some(message) = connection.recv_bytes(1 << 20).await? {
///     connection.send_bytes(&message).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Connection<S> {
    stream: S,
    messages: Messages,
}

impl<S> Connection<S> {
    /// Makes a connection of the stream on which the peer has authenticated.
    pub fn new(stream: S, _: KnowsAuthkey) -> Self {
        Self {
            stream,
            messages: Messages::NONE,
        }
    }

    /// Returns the stream below.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends a message of any length.
    ///
    /// # Errors
    ///
    /// Returns the stream's error, and [`io::ErrorKind::NotConnected`] if the connection is dead.
    pub async fn send_bytes(&mut self, message: &[u8]) -> io::Result<()> {
        let (first, rest) = self.messages.send(message)?;
        for mut part in [&*first, rest] {
            while !part.is_empty() {
                part = (self.messages).sent(part, self.stream.write(part).await)?;
            }
        }
        self.messages.all_sent();
        self.stream.flush().await
    }

    /// Receives a message of at most `max` bytes, or `None` if the stream ends before one.
    ///
    /// # Errors
    ///
    /// Returns the errors of the blocking
    /// [`recv_bytes`](crate::compat::multiprocessing::Connection::recv_bytes).
    pub async fn recv_bytes(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        self.messages.expect(max)?;
        loop {
            let read = self.stream.read(self.messages.space()).await;
            match self.messages.received(read)? {
                Received::More => {}
                Received::Message(message) => return Ok(Some(message)),
                Received::End => return Ok(None),
            }
        }
    }
}

opaque_debug!([S] Connection<S> {});
