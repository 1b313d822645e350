//! What can end a handshake, grouped by who has to act.

use core::fmt;

use crate::buffer::StreamError;
use crate::key::KeyId;
use crate::random::NoRandomness;

/// An error of a handshake.
///
/// It knows no I/O: the driver reports a stream that is closed or silent, as
/// [`countersign::Error`](crate::Error) does.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The peer's program speaks something else: another protocol, version, role or mode.
    Incompatible(Incompatible),
    /// The server denied this client. The drivers return [`countersign::Error::Denied`] instead,
    /// which has what the client sent.
    ///
    /// [`countersign::Error::Denied`]: crate::Error::Denied
    ///
    /// This is an unauthenticated hint: anyone who controls the network can forge it. It must not
    /// trigger a fallback to anything weaker.
    Denied,
    /// The server accepted, but its proof is wrong: it does not hold this client's secret, or the
    /// messages were altered on the way.
    ServerNotAuthentic,
    /// The server is authentic, but its key share makes an all-zero shared secret (RFC 7748, section
    /// 6.1), which no honest server's does.
    AllZeroSecret,
    /// The client's proof is wrong, or there is no key for the key id that it claimed.
    ///
    /// Only the server's own side learns which. The client receives the same denial for both.
    ClientNotAuthentic {
        /// The key id that the client *claimed*.
        key_id: KeyId,
        /// What was wrong.
        refusal: Refusal,
    },
    /// The generator failed. Nothing was sent.
    NoRandomness,
    /// The stream ended early, or it contradicts itself.
    Stream(StreamError),
}

/// The name of a message of a handshake, for errors.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Message(&'static str);

impl Message {
    /// F1, server to client: 40 bytes.
    pub const CHALLENGE: Self = Self("the server's challenge (F1)");
    /// F2, client to server: 73 bytes and the key id's 0 to 64.
    pub const RESPONSE: Self = Self("the client's response (F2)");
    /// F3, server to client: 33 bytes, and 65 in mode 2.
    pub const VERDICT: Self = Self("the server's verdict (F3)");

    /// Names a message of another protocol that uses the same drivers.
    #[cfg(feature = "std")]
    pub(crate) const fn named(name: &'static str) -> Self {
        Self(name)
    }
}

/// Not derived, because the `Debug` of a string has a path to a panic.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({})", self.0)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A difference between the peer's program and this one.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incompatible {
    /// The peer does not speak this protocol: what was received cannot begin this message.
    Foreign {
        /// The message that was awaited.
        awaiting: Message,
        /// The first four bytes, as far as they had arrived.
        beginning: [Option<u8>; 4],
    },
    /// The peer speaks another version of this protocol: the byte in place of `1`.
    Version(u8),
    /// The peer's role is not the opposite role: `S` from a second server, `C` from a second
    /// client.
    Role(u8),
    /// The peer is configured for another mode. There is no negotiation.
    Mode {
        /// The number of this end's mode.
        ours: u8,
        /// The byte that was received.
        theirs: u8,
    },
    /// The client announced a key id of more than 64 bytes.
    KeyIdLength(u8),
    /// The server's verdict neither accepts nor denies: the byte in place of `A` or `D`.
    Verdict(u8),
}

/// The reason why a server refuses a client.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No key was found for the key id.
    UnknownKeyId,
    /// The proof does not verify: the two ends differ in secret, service or channel binding, or
    /// the messages were altered.
    WrongProof,
    /// The proof verifies, but the client's key share makes an all-zero shared secret (RFC 7748,
    /// section 6.1), which no honest client's does. Only who holds the secret can cause it.
    AllZeroSecret,
}

impl core::error::Error for Error {}

impl core::error::Error for Incompatible {}

impl From<Incompatible> for Error {
    fn from(incompatible: Incompatible) -> Self {
        Self::Incompatible(incompatible)
    }
}

impl From<NoRandomness> for Error {
    fn from(NoRandomness: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incompatible(incompatible) => incompatible.fmt(f),
            Self::Denied => f.write_str(
                "the server denied this client: it does not know the key id, or the two ends \
                 differ in secret, service or channel binding; the server's log says whether it knows the id",
            ),
            Self::ServerNotAuthentic => f.write_str(
                "the server is not authentic: it claimed to accept this client but could not \
                 prove that it holds the same secret; compare the fingerprints of both key files",
            ),
            Self::AllZeroSecret => f.write_str(
                "the server sent a key share that makes an all-zero shared secret; it holds the \
                 secret, but its program is wrong or hostile",
            ),
            Self::ClientNotAuthentic { key_id, refusal } => {
                write!(f, "the client is not authentic: {refusal} \"{key_id}\"")?;
                match refusal {
                    Refusal::UnknownKeyId if key_id.is_empty() => f.write_str(
                        ": the client named none; give it its key id (with_id, or --key-id of \
                         countersign)",
                    ),
                    Refusal::UnknownKeyId => f.write_str("; if it is one of yours, add its key to this server"),
                    Refusal::WrongProof => {
                        f.write_str(" (the two ends differ in secret, service or channel binding)")
                    }
                    Refusal::AllZeroSecret => {
                        f.write_str("; it holds the secret, but its program is wrong or hostile")
                    }
                }
            }
            Self::NoRandomness => NoRandomness.fmt(f),
            Self::Stream(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKeyId => "unknown key id",
            Self::WrongProof => "wrong proof for key id",
            Self::AllZeroSecret => "a key share that makes an all-zero shared secret, from key id",
        })
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Foreign { awaiting, .. } => write!(
                f,
                "the peer does not speak this protocol: {awaiting} was awaited, but other bytes \
                 came"
            ),
            Self::Version(theirs) => write!(
                f,
                "the peer speaks version '{}' of the protocol and this end version '1'; use the \
                 same version at both ends",
                theirs.escape_ascii()
            ),
            Self::Role(b'S') => f.write_str(
                "the peer is a server too, or sends this server's own bytes back; one end must be \
                 the client",
            ),
            Self::Role(b'C') => f.write_str("the peer is a client too; one end must be the server"),
            Self::Role(theirs) => write!(
                f,
                "the peer names a role that does not exist: '{}'",
                theirs.escape_ascii()
            ),
            Self::Mode { ours, theirs } => {
                let (their_name, our_name) = (name(theirs), name(ours));
                write!(
                    f,
                    "the peer wants {their_name} (mode {theirs}) and this end {our_name} (mode \
                     {ours}); use the same verb at both ends"
                )
            }
            Self::KeyIdLength(len) => write!(
                f,
                "the client announced a key id of {len} bytes; at most {} are allowed",
                KeyId::MAX_LEN
            ),
            Self::Verdict(byte) => write!(
                f,
                "the server's verdict neither accepts nor denies: '{}'; its program is wrong, or \
                 the byte was altered on the way",
                byte.escape_ascii()
            ),
        }
    }
}

/// The name of a mode.
fn name(mode: u8) -> &'static str {
    match mode {
        0 => "authenticate",
        1 => "protect",
        2 => "encrypt",
        _ => "unknown",
    }
}
