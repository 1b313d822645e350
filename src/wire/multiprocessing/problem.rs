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
    /// A challenge of 20 bytes, which names no digest. CPython up to 3.11 sends it and means HMAC-MD5,
    /// or HMAC-SHA-256 if it is a FIPS build.
    UnnamedDigest,
    /// A named digest other than SHA-256 and SHA-384.
    UnknownDigest,
    /// A message that cannot be the digest of a challenge, where one was awaited.
    NotADigest,
    /// The peer answered in HMAC-MD5, as CPython does up to 3.11.
    Md5Only,
    /// The peer answered with 32 bytes without the name of a digest: HMAC-SHA-256 of a FIPS build of
    /// CPython up to 3.11.
    BareSha256,
    /// The peer answered a challenge for MD5 in another digest, as a FIPS build of CPython does since
    /// 3.12.
    NoMd5,
    /// Neither `#WELCOME#` nor `#FAILURE#`, where one of them was awaited.
    NotAWelcome,
    /// The peer did not accept this end's digest.
    Rejected,
    /// The peer did not accept this end's digest, which is in MD5.
    RejectedMd5,
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
                "the peer does not speak the protocol of multiprocessing: its first four bytes \
                 announce a message of {len} bytes, and the handshake allows at most {MESSAGE_MAX}"
            ),
            Self::NotAChallenge => f.write_str(
                "the peer does not speak the protocol of multiprocessing, or has no authkey: a \
                 challenge was awaited, but something else came",
            ),
            Self::ChallengeTooShort { len } => write!(
                f,
                "the peer's challenge is too short: {len} bytes; it needs at least {CHALLENGE_MIN}"
            ),
            Self::UnnamedDigest => f.write_str(
                "the peer's challenge names no digest, as in CPython up to 3.11; update the peer to \
                 3.12 or later, or use the functions of the feature multiprocessing-md5, which a FIPS \
                 build refuses",
            ),
            Self::UnknownDigest => {
                f.write_str("the peer uses an unknown digest; configure it for sha256 or sha384")
            }
            Self::NotADigest => f.write_str(
                "the peer does not speak the protocol of multiprocessing, or has no authkey: the \
                 digest of a challenge was awaited, but something else came",
            ),
            Self::Md5Only => f.write_str(
                "the peer knows HMAC-MD5 only, as CPython does up to 3.11; update it to 3.12, or \
                 use the functions of the feature multiprocessing-md5",
            ),
            Self::BareSha256 => f.write_str(
                "the peer's digest has 32 bytes and no name, as HMAC-SHA-256 of a FIPS build of \
                 CPython up to 3.11; update the peer to 3.12 or later",
            ),
            Self::NoMd5 => f.write_str(
                "the peer does not speak HMAC-MD5, as a FIPS build of CPython; use the functions \
                 without md5",
            ),
            Self::NotAWelcome => f.write_str(
                "the peer does not speak the protocol of multiprocessing: it answered a digest \
                 neither with a welcome nor with a failure",
            ),
            Self::Rejected => f.write_str(
                "the peer rejected this end's digest: use the same authkey at both ends",
            ),
            Self::RejectedMd5 => f.write_str(
                "the peer rejected this end's HMAC-MD5: use the same authkey at both ends; a FIPS \
                 build of CPython accepts no MD5, so update it to 3.12 or later",
            ),
            Self::WrongDigest => {
                f.write_str("the peer's digest is wrong: use the same authkey at both ends")
            }
            Self::Stream(error) => error.fmt(f),
        }
    }
}
