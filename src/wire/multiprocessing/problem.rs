//! What can be wrong with what a peer sent.

use core::fmt;

use crate::buffer::StreamError;

/// The longest message of the handshake, in bytes.
pub(super) const MESSAGE_MAX: usize = 256;
/// The shortest challenge behind its prefix, in bytes.
pub(super) const CHALLENGE_MIN: usize = 20;

/// What is wrong with what a peer of Python's `multiprocessing` sent.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A length that is not 0 to 256, where a message of the handshake was awaited.
    MessageLength(i32),
    /// A message that does not begin with `#CHALLENGE#`, where a challenge was awaited.
    NotAChallenge,
    /// A challenge of fewer than 20 bytes.
    ChallengeTooShort {
        /// Its length in bytes.
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
    /// The stream ended early, or it contradicts itself.
    Stream(StreamError),
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl core::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageLength(len) => write!(
                f,
                "the peer does not speak the protocol of multiprocessing: it announced a message \
                 of {len} bytes, and the handshake allows at most {MESSAGE_MAX}"
            ),
            Self::NotAChallenge => f.write_str(
                "the peer does not speak the protocol of multiprocessing, or has no authkey: a \
                 challenge was awaited, but something else came",
            ),
            Self::ChallengeTooShort { len } => write!(
                f,
                "the peer's challenge is too short: {len} bytes; it needs at least {CHALLENGE_MIN}"
            ),
            Self::UnknownDigest => {
                f.write_str("the peer uses an unknown digest; configure it for sha256 or sha384")
            }
            Self::Md5Only => f.write_str(
                "the peer knows HMAC-MD5 only, as CPython does up to 3.11; update it to 3.12, or \
                 use the functions of the feature multiprocessing-md5",
            ),
            Self::NotAWelcome => f.write_str(
                "the peer does not speak the protocol of multiprocessing: it answered a digest \
                 neither with a welcome nor with a failure",
            ),
            Self::Rejected => f.write_str(
                "the peer rejected this end's digest: use the same authkey at both ends",
            ),
            Self::WrongDigest => {
                f.write_str("the peer's digest is wrong: use the same authkey at both ends")
            }
            Self::Stream(error) => error.fmt(f),
        }
    }
}
