//! Clients that connect and authenticate in one call.

use core::fmt::Debug;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
#[cfg(unix)]
use {::tokio::net::UnixStream, ::tokio::time::sleep, std::path::Path};

#[cfg(feature = "encrypt")]
use super::Encrypted;
use super::timeout::Timeout;
use super::{Client, Protected, Secured};
use crate::endpoint::connect::{not_connected, share};
use crate::error::Error;
#[cfg(feature = "encrypt")]
use crate::handshake::Encrypt;
use crate::handshake::{Authenticate, Mode, Protect, Session};

/// Connecting and authenticating in one call, with one deadline for both. [`connect`] and
/// [`connect_unix`] connect and do not authenticate.
impl Client {
    /// [`countersign::Client::connect`](crate::Client::connect) with `await`. The timeout includes
    /// looking up a name.
    ///
    /// # Errors
    ///
    /// Returns the same errors.
    ///
    /// ```no_run
    /// use countersign::{Key, tokio::Client};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::new(Key::from_file("secret.key")?);
    /// let (mut stream, _session) = client.connect("billing.internal:7000").await?;
    /// stream.write_all(b"hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(
        &self,
        address: impl ToSocketAddrs + Debug,
    ) -> Result<(TcpStream, Session), Error> {
        self.connect_tcp(address, Authenticate).await
    }

    /// Like [`connect`](Self::connect), but in mode 1: what follows is protected from alteration.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    pub async fn connect_protected(
        &self,
        address: impl ToSocketAddrs + Debug,
    ) -> Result<Protected<TcpStream>, Error> {
        let (stream, (session, records)) = self.connect_tcp(address, Protect).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Like [`connect`](Self::connect), but in mode 2: what follows is encrypted, with forward
    /// secrecy.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(feature = "encrypt")]
    pub async fn connect_encrypted(
        &self,
        address: impl ToSocketAddrs + Debug,
    ) -> Result<Encrypted<TcpStream>, Error> {
        let (stream, (session, records)) = self.connect_tcp(address, Encrypt).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Like [`connect`](Self::connect), but over a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(unix)]
    pub async fn connect_unix(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<(UnixStream, Session), Error> {
        self.connect_path(path.as_ref(), Authenticate).await
    }

    /// Like [`connect_protected`](Self::connect_protected), but over a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(unix)]
    pub async fn connect_unix_protected(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Protected<UnixStream>, Error> {
        let (stream, (session, records)) = self.connect_path(path.as_ref(), Protect).await?;
        Ok(Secured::new(stream, session, records))
    }

    /// Like [`connect_encrypted`](Self::connect_encrypted), but over a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`connect`](Self::connect).
    #[cfg(all(unix, feature = "encrypt"))]
    pub async fn connect_unix_encrypted(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Encrypted<UnixStream>, Error> {
        let (stream, (session, records)) = self.connect_path(path.as_ref(), Encrypt).await?;
        Ok(Secured::new(stream, session, records))
    }

    async fn connect_tcp<M: Mode>(
        &self,
        address: impl ToSocketAddrs + Debug,
        mode: M,
    ) -> Result<(TcpStream, M::Established), Error> {
        Timeout::after(self.time_to_connect(), async |timeout| {
            let stream = to_name(address, timeout).await?;
            self.run_on(stream, mode, timeout).await
        })
        .await
    }

    #[cfg(unix)]
    async fn connect_path<M: Mode>(
        &self,
        path: &Path,
        mode: M,
    ) -> Result<(UnixStream, M::Established), Error> {
        Timeout::after(self.time_to_connect(), async |timeout| {
            let stream = to_path(path, timeout).await?;
            self.run_on(stream, mode, timeout).await
        })
        .await
    }

    async fn run_on<S, M>(
        &self,
        mut stream: S,
        mode: M,
        timeout: Timeout,
    ) -> Result<(S, M::Established), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        M: Mode,
    {
        let established = self.run(&mut stream, mode, timeout).await?;
        Ok((stream, established))
    }
}

/// Connects over TCP, for a program that needs the socket before the handshake.
///
/// It tries the addresses of a name one after the other, each with an equal share of the time that is
/// left. All of it, including looking up the name, takes at most `timeout`. `TCP_NODELAY` is set.
///
/// # Errors
///
/// Returns [`Error::Connect`] if the address cannot be looked up or connected to in time.
///
/// ```no_run
/// use countersign::{Key, tokio::{Client, connect}};
/// use std::time::Duration;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(Key::from_file("secret.key")?);
/// let mut stream = connect("billing.internal:7000", Duration::from_secs(5)).await?;
/// println!("connected from {}", stream.local_addr()?);
/// client.authenticate_timeout(&mut stream, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(
    address: impl ToSocketAddrs + Debug,
    timeout: Duration,
) -> Result<TcpStream, Error> {
    Timeout::after(timeout, |timeout| to_name(address, timeout)).await
}

/// Like [`connect`], but to a Unix socket. If the queue of the listening socket is full, it waits for a
/// place.
///
/// # Errors
///
/// Returns [`Error::Connect`] if the path cannot be connected to in time.
#[cfg(unix)]
pub async fn connect_unix(path: impl AsRef<Path>, timeout: Duration) -> Result<UnixStream, Error> {
    Timeout::after(timeout, |timeout| to_path(path.as_ref(), timeout)).await
}

async fn to_name(named: impl ToSocketAddrs + Debug, timeout: Timeout) -> Result<TcpStream, Error> {
    let mut found = match timeout.limit(lookup_host(&named)).await {
        Ok(found) => found.collect::<Vec<_>>().into_iter(),
        Err(error) => return Err(not_connected(&named, error)),
    };
    let mut failure = None;
    while let Some(address) = found.next() {
        let turn = share(timeout.left(), found.len() + 1);
        match Timeout::after(turn, |turn| turn.limit(to_address(address))).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(not_connected(&address, error)),
        }
    }
    Err(failure.unwrap_or_else(|| not_connected(&named, io::ErrorKind::NotFound.into())))
}

async fn to_address(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// If the queue of the listening socket is full, a connection fails at once, and no event tells when
/// there is a place in it again.
#[cfg(unix)]
async fn to_path(path: &Path, timeout: Timeout) -> Result<UnixStream, Error> {
    const PAUSE: Duration = Duration::from_millis(10);

    let connected = async {
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
                connected => return connected,
            }
        }
    };
    (timeout.limit(connected).await).map_err(|error| not_connected(&path, error))
}
