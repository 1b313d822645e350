//! The same over tokio: functions, options and listener, with `await`.
//!
//! They differ from those at the crate root in nothing but that. **Cancellation:** a handshake
//! that is dropped half-way leaves no session and a stream that is to be dropped too, since part
//! of a flight may have been read or sent. [`Listener::accept`] loses nothing when it is dropped.
//!
//! They set no deadline, except where they say so: `tokio::time::timeout` does for any of them
//! what [`Client::authenticate_within`] and [`Server::authenticate_within`] do with an error
//! that says what was awaited. Those two and the listener need a runtime with its time and I/O
//! enabled, as `#[tokio::main]` makes it; tokio itself panics without.

pub mod cookbook;
mod listener;
#[cfg(feature = "multiprocessing")]
pub mod multiprocessing;
mod protected;

use core::future::Future;
use core::time::Duration;
use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::time::{Instant, timeout_at};
use rand::rngs::SysRng;

pub use self::listener::{Listener, ProtectedListener, Socket};
pub use self::protected::{Protected, ReadHalf, WriteHalf};

use crate::driver::{flushed, received, sent};
use crate::endpoint::NO_OPTIONS;
use crate::error::{Error, Phase};
use crate::handshake::{
    Binding, Flight, InvalidInput, Key, Mode, Progress, Prologue, Receive, Session, Transcript,
    client, server,
};
use crate::keys::Keys;

/// [`countersign::client_authenticate`](crate::client_authenticate) with `await`.
///
/// # Errors
///
/// Every [`Error`] but those of key files. The stream is then to be dropped.
///
/// ```
/// use countersign::{Key, generate_secret, tokio::{client_authenticate, server_authenticate}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::new(generate_secret()?)?.with_id("worker-7")?;
/// let (mut near, mut far) = tokio::io::duplex(256);
/// let (client, server) = tokio::try_join!(
///     client_authenticate(&mut near, &key),
///     server_authenticate(&mut far, &key),
/// )?;
/// assert_eq!(server.key_id(), "worker-7");
/// # Ok(())
/// # }
/// ```
pub async fn client_authenticate<S>(stream: &mut S, key: &Key) -> Result<Session, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mode = Mode::Authenticate;
    run_client(stream, &Prologue::EMPTY, mode, key, Time::unlimited()).await
}

/// [`countersign::server_authenticate`](crate::server_authenticate) with `await`.
///
/// # Errors
///
/// Every [`Error`] but those of key files. The stream is then to be dropped.
///
/// ```
/// # use countersign::{Key, generate_secret, tokio::{client_authenticate, server_authenticate}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let key = Key::new(generate_secret()?)?;
/// # let (mut near, mut far) = tokio::io::duplex(256);
/// # let (client, server) = tokio::join!(
/// #     client_authenticate(&mut near, &key),
/// #     async {
/// let session = server_authenticate(&mut far, &key).await?;
/// # Ok::<_, countersign::Error>(session) });
/// # server?;
/// # Ok(())
/// # }
/// ```
pub async fn server_authenticate<S, K>(stream: &mut S, keys: &K) -> Result<Session, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    K: Keys + ?Sized,
{
    run_server(
        stream,
        &NO_OPTIONS,
        Mode::Authenticate,
        keys,
        Time::unlimited(),
    )
    .await
}

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
/// let session = client.authenticate_within(&mut stream, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client(crate::Client);

impl Client {
    /// See [`countersign::Client::new`](crate::Client::new).
    ///
    /// ```
    /// # use countersign::{Key, generate_secret, tokio::Client};
    /// let client = Client::new(Key::new(generate_secret()?)?.with_id("worker-7")?);
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self(crate::Client::new(key))
    }

    /// See [`countersign::Client::service`](crate::Client::service).
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`].
    ///
    /// ```
    /// # use countersign::{Key, generate_secret, tokio::Client};
    /// # let key = Key::new(generate_secret()?)?;
    /// let client = Client::new(key).service("billing/2")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn service(self, name: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        self.0.service(name).map(Self)
    }

    /// See [`countersign::Client::bound`](crate::Client::bound).
    ///
    /// ```
    /// # use countersign::{Binding, Key, generate_secret, tokio::Client};
    /// # let client = Client::new(Key::new(generate_secret()?)?);
    /// # let exported = [7; 32];
    /// let bound = client.bound(&Binding::tls_exporter(&exported));
    /// # Ok::<(), countersign::Error>(())
    /// ```
    #[must_use]
    pub fn bound(&self, binding: &Binding) -> Self {
        Self(self.0.bound(binding))
    }

    /// [`client_authenticate`] with the options of this client.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`].
    ///
    /// ```no_run
    /// # use countersign::{Key, tokio::Client};
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// # let mut stream = tokio::net::TcpStream::connect("127.0.0.1:7000").await?;
    /// let session = client.authenticate(&mut stream).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn authenticate<S>(&self, stream: &mut S) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        self.run(stream, Mode::Authenticate, Time::unlimited())
            .await
    }

    /// [`authenticate`](Self::authenticate) with one total deadline.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`]; [`Error::TimedOut`] once the time is over.
    ///
    /// ```no_run
    /// # use countersign::{Key, tokio::Client};
    /// # use std::time::Duration;
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::new(Key::from_file("secret.key")?);
    /// # let mut stream = tokio::net::TcpStream::connect("127.0.0.1:7000").await?;
    /// let session = client.authenticate_within(&mut stream, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn authenticate_within<S>(
        &self,
        stream: &mut S,
        time: Duration,
    ) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        self.run(stream, Mode::Authenticate, Time::limited(time))
            .await
    }

    /// Authenticates in mode 1, and protects what follows.
    ///
    /// Like [`authenticate`](Self::authenticate) it sets no deadline. The server is to do the
    /// same: each end refuses the other's mode.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`]. The stream is then dropped.
    ///
    /// ```no_run
    /// # async fn run(client: countersign::tokio::Client, stream: tokio::net::TcpStream)
    /// #     -> Result<(), countersign::Error> {
    /// let stream = client.protect(stream).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn protect<S>(&self, stream: S) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.protect_until(stream, Time::unlimited()).await
    }

    /// [`protect`](Self::protect) with so much time for the handshake, and none of it for what
    /// follows.
    ///
    /// # Errors
    ///
    /// Those of [`client_authenticate`]; [`Error::TimedOut`] once the time is over. The stream is
    /// then dropped.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(client: countersign::tokio::Client, stream: tokio::net::TcpStream)
    /// #     -> Result<(), countersign::Error> {
    /// let stream = client.protect_within(stream, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn protect_within<S>(&self, stream: S, time: Duration) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.protect_until(stream, Time::limited(time)).await
    }

    async fn protect_until<S>(&self, mut stream: S, time: Time) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let session = self.run(&mut stream, Mode::Protect, time).await?;
        Ok(Protected::new(stream, session))
    }

    async fn run<S>(&self, stream: &mut S, mode: Mode, time: Time) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        run_client(stream, &self.0.prologue, mode, &self.0.key, time).await
    }
}

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
/// let session = server.authenticate_within(&mut stream, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server<K>(crate::Server<K>);

impl<K: Keys> Server<K> {
    /// See [`countersign::Server::new`](crate::Server::new).
    ///
    /// ```
    /// # use countersign::{Keyring, tokio::Server};
    /// let server = Server::new(Keyring::new());
    /// ```
    #[must_use]
    pub fn new(keys: K) -> Self {
        Self(crate::Server::new(keys))
    }

    /// See [`countersign::Server::service`](crate::Server::service).
    ///
    /// # Errors
    ///
    /// [`InvalidInput::ServiceTooLong`].
    ///
    /// ```
    /// # use countersign::{Keyring, tokio::Server};
    /// let server = Server::new(Keyring::new()).service("billing/2")?;
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn service(self, name: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        self.0.service(name).map(Self)
    }

    /// See [`countersign::Server::bound`](crate::Server::bound).
    ///
    /// ```
    /// # use countersign::{Binding, Keyring, tokio::Server};
    /// # let server = Server::new(Keyring::new());
    /// # let exported = [7; 32];
    /// let bound = server.bound(&Binding::tls_exporter(&exported));
    /// ```
    #[must_use]
    pub fn bound(&self, binding: &Binding) -> Server<&K> {
        Server(self.0.bound(binding))
    }

    /// [`server_authenticate`] with the options of this server.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`].
    ///
    /// ```no_run
    /// # use countersign::{Keyring, tokio::Server};
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::new(Keyring::new());
    /// # let mut stream = tokio::net::TcpListener::bind("127.0.0.1:7000").await?.accept().await?.0;
    /// let session = server.authenticate(&mut stream).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn authenticate<S>(&self, stream: &mut S) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        self.run(stream, Mode::Authenticate, Time::unlimited())
            .await
    }

    /// [`authenticate`](Self::authenticate) with one total deadline.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`]; [`Error::TimedOut`] once the time is over.
    ///
    /// ```no_run
    /// # use countersign::{Keyring, tokio::Server};
    /// # use std::time::Duration;
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::new(Keyring::new());
    /// # let mut stream = tokio::net::TcpListener::bind("127.0.0.1:7000").await?.accept().await?.0;
    /// let session = server.authenticate_within(&mut stream, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn authenticate_within<S>(
        &self,
        stream: &mut S,
        time: Duration,
    ) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        self.run(stream, Mode::Authenticate, Time::limited(time))
            .await
    }

    /// Authenticates in mode 1, and protects what follows.
    ///
    /// Like [`authenticate`](Self::authenticate) it sets no deadline. The client is to do the
    /// same: each end refuses the other's mode.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`]. The stream is then dropped.
    ///
    /// ```no_run
    /// # async fn run(server: countersign::tokio::Server<countersign::Key>, stream: tokio::net::TcpStream)
    /// #     -> Result<(), countersign::Error> {
    /// let stream = server.protect(stream).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn protect<S>(&self, stream: S) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.protect_until(stream, Time::unlimited()).await
    }

    /// [`protect`](Self::protect) with so much time for the handshake, and none of it for what
    /// follows.
    ///
    /// # Errors
    ///
    /// Those of [`server_authenticate`]; [`Error::TimedOut`] once the time is over. The stream is
    /// then dropped.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(server: countersign::tokio::Server<countersign::Key>, stream: tokio::net::TcpStream)
    /// #     -> Result<(), countersign::Error> {
    /// let stream = server.protect_within(stream, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn protect_within<S>(&self, stream: S, time: Duration) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.protect_until(stream, Time::limited(time)).await
    }

    async fn protect_until<S>(&self, mut stream: S, time: Time) -> Result<Protected<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let session = self.run(&mut stream, Mode::Protect, time).await?;
        Ok(Protected::new(stream, session))
    }

    async fn run<S>(&self, stream: &mut S, mode: Mode, time: Time) -> Result<Session, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        run_server(stream, &self.0.config, mode, &self.0.keys, time).await
    }
}

/// The same options, for tokio.
impl From<crate::Client> for Client {
    fn from(client: crate::Client) -> Self {
        Self(client)
    }
}

/// The same options, for tokio.
impl<K> From<crate::Server<K>> for Server<K> {
    fn from(server: crate::Server<K>) -> Self {
        Self(server)
    }
}

impl<K> core::fmt::Debug for Server<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Until when a whole handshake may take.
#[derive(Clone, Copy)]
struct Time(Option<Instant>);

impl Time {
    fn unlimited() -> Self {
        Self(None)
    }

    /// Unlimited too where the clock cannot name the end.
    fn limited(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// Gives `io` no more than what is left, and the error of a socket whose time is over.
    async fn limit<T>(self, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        match self.0 {
            None => io.await,
            // What is ready is polled first by a timeout, whether its time is over or not.
            Some(end) if Instant::now() >= end => Err(io::ErrorKind::TimedOut.into()),
            Some(end) => {
                (timeout_at(end, io).await).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

async fn run_client<S>(
    stream: &mut S,
    prologue: &Prologue,
    mode: Mode,
    key: &Key,
    time: Time,
) -> Result<Session, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut transcript = Transcript::new();
    let await_challenge = client::start(&mut transcript, prologue, mode, key, &mut SysRng)?;
    let (response, await_verdict) = receive(stream, await_challenge, time).await?;
    send(stream, Flight::Response, response.as_ref(), time).await?;
    receive(stream, await_verdict, time).await
}

async fn run_server<S, K>(
    stream: &mut S,
    config: &server::Config,
    mode: Mode,
    keys: &K,
    time: Time,
) -> Result<Session, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
    K: Keys + ?Sized,
{
    let mut transcript = Transcript::new();
    let (challenge, await_response) = config.start(&mut transcript, mode, &mut SysRng)?;
    send(stream, Flight::Challenge, challenge.as_ref(), time).await?;
    let identified = receive(stream, await_response, time).await?;
    let (verdict, outcome) = {
        let key = keys.find(identified.key_id().as_bytes());
        identified.verify(key.as_deref())
    };
    let sent = send(stream, Flight::Verdict, verdict.as_ref(), time).await;
    // Why a client was refused says more than that it did not stay to hear so.
    let session = outcome?;
    sent?;
    Ok(session)
}

async fn receive<S, R>(stream: &mut S, mut state: R, time: Time) -> Result<R::Next, Error>
where
    S: AsyncRead + Unpin + ?Sized,
    R: Receive,
{
    let phase = Phase::Awaiting(R::FLIGHT);
    loop {
        let n = received(phase, time.limit(stream.read(state.space())).await)?;
        match state.advance(n)? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// One write and one flush, as far as the stream lets it be one.
async fn send<S>(stream: &mut S, flight: Flight, mut octets: &[u8], time: Time) -> Result<(), Error>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    let phase = Phase::Sending(flight);
    while !octets.is_empty() {
        octets = sent(phase, octets, time.limit(stream.write(octets)).await)?;
    }
    while !flushed(phase, time.limit(stream.flush()).await)? {}
    Ok(())
}
