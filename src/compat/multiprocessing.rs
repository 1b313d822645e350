//! The wire of Python's `multiprocessing.connection`, for processes among those of CPython 3.8
//! and later.
//!
//! **This wire does not authenticate the listener.** It is mutual in form only: each side
//! challenges the other, but both challenges are alike. Somebody who holds no key and to whom
//! *two* clients connect gets accepted by one of them, by having the other answer its challenge;
//! of more clients, by all but the last. Nor does it tell who a peer is, bind anything to the
//! connection, or protect what follows. Its result is therefore [`KnowsAuthkey`] and never a
//! [`Session`](crate::Session), and the native wire is the better one wherever both ends are
//! yours.
//!
//! ```text
//!   client                                                       listener
//!     │ ◀── #CHALLENGE#{sha256} 40 random octets ────────────────  │
//!     │ ─── {sha256} HMAC-SHA-256(authkey, "{sha256}" …) ────────▶ │
//!     │ ◀── #WELCOME#, or #FAILURE# and the end ─────────────────  │
//!     │                the same three the other way                │
//! ```
//!
//! Each message has its length before it, as a signed integer of four octets in network order;
//! -1 announces another of eight. In the handshake a message has at most 256 octets, and every
//! other length is refused before anything more is read.
//!
//! Digests are SHA-256 and SHA-384. CPython up to 3.11 knows HMAC-MD5 only and is refused with
//! an error that says so (`Problem::Md5Only`); the feature `multiprocessing-md5` has calls of
//! their own for it. A listener here never accepts an MD5 answer to a challenge in SHA-256,
//! which CPython's does.
//!
//! The functions set no deadline; over a socket, wrap that in a [`Deadline`](crate::Deadline).
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

mod connection;

use core::fmt;
use std::io::{Read, Write};

use rand::rngs::SysRng;

use crate::blocking::{fill, send};
use crate::error::{Error, Phase};
use crate::handshake::mac::{Choice, MacKey, hmac_sha384, octets_equal};
use crate::handshake::{Flight, InvalidInput, draw};

pub use self::connection::Connection;
pub(crate) use self::connection::header;
#[cfg(feature = "tokio")]
pub(crate) use self::connection::{AT_ONCE, Header, impossible, whole, within};

/// Answers a listener's challenge, then challenges the listener.
///
/// # Errors
///
/// [`Error::Multiprocessing`] for what the peer sent, [`Error::InvalidInput`] for an empty
/// `authkey`, [`Error::NoRandomness`], and [`Error::Io`], [`Error::Closed`] and
/// [`Error::TimedOut`] of the stream.
///
/// ```no_run
/// use countersign::{Deadline, compat::multiprocessing};
/// use std::{net::TcpStream, time::Duration};
///
/// let stream = TcpStream::connect("127.0.0.1:6000")?;
/// let mut deadline = Deadline::new(&stream, Duration::from_secs(5))?;
/// let knows = multiprocessing::client_authenticate(&mut deadline, b"secret password")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_client(stream, &Authkey::new(authkey, Digests::Sha2)?)
}

/// Challenges a client, then answers the client's challenge.
///
/// # Errors
///
/// Those of [`client_authenticate`]. A client whose digest is wrong is told so, as CPython does.
///
/// ```no_run
/// use countersign::{Deadline, compat::multiprocessing};
/// use std::{net::TcpListener, time::Duration};
///
/// let (stream, _) = TcpListener::bind("127.0.0.1:6000")?.accept()?;
/// let mut deadline = Deadline::new(&stream, Duration::from_secs(5))?;
/// let knows = multiprocessing::server_authenticate(&mut deadline, b"secret password")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_authenticate<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_server(stream, &Authkey::new(authkey, Digests::Sha2)?)
}

/// [`client_authenticate`] with HMAC-MD5, for listeners of CPython up to 3.11.
///
/// **Warning.** MD5 is broken as a hash, and is kept here only because HMAC has so far borne it.
/// Every challenge is in MD5 and every answer too, also to a peer that could do better.
///
/// # Errors
///
/// Those of [`client_authenticate`].
///
/// ```no_run
/// # use countersign::compat::multiprocessing;
/// # let mut stream = std::net::TcpStream::connect("127.0.0.1:6000")?;
/// let knows = multiprocessing::client_authenticate_md5(&mut stream, b"secret password")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "multiprocessing-md5")]
pub fn client_authenticate_md5<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_client(stream, &Authkey::new(authkey, Digests::Md5)?)
}

/// [`server_authenticate`] with HMAC-MD5, for clients of CPython up to 3.11.
///
/// **Warning.** MD5 is broken as a hash, and is kept here only because HMAC has so far borne it.
/// A fleet that has old and new clients needs two listeners, one for each of the two calls.
///
/// # Errors
///
/// Those of [`server_authenticate`].
///
/// ```no_run
/// # use countersign::compat::multiprocessing;
/// # let (mut stream, _) = std::net::TcpListener::bind("127.0.0.1:6000")?.accept()?;
/// let knows = multiprocessing::server_authenticate_md5(&mut stream, b"secret password")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "multiprocessing-md5")]
pub fn server_authenticate_md5<S>(stream: &mut S, authkey: &[u8]) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    run_server(stream, &Authkey::new(authkey, Digests::Md5)?)
}

/// The peer knew the `authkey`, or passed messages on to somebody who does.
#[must_use = "a handshake whose result is dropped unseen authenticates nobody"]
#[derive(Debug)]
pub struct KnowsAuthkey(());

impl KnowsAuthkey {
    /// Only behind both halves of the handshake.
    pub(crate) fn after(_: Welcomed, _: Verified) -> Self {
        Self(())
    }
}

/// What is wrong with what a peer sent on this wire.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A length other than 0 to 256 where a message of the handshake was awaited.
    MessageLength(i32),
    /// A message that does not begin with `#CHALLENGE#`, where a challenge was awaited.
    NotAChallenge,
    /// A challenge of fewer than 20 octets.
    ChallengeTooShort {
        /// Its length in octets.
        len: usize,
    },
    /// A digest other than SHA-256 and SHA-384.
    UnknownDigest,
    /// The peer knows HMAC-MD5 only, as CPython does up to 3.11.
    Md5Only,
    /// Neither `#WELCOME#` nor `#FAILURE#`, where one of them was awaited.
    NotAWelcome,
    /// The peer did not accept this end's digest.
    Rejected,
    /// The peer's digest is wrong.
    WrongDigest,
}

impl core::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageLength(len) => write!(
                f,
                "the peer does not speak multiprocessing's wire: a message of {len} octets was \
                 announced, and in the handshake there are at most {MESSAGE_MAX}"
            ),
            Self::NotAChallenge => f.write_str(
                "the peer does not speak multiprocessing's wire, or has no authkey: a challenge \
                 was awaited, but something else came",
            ),
            Self::ChallengeTooShort { len } => write!(
                f,
                "the peer's challenge is too short: {len} octets; the least is {CHALLENGE_MIN}"
            ),
            Self::UnknownDigest => f.write_str(
                "the peer uses a digest that is not known here; it is to be sha256 or sha384",
            ),
            Self::Md5Only => f.write_str(
                "the peer knows HMAC-MD5 only, as CPython does up to 3.11; update it to 3.12, or \
                 use the feature multiprocessing-md5 and its calls",
            ),
            Self::NotAWelcome => f.write_str(
                "the peer does not speak multiprocessing's wire: it answered a digest neither \
                 with a welcome nor with a failure",
            ),
            Self::Rejected => {
                f.write_str("the peer rejected this end's digest: the two have different authkeys")
            }
            Self::WrongDigest => {
                f.write_str("the peer's digest is wrong: the two have different authkeys")
            }
        }
    }
}

fn run_client<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    let welcomed = answer(stream, authkey)?;
    let verified = challenge(stream, authkey)?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

fn run_server<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<KnowsAuthkey, Error>
where
    S: Read + Write + ?Sized,
{
    let verified = challenge(stream, authkey)?;
    let welcomed = answer(stream, authkey)?;
    Ok(KnowsAuthkey::after(welcomed, verified))
}

fn challenge<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<Verified, Error>
where
    S: Read + Write + ?Sized,
{
    let challenge = Challenge::new(authkey)?;
    send(
        stream,
        Flight::CompatChallenge,
        challenge.message().as_ref(),
    )?;
    let digest = receive(stream, Flight::CompatDigest)?;
    let verified = challenge.verify(&digest);
    let sent = send(
        stream,
        Flight::CompatWelcome,
        Message::verdict(&verified).as_ref(),
    );
    // Why a peer was refused says more than that it did not stay to hear so.
    let verified = verified?;
    sent?;
    Ok(verified)
}

fn answer<S>(stream: &mut S, authkey: &Authkey<'_>) -> Result<Welcomed, Error>
where
    S: Read + Write + ?Sized,
{
    let challenge = receive(stream, Flight::CompatChallenge)?;
    let answer = authkey.answer(&challenge)?;
    send(stream, Flight::CompatDigest, answer.as_ref())?;
    let verdict = receive(stream, Flight::CompatWelcome)?;
    Ok(Welcomed::from(&verdict)?)
}

fn receive<S>(stream: &mut S, flight: Flight) -> Result<Message, Error>
where
    S: Read + ?Sized,
{
    let phase = Phase::Awaiting(flight);
    let mut header = [0; 4];
    fill(stream, phase, &mut header)?;
    let mut message = Message::announced(header)?;
    fill(stream, phase, message.payload_mut())?;
    Ok(message)
}

const MESSAGE_MAX: usize = 256;
const CHALLENGE_MIN: usize = 20;
const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
/// The random part of a challenge in a named digest; CPython's has as many octets.
const RANDOM_LEN: usize = 40;

/// The digests that one end speaks: a challenge in MD5 is told by its form, so there is no
/// speaking both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digests {
    Sha2,
    #[cfg(feature = "multiprocessing-md5")]
    Md5,
}

/// The secret, and the digests it is used with.
pub(crate) struct Authkey<'a> {
    secret: &'a [u8],
    digests: Digests,
}

impl<'a> Authkey<'a> {
    pub(crate) fn new(secret: &'a [u8], digests: Digests) -> Result<Self, InvalidInput> {
        if secret.is_empty() {
            return Err(InvalidInput::SecretTooShort { len: 0 });
        }
        Ok(Self { secret, digests })
    }

    /// The answer to a challenge: the digest's name, and the HMAC of everything behind
    /// `#CHALLENGE#`, the digest's name included.
    pub(crate) fn answer(&self, challenge: &Message) -> Result<Message, Problem> {
        let challenge = challenge.payload().strip_prefix(CHALLENGE);
        let challenge = challenge.ok_or(Problem::NotAChallenge)?;
        let len = challenge.len();
        if len < CHALLENGE_MIN {
            return Err(Problem::ChallengeTooShort { len });
        }
        match self.digests {
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 => {
                let digest = crate::handshake::mac::hmac_md5(self.secret, challenge);
                Ok(Message::of(&[&digest]))
            }
            // What had a name before it would be longer.
            Digests::Sha2 if len == CHALLENGE_MIN => Err(Problem::Md5Only),
            Digests::Sha2 => {
                let (named, _) = Named::parse(challenge)?;
                let mut mac = [0; Named::MAX_LEN];
                let mac = named.hmac(self.secret, challenge, &mut mac);
                Ok(Message::of(&[named.name(), mac]))
            }
        }
    }
}

/// A digest by its name.
#[derive(Clone, Copy)]
enum Named {
    Sha256,
    Sha384,
}

impl Named {
    const MAX_LEN: usize = 48;

    /// The digest that `message` names first, and what comes behind the name.
    fn parse(message: &[u8]) -> Result<(Self, &[u8]), Problem> {
        [Self::Sha256, Self::Sha384]
            .into_iter()
            .find_map(|named| Some((named, message.strip_prefix(named.name())?)))
            .ok_or(if message.starts_with(b"{md5}") {
                Problem::Md5Only
            } else {
                Problem::UnknownDigest
            })
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"{sha256}",
            Self::Sha384 => b"{sha384}",
        }
    }

    fn hmac<'o>(self, secret: &[u8], message: &[u8], out: &'o mut [u8; Self::MAX_LEN]) -> &'o [u8] {
        match self {
            Self::Sha384 => {
                *out = hmac_sha384(secret, message);
                out
            }
            Self::Sha256 => {
                let (start, _) = out.split_at_mut(32);
                start.copy_from_slice(&MacKey::new(secret).tag(message).disclose());
                start
            }
        }
    }
}

/// A challenge of this end, and what it takes to verify its answer.
pub(crate) struct Challenge<'a> {
    authkey: &'a Authkey<'a>,
    message: Message,
}

impl<'a> Challenge<'a> {
    pub(crate) fn new(authkey: &'a Authkey<'a>) -> Result<Self, crate::handshake::Error> {
        let random: [u8; RANDOM_LEN] = draw(&mut SysRng)?;
        let message = match authkey.digests {
            Digests::Sha2 => Message::of(&[CHALLENGE, Named::Sha256.name(), &random]),
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 => {
                let (random, _) = random.split_at(CHALLENGE_MIN);
                Message::of(&[CHALLENGE, random])
            }
        };
        Ok(Self { authkey, message })
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    pub(crate) fn verify(&self, digest: &Message) -> Result<Verified, Problem> {
        let challenge = self.message.payload().strip_prefix(CHALLENGE);
        let challenge = challenge.unwrap_or_default();
        let received = digest.payload();
        let right = match self.authkey.digests {
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 => {
                let expected = crate::handshake::mac::hmac_md5(self.authkey.secret, challenge);
                octets_equal(&expected, received)
            }
            // A bare MD5 digest is that long.
            Digests::Sha2 if received.len() == 16 => return Err(Problem::Md5Only),
            Digests::Sha2 => {
                let (named, received) = Named::parse(received)?;
                let mut expected = [0; Named::MAX_LEN];
                let expected = named.hmac(self.authkey.secret, challenge, &mut expected);
                octets_equal(expected, received)
            }
        };
        Verified::from(right)
    }
}

/// The peer's digest was right.
pub(crate) struct Verified(());

impl Verified {
    fn from(right: Choice) -> Result<Self, Problem> {
        if bool::from(right) {
            Ok(Self(()))
        } else {
            Err(Problem::WrongDigest)
        }
    }
}

/// The peer found this end's digest right.
pub(crate) struct Welcomed(());

impl Welcomed {
    pub(crate) fn from(verdict: &Message) -> Result<Self, Problem> {
        match verdict.payload() {
            WELCOME => Ok(Self(())),
            FAILURE => Err(Problem::Rejected),
            _ => Err(Problem::NotAWelcome),
        }
    }
}

/// A message of the handshake with its length before it, as it is sent.
pub(crate) struct Message {
    octets: [u8; 4 + MESSAGE_MAX],
    len: usize,
}

impl Message {
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut message = Self {
            octets: [0; 4 + MESSAGE_MAX],
            len: 4,
        };
        for part in parts {
            crate::handshake::append(&mut message.octets, &mut message.len, part);
        }
        let header = header(message.len - 4);
        let mut len = 0;
        crate::handshake::append(&mut message.octets, &mut len, header.as_ref());
        message
    }

    /// An empty message of the length that was announced, to be filled.
    pub(crate) fn announced(header: [u8; 4]) -> Result<Self, Problem> {
        let len = i32::from_be_bytes(header);
        match usize::try_from(len) {
            Ok(payload) if payload <= MESSAGE_MAX => {
                let mut message = Self::of(&[]);
                message.len = 4 + payload;
                Ok(message)
            }
            _ => Err(Problem::MessageLength(len)),
        }
    }

    pub(crate) fn verdict(verified: &Result<Verified, Problem>) -> Self {
        Self::of(&[if verified.is_ok() { WELCOME } else { FAILURE }])
    }

    pub(crate) fn payload_mut(&mut self) -> &mut [u8] {
        self.octets.get_mut(4..self.len).unwrap_or_default()
    }

    fn payload(&self) -> &[u8] {
        self.octets.get(4..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}
