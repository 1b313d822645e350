//! The wire of Python's `multiprocessing.connection` over tokio;
//! [`compat::multiprocessing`](crate::compat::multiprocessing) describes it, and says that it
//! does **not authenticate the listener**.

use core::fmt;
use std::io;
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Time, send};
use crate::compat::multiprocessing::{
    AT_ONCE, Authkey, Challenge, Digests, Header, KnowsAuthkey, Message, Verified, Welcomed,
    header, impossible, whole, within,
};
use crate::driver::received;
use crate::error::{Error, Phase};
use crate::handshake::{Flight, InvalidInput};

/// [`compat::multiprocessing::client_authenticate`] with `await`.
///
/// # Errors
///
/// Those of the function above.
///
/// ```
/// use countersign::tokio::multiprocessing::{Connection, client_authenticate, server_authenticate};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut near, mut far) = tokio::io::duplex(1024);
/// let (client, server) = tokio::try_join!(
///     client_authenticate(&mut near, b"secret password"),
///     server_authenticate(&mut far, b"secret password"),
/// )?;
/// let (mut near, mut far) = (Connection::new(near, client), Connection::new(far, server));
/// near.send_bytes(b"hello").await?;
/// assert_eq!(far.recv_bytes(1024).await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
///
/// [`compat::multiprocessing::client_authenticate`]: crate::compat::multiprocessing::client_authenticate
pub async fn client_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    run_client(stream, &Authkey::new(authkey, Digests::Sha2)?).await
}

/// [`compat::multiprocessing::server_authenticate`] with `await`.
///
/// # Errors
///
/// Those of the function above.
///
/// ```
/// # use countersign::tokio::multiprocessing::server_authenticate;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut silent = tokio::io::empty();
/// assert!(server_authenticate(&mut silent, b"secret password").await.is_err());
/// # }
/// ```
///
/// [`compat::multiprocessing::server_authenticate`]: crate::compat::multiprocessing::server_authenticate
pub async fn server_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    run_server(stream, &Authkey::new(authkey, Digests::Sha2)?).await
}

/// [`compat::multiprocessing::client_authenticate_md5`] with `await`, and with its **warning**.
///
/// # Errors
///
/// Those of the function above.
///
/// ```
/// # use countersign::tokio::multiprocessing::client_authenticate_md5;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut silent = tokio::io::empty();
/// assert!(client_authenticate_md5(&mut silent, b"secret password").await.is_err());
/// # }
/// ```
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
    run_client(stream, &Authkey::new(authkey, Digests::Md5)?).await
}

/// [`compat::multiprocessing::server_authenticate_md5`] with `await`, and with its **warning**.
///
/// # Errors
///
/// Those of the function above.
///
/// ```
/// # use countersign::tokio::multiprocessing::server_authenticate_md5;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut silent = tokio::io::empty();
/// assert!(server_authenticate_md5(&mut silent, b"secret password").await.is_err());
/// # }
/// ```
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
    run_server(stream, &Authkey::new(authkey, Digests::Md5)?).await
}

/// [`compat::multiprocessing::Connection`](crate::compat::multiprocessing::Connection) with
/// `await`.
///
/// Neither of its two calls is cancel safe: one that is dropped leaves part of a message behind.
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
}

impl<S> Connection<S> {
    /// A connection over the stream whose peer has authenticated.
    ///
    /// ```no_run
    /// # use countersign::tokio::multiprocessing::{Connection, client_authenticate};
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut stream = tokio::net::TcpStream::connect("127.0.0.1:6000").await?;
    /// let knows = client_authenticate(&mut stream, b"secret password").await?;
    /// let connection = Connection::new(stream, knows);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(stream: S, _: KnowsAuthkey) -> Self {
        Self { stream }
    }

    /// The stream below.
    ///
    /// ```no_run
    /// # use countersign::tokio::multiprocessing::Connection;
    /// # fn run(connection: Connection<tokio::net::TcpStream>) -> std::io::Result<()> {
    /// connection.get_ref().set_nodelay(true)
    /// # }
    /// ```
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
    /// That of the stream, which is then to be dropped.
    ///
    /// ```no_run
    /// # use countersign::tokio::multiprocessing::Connection;
    /// # async fn run(mut connection: Connection<tokio::net::TcpStream>) -> std::io::Result<()> {
    /// connection.send_bytes(b"hello").await
    /// # }
    /// ```
    pub async fn send_bytes(&mut self, message: &[u8]) -> io::Result<()> {
        let header = header(message.len());
        if message.len() <= AT_ONCE {
            let whole = [header.as_ref(), message].concat();
            self.stream.write_all(&whole).await?;
        } else {
            self.stream.write_all(header.as_ref()).await?;
            self.stream.write_all(message).await?;
        }
        self.stream.flush().await
    }

    /// Receives a message of at most `max` octets; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the blocking
    /// [`recv_bytes`](crate::compat::multiprocessing::Connection::recv_bytes).
    ///
    /// ```no_run
    /// # use countersign::tokio::multiprocessing::Connection;
    /// # async fn run(mut connection: Connection<tokio::net::TcpStream>) -> std::io::Result<()> {
    /// let message = connection.recv_bytes(1 << 20).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv_bytes(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        let mut header = [0; 4];
        let (first, rest) = header.split_at_mut(1);
        if self.stream.read(first).await? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(rest).await?;
        let len = match Header::parse(header) {
            Header::Short(len) => u64::from(len),
            Header::Long => self.stream.read_u64().await?,
            Header::Impossible(len) => return Err(impossible(len)),
        };
        let len = within(len, max)?;
        let mut message = Vec::new();
        (&mut self.stream)
            .take(len)
            .read_to_end(&mut message)
            .await?;
        whole(message, len).map(Some)
    }
}

async fn run_client<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let welcomed = answer(stream, authkey).await?;
    let verified = challenge(stream, authkey).await?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

async fn run_server<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let verified = challenge(stream, authkey).await?;
    let welcomed = answer(stream, authkey).await?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

async fn challenge<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<Verified, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let time = Time::unlimited();
    let challenge = Challenge::new(authkey)?;
    let message = challenge.message().as_ref();
    send(stream, Flight::CompatChallenge, message, time).await?;
    let digest = receive(stream, Flight::CompatDigest).await?;
    let verified = challenge.verify(&digest);
    let verdict = Message::verdict(&verified);
    let sent = send(stream, Flight::CompatWelcome, verdict.as_ref(), time).await;
    // Why a peer was refused says more than that it did not stay to hear so.
    let verified = verified?;
    sent?;
    Ok(verified)
}

async fn answer<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<Welcomed, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let challenge = receive(stream, Flight::CompatChallenge).await?;
    let answer = authkey.answer(&challenge)?;
    let time = Time::unlimited();
    send(stream, Flight::CompatDigest, answer.as_ref(), time).await?;
    let verdict = receive(stream, Flight::CompatWelcome).await?;
    Ok(Welcomed::from(&verdict)?)
}

async fn receive<S>(stream: &mut S, flight: Flight) -> Result<Message, Error>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let phase = Phase::Awaiting(flight);
    let mut header = [0; 4];
    fill(stream, phase, &mut header).await?;
    let mut message = Message::announced(header)?;
    fill(stream, phase, message.payload_mut()).await?;
    Ok(message)
}

async fn fill<S>(stream: &mut S, phase: Phase, mut buf: &mut [u8]) -> Result<(), Error>
where
    S: AsyncRead + Unpin + ?Sized,
{
    while !buf.is_empty() {
        let len = received(phase, stream.read(buf).await)?;
        let room = buf.len();
        buf = (buf.get_mut(len..)).ok_or(InvalidInput::Overrun { room, len })?;
    }
    Ok(())
}

impl<S> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
