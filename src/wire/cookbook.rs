//! The recipe "authenticating clients simply", as states without I/O.

use core::fmt;

use rand::rngs::SysRng;

use super::{Await, Frame, Then};
use crate::buffer::{Buffer, StreamError};
use crate::handshake::Message;
use crate::invalid_input::InvalidInput;
use crate::mac::{MacKey, TAG_LEN};
use crate::random::{NoRandomness, random};

/// The client has answered. Nothing is known about the server, nor whether it accepted.
#[derive(Debug)]
pub struct Answered(());

/// The peer knew the secret, or passed the challenge on to somebody who does.
#[must_use = "a handshake whose result is dropped authenticates nobody"]
#[derive(Debug)]
pub struct KnowsSecret(());

/// Why a handshake of the recipe's protocol failed.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The challenge begins as one of Python's `multiprocessing` does.
    Multiprocessing,
    /// The challenge begins as one of countersign's own protocol does.
    Native,
    /// The client's digest is wrong: it has another secret.
    WrongDigest,
    /// The stream ended early, or it contradicts itself.
    Stream(StreamError),
}

/// The server's challenge: 32 random bytes.
pub(crate) const CHALLENGE: Message = Message::named("a challenge");
/// The client's digest of it.
pub(crate) const DIGEST: Message = Message::named("the digest of a challenge");

/// A digest, or a challenge, which has the same size.
type Digest = [u8; TAG_LEN];
type All = Buffer<TAG_LEN>;
type AwaitAll<T> = Await<All, T>;

/// Awaits a challenge. Continues with its digest, to be sent.
pub(crate) fn await_challenge(
    secret: &[u8],
) -> Result<AwaitAll<impl Then<'static, All, (Digest, Answered)> + use<>>, InvalidInput> {
    let key = key(secret)?;
    Ok(Await {
        message: CHALLENGE,
        frame: Buffer::AWAITING,
        then: move |challenge: &Digest| {
            if challenge.starts_with(b"{sha256}") {
                return Err(Problem::Multiprocessing);
            }
            if challenge.starts_with(b"CSIGN1") {
                return Err(Problem::Native);
            }
            Ok((key.tag(challenge).disclose(), Answered(())))
        },
    })
}

/// Makes a challenge, to be sent, and awaits its digest.
pub(crate) fn challenge<E>(
    secret: &[u8],
) -> Result<
    (
        Digest,
        AwaitAll<impl Then<'static, All, KnowsSecret> + use<E>>,
    ),
    E,
>
where
    E: From<InvalidInput> + From<NoRandomness>,
{
    let key = key(secret)?;
    let challenge = random(&mut SysRng)?;
    let expected = key.tag(&challenge);
    let state = Await {
        message: DIGEST,
        frame: Buffer::AWAITING,
        then: move |digest: &Digest| {
            if bool::from(expected.matches(digest)) {
                return Ok(KnowsSecret(()));
            }
            Err(Problem::WrongDigest)
        },
    };
    Ok((challenge, state))
}

/// A message of `N` bytes.
impl<const N: usize> Frame for Buffer<N> {
    type Payload = [u8; N];
    type Error = Problem;

    fn space(&mut self) -> &mut [u8] {
        self.space()
    }

    fn advance(&mut self, n: usize) -> Result<Option<&[u8; N]>, Problem> {
        self.advance(n)?;
        Ok(self.whole())
    }
}

fn key(secret: &[u8]) -> Result<MacKey, InvalidInput> {
    let len = secret.len();
    if len == 0 {
        return Err(InvalidInput::SecretTooShort { len });
    }
    if secret.iter().fold(0, |any, byte| any | byte) == 0 {
        return Err(InvalidInput::SecretConstant { len });
    }
    Ok(MacKey::new(secret))
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
            Self::Multiprocessing => f.write_str(
                "the peer does not speak the recipe's protocol: its challenge looks like Python's \
                 multiprocessing",
            ),
            Self::Native => f.write_str(
                "the peer does not speak the recipe's protocol: its challenge looks like \
                 countersign's own protocol; use client_authenticate",
            ),
            Self::WrongDigest => f.write_str(
                "the client is not authentic: its digest is wrong, so it has another secret",
            ),
            Self::Stream(error) => error.fmt(f),
        }
    }
}
