//! The protocol of Python's `multiprocessing.connection`, for talking to processes of CPython 3.8
//! and later.
//!
//! **This protocol does not authenticate the listener.** It is mutual in form only: each end
//! challenges the other, but both challenges are alike. An attacker who has no key, and to whom
//! *two* clients connect, is accepted by one of them by having the other answer its challenge; of
//! more clients, by all but the last. The protocol does not tell who a peer is, binds nothing to the
//! connection, and does not protect what follows. Its result is therefore [`KnowsAuthkey`] and never
//! a [`Session`](crate::Session). Where both ends are yours, use the native protocol.
//!
//! ```text
//!   client                                                       listener
//!     │ ◀── #CHALLENGE#{sha256} 40 random bytes ─────────────────  │
//!     │ ─── {sha256} HMAC-SHA-256(authkey, "{sha256}" …) ────────▶ │
//!     │ ◀── #WELCOME#, or #FAILURE# and the end ─────────────────  │
//!     │                the same three the other way                │
//! ```
//!
//! Each message follows its length, a signed integer of four bytes in network order; -1 announces
//! another length of eight bytes. In the handshake a message has at most 256 bytes, and any other
//! length is refused before more is read.
//!
//! Digests are SHA-256 and SHA-384. CPython up to 3.11 names no digest and means HMAC-MD5. A client
//! refuses it with [`Problem::UnnamedDigest`], and a listener with [`Problem::Md5Only`]. The feature
//! `multiprocessing-md5` has separate functions for it, [`client_authenticate_md5`] and
//! [`server_authenticate_md5`]. Its FIPS builds mean HMAC-SHA-256, and a listener refuses them with
//! [`Problem::BareSha256`]. A listener here never accepts an MD5 answer to a challenge in SHA-256,
//! unlike CPython's.
//!
//! HMAC fills its key with zeros, so two authkeys are the same if they differ only in zero bytes at
//! the end. An authkey of zeros alone is refused.
//!
//! The functions have no timeout. Wrap a socket in [`Deadline`](crate::Deadline), or set the
//! [timeout](Connection::set_read_timeout) of a [`Connection`].
//!
//! ```
//! use countersign::compat::multiprocessing::{self, Connection};
//! # use std::{net::{TcpListener, TcpStream}, thread};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let mut stream = TcpStream::connect(listener.local_addr()?)?;
//! # let peer = thread::spawn(move || {
//! #     let (mut stream, _) = listener.accept().unwrap();
//! #     let knows = multiprocessing::server_authenticate(&mut stream, b"secret password").unwrap();
//! #     let mut connection = Connection::new(stream, knows);
//! #     let message = connection.recv_bytes(1024).unwrap().unwrap();
//! #     connection.send_bytes(&message).unwrap();
//! # });
//!
//! let knows = multiprocessing::client_authenticate(&mut stream, b"secret password")?;
//! let mut connection = Connection::new(stream, knows);
//! connection.send_bytes(b"hello")?;
//! assert_eq!(connection.recv_bytes(1024)?.as_deref(), Some(&b"hello"[..]));
//! # peer.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::time::Duration;
use std::io::{self, Read, Write};
use std::time::Instant;
use std::vec::Vec;

#[cfg(feature = "net")]
use super::Timed;
use super::{receive, send};
use crate::error::Error;
use crate::wire::multiprocessing::messages::{Messages, Received};
use crate::wire::multiprocessing::{
    Authkey, CHALLENGE, DIGEST, Digests, Verified, WELCOME, Welcomed,
};

pub use crate::wire::multiprocessing::{KnowsAuthkey, Problem};

/// Answers a listener's challenge, then challenges the listener.
///
/// # Errors
///
/// Returns [`Error::Multiprocessing`] for what the peer sent, [`Error::InvalidInput`] for an `authkey`
/// that is empty or has zeros only, an error if the random number generator fails, and [`Error::Io`], [`Error::Closed`] or
/// [`Error::TimedOut`] of the stream.
pub fn client_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_client(stream, Authkey::new(authkey, Digests::Sha2)?)
}

/// Challenges a client, then answers the client's challenge.
///
/// A client whose digest is wrong is told so, as by CPython.
///
/// # Errors
///
/// Returns the errors of [`client_authenticate`].
pub fn server_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_server(stream, Authkey::new(authkey, Digests::Sha2)?)
}

/// Like [`client_authenticate`], with HMAC-MD5, for listeners of CPython up to 3.11.
///
/// **Warning.** MD5 is broken as a hash. It is supported only because no attack on HMAC-MD5 is
/// known. Every challenge and every answer is in MD5, even to a peer that could do better.
///
/// # Errors
///
/// Returns the errors of [`client_authenticate`].
#[cfg(feature = "multiprocessing-md5")]
pub fn client_authenticate_md5<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_client(stream, Authkey::new(authkey, Digests::Md5)?)
}

/// Like [`server_authenticate`], with HMAC-MD5, for clients of CPython up to 3.11.
///
/// **Warning.** MD5 is broken as a hash. It is supported only because no attack on HMAC-MD5 is
/// known. For old and new clients use two listeners, one for each of the two functions.
///
/// # Errors
///
/// Returns the errors of [`client_authenticate`].
#[cfg(feature = "multiprocessing-md5")]
pub fn server_authenticate_md5<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_server(stream, Authkey::new(authkey, Digests::Md5)?)
}

fn run_client<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    let welcomed = answer(stream, authkey)?;
    let verified = challenge(stream, authkey)?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

fn run_server<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    let verified = challenge(stream, authkey)?;
    let welcomed = answer(stream, authkey)?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

fn answer<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<Welcomed, Error>
where
    S: Read + Write + ?Sized,
{
    let digest = receive(stream, authkey.await_challenge()?)?;
    send(stream, DIGEST, digest.as_ref())?;
    receive(stream, authkey.await_welcome()?)
}

fn challenge<S>(stream: &mut S, authkey: Authkey<'_>) -> Result<Verified, Error>
where
    S: Read + Write + ?Sized,
{
    let (challenge, await_digest) = authkey.challenge::<Error>()?;
    send(stream, CHALLENGE, challenge.as_ref())?;
    let (verdict, verified) = receive(stream, await_digest)?;
    let sent = send(stream, WELCOME, verdict.as_ref());
    // Why a peer was refused says more than that it did not wait for the verdict.
    let verified = verified?;
    sent?;
    Ok(verified)
}

/// A stream of messages, like Python's `Connection` with `send_bytes` and `recv_bytes`.
///
/// Python's `send` and `recv` are these two around `pickle`. This crate does not support `pickle`,
/// because unpickling lets the peer run code.
///
/// Nothing protects the messages from anyone who controls the network.
///
/// After a timeout of [`recv_bytes`](Self::recv_bytes), the next call receives the rest of the
/// message. After any other failure, and after a timeout of [`send_bytes`](Self::send_bytes) in the
/// middle of a message, the connection is dead: every later call fails with
/// [`io::ErrorKind::NotConnected`].
///
/// ```no_run
/// # use countersign::compat::multiprocessing::{self, Connection};
/// # let mut stream = std::net::TcpStream::connect("127.0.0.1:6000")?;
/// let knows = multiprocessing::client_authenticate(&mut stream, b"secret password")?;
/// let mut connection = Connection::new(stream, knows);
/// while let Some(message) = connection.recv_bytes(1 << 20)? {
///     connection.send_bytes(&message)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection<S> {
    stream: S,
    messages: Messages,
    timeout: Option<(Duration, ReadUntil<S>)>,
}

/// `Timed::read_until` of a stream that has it.
type ReadUntil<S> = fn(&mut S, &mut [u8], Option<Instant>) -> io::Result<usize>;

impl<S> Connection<S> {
    /// Makes a connection of the stream on which the peer has authenticated.
    pub fn new(stream: S, _: KnowsAuthkey) -> Self {
        Self {
            stream,
            messages: Messages::NONE,
            timeout: None,
        }
    }

    /// Returns the stream below, to shut it down for instance.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

#[cfg(feature = "net")]
impl<S: Timed> Connection<S> {
    /// Sets the timeout of [`recv_bytes`](Self::recv_bytes): the total for one call, even if bytes
    /// keep trickling in. A call that times out loses nothing, and the next one goes on.
    ///
    /// `None`, the default, blocks for as long as the stream does.
    ///
    /// ```
    /// # use countersign::compat::multiprocessing::{self, Connection};
    /// # use std::{io::ErrorKind, net::{TcpListener, TcpStream}, thread, time::Duration};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let peer = thread::spawn(move || {
    /// #     let mut stream = listener.accept().unwrap().0;
    /// #     multiprocessing::server_authenticate(&mut stream, b"secret password").unwrap();
    /// #     stream
    /// # });
    /// let knows = multiprocessing::client_authenticate(&mut stream, b"secret password")?;
    /// let mut connection = Connection::new(stream, knows);
    /// connection.set_read_timeout(Some(Duration::from_millis(10)));
    /// let error = connection.recv_bytes(1024).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// # peer.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        let read_until: ReadUntil<S> = S::read_until;
        self.timeout = timeout.map(|timeout| (timeout, read_until));
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends a message of any length.
    ///
    /// # Errors
    ///
    /// Returns the stream's error, and [`io::ErrorKind::NotConnected`] if the connection is dead.
    pub fn send_bytes(&mut self, message: &[u8]) -> io::Result<()> {
        let (first, rest) = self.messages.send(message)?;
        for mut part in [&*first, rest] {
            while !part.is_empty() {
                part = self.messages.sent(part, self.stream.write(part))?;
            }
        }
        self.messages.all_sent();
        self.stream.flush()
    }

    /// Receives a message of at most `max` bytes, or `None` if the stream ends before one.
    ///
    /// At most 8 KiB are allocated by what the peer announces, and more as bytes arrive.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::InvalidData`] for a longer message or an impossible length,
    /// [`io::ErrorKind::UnexpectedEof`] if the stream ends within a message,
    /// [`io::ErrorKind::NotConnected`] if the connection is dead, and the stream's error. After a
    /// timeout, repeat it.
    pub fn recv_bytes(&mut self, max: usize) -> io::Result<Option<Vec<u8>>> {
        self.messages.expect(max)?;
        let timeout = self
            .timeout
            .map(|(timeout, read_until)| (Instant::now().checked_add(timeout), read_until));
        loop {
            let space = self.messages.space();
            let read = match timeout {
                Some((end, read_until)) => read_until(&mut self.stream, space, end),
                None => self.stream.read(space),
            };
            match self.messages.received(read)? {
                Received::More => {}
                Received::Message(message) => return Ok(Some(message)),
                Received::End => return Ok(None),
            }
        }
    }
}

opaque_debug!([S] Connection<S> {});
