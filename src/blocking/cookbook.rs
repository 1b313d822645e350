//! The recipe "authenticating clients simply": a challenge, a digest, and no more.
//!
//! ```text
//!   client                                                  server
//!     │ ◀──────── 32 random bytes ───────────────────────────  │
//!     │  ──────── HMAC-SHA-256(secret, these bytes) ─────────▶ │   right, or closed
//! ```
//!
//! **What this protocol does not prevent.** The client learns *nothing* about the server: it answers
//! any listener, is not told whether it was accepted, and sends its first request to an impostor as
//! readily as to the server. It computes the HMAC of 32 bytes of the peer's choice under the bare
//! secret, so an impostor can pass on another server's challenge and log in with the answer. So can
//! anyone who makes a node connect that is a client and a server at once. Anyone who listens on the
//! network can test guesses at a weak secret offline, and so can anyone to whom the client connects.
//! There are no roles, key ids, versions or bindings. Use it only to talk to programs that know
//! nothing else, with a secret that is used for nothing else, on a network that you control. The
//! [native protocol](crate::client_authenticate) costs one more message.
//!
//! [`client_authenticate`] and [`server_authenticate`] have no timeout. Wrap a socket in
//! [`Deadline`](crate::Deadline).

use std::io::{Read, Write};

use super::{receive, send};
use crate::error::Error;
use crate::wire::cookbook::{CHALLENGE, DIGEST, await_challenge, challenge};

pub use crate::wire::cookbook::{Answered, KnowsSecret, Problem};

/// Answers the challenge of a server that speaks the recipe's protocol.
///
/// It refuses a challenge that begins with `{sha256}` or `CSIGN1`, because the answer would be
/// valuable elsewhere: Python's `multiprocessing` begins the former, and a native server, which
/// would not understand the answer, the latter.
///
/// # Errors
///
/// Returns [`Error::InvalidInput`] for a secret that is empty or all zeros, [`Error::Cookbook`] for
/// a challenge that is refused, and [`Error::Io`], [`Error::Closed`] or [`Error::TimedOut`] of the
/// stream. A server that refuses this client closes the stream later.
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
    let (digest, answered) = receive(stream, await_challenge(secret)?)?;
    send(stream, DIGEST, &digest)?;
    Ok(answered)
}

/// Challenges a client that speaks the recipe's protocol.
///
/// After success the next byte read is application data. A client that is refused finds the stream
/// closed once it is dropped.
///
/// # Errors
///
/// Returns [`Error::Cookbook`] for a wrong digest, [`Error::InvalidInput`] for a secret that is
/// empty or all zeros, an error if the random number generator fails, and [`Error::Io`],
/// [`Error::Closed`] or [`Error::TimedOut`] of the stream.
pub fn server_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<KnowsSecret, Error>
where
    S: Read + Write + ?Sized,
{
    let (challenge, await_digest) = challenge::<Error>(secret)?;
    send(stream, CHALLENGE, &challenge)?;
    receive(stream, await_digest)
}
