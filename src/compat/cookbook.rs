//! The recipe "authenticating clients simply": a challenge, a digest, and no more.
//!
//! ```text
//!   client                                                  server
//!     │ ◀──────── 32 random octets ──────────────────────────  │
//!     │  ──────── HMAC-SHA-256(secret, these octets) ────────▶ │   right, or closed
//! ```
//!
//! **What this wire does not stop.** The client learns *nothing* about the server: it answers
//! whoever listens, is not told whether it was accepted, and hands its first request to an
//! impostor as readily as to the server. It signs 32 octets of the peer's choice under the bare
//! secret, so an impostor can pass on another server's challenge and get in with the answer; so
//! can anyone whom a node that is client and server at once can be made to connect to. A guess
//! at a weak secret can be checked offline by whoever listens on the line, *or just listens*.
//! There are no roles, key ids, versions or bindings. Use it to talk to programs that know
//! nothing else, with a secret that is used for nothing else, on a line that nobody else is on;
//! the [native wire](crate::client_authenticate) costs one more message.
//!
//! Both functions set no deadline; over a socket, wrap that in a
//! [`Deadline`](crate::Deadline).

use core::fmt;
use std::io::{Read, Write};

use rand::rngs::SysRng;

use crate::blocking::{receive, send};
use crate::error::Error;
use crate::handshake::mac::{MacKey, TAG_LEN, Tag};
use crate::handshake::{
    self, Filling, Flight, Hint, Incompatible, InvalidInput, KeyId, Progress, Receive, Refusal,
    Sealed, draw,
};

/// Answers the challenge of a server that speaks the recipe's wire.
///
/// A challenge that begins with `{sha256}` or `CSIGN1` is refused, since its answer is worth
/// something elsewhere: the first is how Python's `multiprocessing` begins what it wants to have
/// signed, and the second is a native server, which would not understand the answer.
///
/// # Errors
///
/// [`Error::InvalidInput`] for a secret that is empty or all zeros, [`Error::Incompatible`] for
/// a challenge that is refused, [`Error::Io`], [`Error::Closed`] and [`Error::TimedOut`] of the
/// stream. Being refused by the server is none of them: it is the end of the stream later.
///
/// ```
/// use countersign::compat::cookbook;
/// # use std::{net::{TcpListener, TcpStream}, thread};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// # let server = thread::spawn(move || {
/// #     cookbook::server_authenticate(&mut listener.accept().unwrap().0, b"peekaboo").unwrap()
/// # });
///
/// let answered = cookbook::client_authenticate(&mut stream, b"peekaboo")?;
/// # server.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<Answered, Error>
where
    S: Read + Write + ?Sized,
{
    let (digest, answered) = receive(stream, AwaitChallenge::new(secret)?)?;
    send(stream, Flight::CompatDigest, &digest)?;
    Ok(answered)
}

/// Challenges a client that speaks the recipe's wire.
///
/// The digest may arrive in any number of segments. After success the stream stands at the
/// first octet of the application; a client that is refused is told so by dropping the stream.
///
/// # Errors
///
/// [`Error::ClientNotAuthentic`] for a wrong digest, [`Error::InvalidInput`] for a secret that
/// is empty or all zeros, [`Error::NoRandomness`], and [`Error::Io`], [`Error::Closed`] and
/// [`Error::TimedOut`] of the stream.
///
/// ```
/// use countersign::compat::cookbook;
/// # use std::{net::{TcpListener, TcpStream}, thread};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # let client = thread::spawn(move || {
/// #     let mut stream = TcpStream::connect(address).unwrap();
/// #     cookbook::client_authenticate(&mut stream, b"peekaboo").unwrap();
/// #     stream
/// # });
///
/// let (mut stream, _) = listener.accept()?;
/// let knows_secret = cookbook::server_authenticate(&mut stream, b"peekaboo")?;
/// # client.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<KnowsSecret, Error>
where
    S: Read + Write + ?Sized,
{
    let (challenge, await_digest) = AwaitDigest::start(secret)?;
    send(stream, Flight::CompatChallenge, &challenge)?;
    receive(stream, await_digest)
}

/// The client has answered. Nothing is known about the server, nor whether it accepted.
#[derive(Debug)]
pub struct Answered(());

/// The peer knew the secret, or passed the challenge on to somebody who does.
#[must_use = "a handshake whose result is dropped unseen authenticates nobody"]
#[derive(Debug)]
pub struct KnowsSecret(());

/// The digest has the size of the challenge.
const CHALLENGE_LEN: usize = TAG_LEN;

/// Awaits 32 octets. Goes on to their digest, to be sent.
pub(crate) struct AwaitChallenge {
    key: MacKey,
    challenge: Filling<CHALLENGE_LEN>,
}

impl AwaitChallenge {
    pub(crate) fn new(secret: &[u8]) -> Result<Self, InvalidInput> {
        Ok(Self {
            key: key(secret)?,
            challenge: Filling::EMPTY,
        })
    }
}

impl Sealed for AwaitChallenge {}

impl Receive for AwaitChallenge {
    const FLIGHT: Flight = Flight::CompatChallenge;
    type Next = ([u8; TAG_LEN], Answered);

    fn space(&mut self) -> &mut [u8] {
        self.challenge.space()
    }

    fn advance(mut self, n: usize) -> Result<Progress<Self>, handshake::Error> {
        self.challenge.advance(n)?;
        let Some(challenge) = self.challenge.whole() else {
            return Ok(Progress::More(self));
        };
        let hint = if challenge.starts_with(b"{sha256}") {
            Hint::Multiprocessing
        } else if challenge.starts_with(b"CSIGN1") {
            Hint::Native
        } else {
            let digest = self.key.tag(challenge).disclose();
            return Ok(Progress::Done((digest, Answered(()))));
        };
        Err(handshake::Error::Incompatible(Incompatible::Foreign {
            awaiting: Self::FLIGHT,
            hint: Some(hint),
        }))
    }
}

/// The challenge is sent; awaits its digest.
pub(crate) struct AwaitDigest {
    expected: Tag,
    digest: Filling<CHALLENGE_LEN>,
}

impl AwaitDigest {
    pub(crate) fn start(secret: &[u8]) -> Result<([u8; CHALLENGE_LEN], Self), handshake::Error> {
        let key = key(secret)?;
        let challenge = draw(&mut SysRng)?;
        let state = Self {
            expected: key.tag(&challenge),
            digest: Filling::EMPTY,
        };
        Ok((challenge, state))
    }
}

impl Sealed for AwaitDigest {}

impl Receive for AwaitDigest {
    const FLIGHT: Flight = Flight::CompatDigest;
    type Next = KnowsSecret;

    fn space(&mut self) -> &mut [u8] {
        self.digest.space()
    }

    fn advance(mut self, n: usize) -> Result<Progress<Self>, handshake::Error> {
        self.digest.advance(n)?;
        let Some(digest) = self.digest.whole() else {
            return Ok(Progress::More(self));
        };
        if bool::from(self.expected.matches(digest)) {
            return Ok(Progress::Done(KnowsSecret(())));
        }
        Err(handshake::Error::ClientNotAuthentic {
            key_id: KeyId::EMPTY,
            refusal: Refusal::WrongDigest,
        })
    }
}

fn key(secret: &[u8]) -> Result<MacKey, InvalidInput> {
    let len = secret.len();
    if len == 0 {
        return Err(InvalidInput::SecretTooShort { len });
    }
    if secret.iter().fold(0, |any, octet| any | octet) == 0 {
        return Err(InvalidInput::SecretConstant { len });
    }
    Ok(MacKey::new(secret))
}

impl fmt::Debug for AwaitChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitChallenge").finish_non_exhaustive()
    }
}

impl fmt::Debug for AwaitDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitDigest").finish_non_exhaustive()
    }
}
