//! What can end a handshake, grouped by who has to act.

use core::fmt;

use super::key::KeyId;
use super::message::{Flight, Mode};

/// Why the core ended a handshake.
///
/// It knows no I/O: a closed or silent stream is the driver's to report, as
/// [`countersign::Error`](crate::Error) does.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The peer's program speaks something else: another protocol, version, role or mode.
    Incompatible(Incompatible),
    /// The server denied this client.
    ///
    /// An unauthenticated hint: whoever sits on the line can forge it. It must not trigger a
    /// fallback to anything weaker.
    Denied,
    /// The server accepted, but its proof is wrong: it does not hold this client's secret, or
    /// the flights were altered on the way.
    ServerNotAuthentic,
    /// The client's proof is wrong, or nobody holds the key id that it named.
    ///
    /// Only the server's own side learns which; the client sees the same denial for both.
    ClientNotAuthentic {
        /// The key id that the client *claimed*.
        key_id: KeyId,
        /// What did not hold.
        refusal: Refusal,
    },
    /// The generator gave no random octets. Nothing was sent.
    NoRandomness,
    /// A value that the caller gave.
    InvalidInput(InvalidInput),
}

/// How the peer's program differs from this one.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incompatible {
    /// The peer does not speak this protocol: the octets received cannot begin this flight.
    Foreign {
        /// The flight that was awaited.
        awaiting: Flight,
        /// What the octets look like, where they allow a guess.
        hint: Option<Hint>,
    },
    /// The peer speaks this protocol in another version: the octet in place of `1`.
    Version(u8),
    /// The octet that names the peer's role is not the one of the opposite role: `S` from a
    /// second server, `C` from a second client.
    Role(u8),
    /// The peer wants another mode. There is no negotiation.
    Mode {
        /// The mode of this end.
        ours: Mode,
        /// The mode octet that was received.
        theirs: u8,
    },
    /// The length of the client's key id is over 64 octets.
    KeyIdLength(u8),
}

/// What a peer that does not speak this protocol seems to speak.
///
/// A function of the octets up to the first that cannot belong, and so no more than a guess.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// An HTTP request or response.
    Http,
    /// A TLS handshake or alert (RFC 8446, section 5.1).
    Tls,
    /// The identification string of SSH (RFC 4253, section 4.2).
    Ssh,
    /// Python's `multiprocessing.connection`.
    Multiprocessing,
    /// This crate's native wire, where another was expected.
    Native,
    /// This client's own response came back.
    Echo,
}

/// Why a server refuses a client.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No key was found for the key id.
    UnknownKeyId,
    /// The proof does not verify: another secret, another service, another channel binding, or
    /// flights that were altered.
    WrongProof,
    /// On a wire without key ids and services, the digest is not that of the challenge: the
    /// client has another secret.
    WrongDigest,
}

/// A value that the caller gave and that the protocol does not allow.
///
/// It names lengths, never content.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidInput {
    /// A secret of fewer than 16 octets (128 bits, RFC 9257, section 6).
    SecretTooShort {
        /// Its length in octets.
        len: usize,
    },
    /// A secret whose octets are all equal: a buffer that was wiped or never filled.
    SecretConstant {
        /// Its length in octets.
        len: usize,
    },
    /// A key id of more than 64 octets.
    KeyIdTooLong {
        /// Its length in octets.
        len: usize,
    },
    /// A child secret needs a key id of at least one octet.
    ChildIdEmpty,
    /// A service name of more than 255 octets.
    ServiceTooLong {
        /// Its length in octets.
        len: usize,
    },
    /// An exporter label of other than 1 to 255 octets.
    ExportLabelLength {
        /// Its length in octets.
        len: usize,
    },
    /// An exporter context of more than 65,535 octets.
    ExportContextTooLong {
        /// Its length in octets.
        len: usize,
    },
    /// An exporter output of other than 1 to 8160 octets.
    ExportLength {
        /// The length asked for, in octets.
        len: usize,
    },
    /// A key ring that was not made from a directory cannot be loaded anew.
    NoDirectory,
    /// A stream or driver that reports more octets than it was given or had room for.
    Overrun {
        /// How many it may have been, in octets.
        room: usize,
        /// How many were reported, in octets.
        len: usize,
    },
}

impl core::error::Error for Error {}

impl core::error::Error for Incompatible {}

impl core::error::Error for InvalidInput {}

impl From<Incompatible> for Error {
    fn from(incompatible: Incompatible) -> Self {
        Self::Incompatible(incompatible)
    }
}

impl From<InvalidInput> for Error {
    fn from(invalid: InvalidInput) -> Self {
        Self::InvalidInput(invalid)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incompatible(incompatible) => incompatible.fmt(f),
            Self::Denied => f.write_str(
                "the server denied this client: it does not know this key id, or the two differ in \
                 secret, service or channel binding (its own log says which)",
            ),
            Self::ServerNotAuthentic => f.write_str(
                "the server is not authentic: it claimed to accept this client but could not \
                 prove that it holds the same secret",
            ),
            Self::ClientNotAuthentic { key_id, refusal } => match refusal {
                Refusal::UnknownKeyId => {
                    write!(
                        f,
                        "the client is not authentic: unknown key id \"{key_id}\""
                    )
                }
                Refusal::WrongDigest => {
                    f.write_str("the client is not authentic: wrong digest (another secret)")
                }
                Refusal::WrongProof => {
                    f.write_str("the client is not authentic: wrong proof")?;
                    if !key_id.is_empty() {
                        write!(f, " for key id \"{key_id}\"")?;
                    }
                    f.write_str(" (another secret, service or channel binding)")
                }
            },
            Self::NoRandomness => f.write_str("the generator gave no random octets"),
            Self::InvalidInput(invalid) => invalid.fmt(f),
        }
    }
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Foreign { awaiting, hint } => {
                write!(
                    f,
                    "the peer does not speak this protocol: {awaiting} was awaited"
                )?;
                match hint {
                    Some(hint) => write!(f, ", but {hint}"),
                    None => f.write_str(", but other octets came"),
                }
            }
            Self::Version(theirs) => write!(
                f,
                "the peer speaks version '{}' of the protocol, and this end version '1'",
                theirs.escape_ascii()
            ),
            Self::Role(b'S') => f.write_str(
                "the peer is a server too (or sends this server's own octets back): one end must \
                 be the client",
            ),
            Self::Role(b'C') => f.write_str("the peer is a client too: one end must be the server"),
            Self::Role(theirs) => write!(
                f,
                "the peer names a role that does not exist: '{}'",
                theirs.escape_ascii()
            ),
            Self::Mode { ours, theirs } => {
                write!(f, "the peer wants mode {theirs}, and this end {ours}")?;
                match Mode::from_octet(theirs) {
                    Some(theirs) => write!(f, " (the peer {theirs:?}, this end {ours:?})"),
                    None => Ok(()),
                }
            }
            Self::KeyIdLength(len) => write!(
                f,
                "the client announced a key id of {len} octets; the most is {}",
                KeyId::MAX_LEN
            ),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "what came looks like HTTP",
            Self::Tls => "what came looks like TLS",
            Self::Ssh => "what came looks like SSH",
            Self::Multiprocessing => "what came looks like Python's multiprocessing",
            Self::Native => "what came looks like countersign's native wire",
            Self::Echo => "the peer sent this client's own octets back",
        })
    }
}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SecretTooShort { len: 0 } => f.write_str("the secret is empty"),
            Self::SecretTooShort { len } => write!(
                f,
                "the secret is too short: {len} octets; it needs at least 16 random ones"
            ),
            Self::SecretConstant { len } => write!(
                f,
                "all {len} octets of the secret are equal: was the buffer ever filled?"
            ),
            Self::KeyIdTooLong { len } => write!(
                f,
                "the key id is too long: {len} octets; the most is {}",
                KeyId::MAX_LEN
            ),
            Self::ChildIdEmpty => f.write_str("a child secret needs a key id, and it is empty"),
            Self::ServiceTooLong { len } => write!(
                f,
                "the service name is too long: {len} octets; the most is 255"
            ),
            Self::ExportLabelLength { len } => write!(
                f,
                "an exporter label has 1 to 255 octets, and this one {len}"
            ),
            Self::ExportContextTooLong { len } => write!(
                f,
                "an exporter context has at most 65535 octets, and this one {len}"
            ),
            Self::ExportLength { len } => write!(
                f,
                "an exporter output has 1 to 8160 octets, and {len} were asked for"
            ),
            Self::NoDirectory => f.write_str("this key ring was not made from a directory"),
            Self::Overrun { room, len } => write!(
                f,
                "the stream is broken: it reports {len} octets where at most {room} can be"
            ),
        }
    }
}
