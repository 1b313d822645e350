//! The three messages as fixed-size values, and what a part of one rules out.
//!
//! Encoding and decoding only: no proof is made or verified here.

use core::{array, fmt};

use super::error::{Incompatible, Message};
use crate::buffer::{Buffer, StreamError, join};
use crate::key::KeyId;
use crate::mac::TAG_LEN;

/// The size of a nonce, in bytes.
pub(super) const NONCE_LEN: usize = 32;
/// The size of the challenge (F1), in bytes.
pub(super) const CHALLENGE_LEN: usize = HEADER_LEN + NONCE_LEN;
/// The size of a response (F2) with an empty key id, in bytes.
const RESPONSE_BASE_LEN: usize = HEADER_LEN + 1 + NONCE_LEN + TAG_LEN;
/// The size of the longest response (F2), in bytes.
pub(super) const RESPONSE_MAX_LEN: usize = RESPONSE_BASE_LEN + KeyId::MAX_LEN;
/// The size of the longest `"A" | gs`, in bytes.
pub(super) const ACCEPTED_MAX_LEN: usize = 1 + SHARE_MAX_LEN;
/// The size of the longest verdict (F3), in bytes.
pub(super) const VERDICT_MAX_LEN: usize = ACCEPTED_MAX_LEN + TAG_LEN;
#[cfg(feature = "encrypt")]
const SHARE_MAX_LEN: usize = crate::exchange::SHARE_LEN;
#[cfg(not(feature = "encrypt"))]
const SHARE_MAX_LEN: usize = 0;
/// The first byte of a verdict that accepts. It enters the server's proof.
const ACCEPTED: u8 = b'A';
/// The first byte of a verdict that denies.
const DENIED: u8 = b'D';

const HEADER_LEN: usize = 8;
const NAME: [u8; 5] = *b"CSIGN";
const VERSION: u8 = b'1';
const SERVER: u8 = b'S';
const CLIENT: u8 = b'C';

/// F1, to be sent to the client: 40 bytes.
#[derive(Clone)]
pub struct Challenge([u8; CHALLENGE_LEN]);

impl Challenge {
    /// `"CSIGN1S" | mode | Ns`
    pub(super) fn new(mode: u8, nonce: &[u8; NONCE_LEN]) -> Self {
        Self(join(&header(SERVER, mode), nonce))
    }

    /// Reports what the bytes of F1 received so far rule out.
    #[inline]
    pub(super) fn check(received: &[u8], mode: u8) -> Result<(), Incompatible> {
        check_header(received, SERVER, mode, Message::CHALLENGE)
    }
}

/// `"CSIGN1C" | mode`: how F2 begins.
pub(super) fn response_header(mode: u8) -> [u8; HEADER_LEN] {
    header(CLIENT, mode)
}

/// Returns the size of the whole F2 as far as it is known: its ninth byte is the key id's length.
#[inline]
pub(super) fn response_len(received: &[u8]) -> usize {
    RESPONSE_BASE_LEN + received.get(HEADER_LEN).map_or(0, |&len| usize::from(len))
}

/// Reports what the bytes of F2 received so far rule out.
#[inline]
pub(super) fn check_response(received: &[u8], mode: u8) -> Result<(), Incompatible> {
    check_header(received, CLIENT, mode, Message::RESPONSE)?;
    match received.get(HEADER_LEN) {
        Some(&len) if usize::from(len) > KeyId::MAX_LEN => Err(Incompatible::KeyIdLength(len)),
        _ => Ok(()),
    }
}

/// Returns the key id of a whole F2.
#[inline]
pub(super) fn key_id(received: &[u8]) -> Option<KeyId> {
    let (_, rest) = received.split_at_checked(HEADER_LEN)?;
    let (&len, rest) = rest.split_first()?;
    let (key_id, _) = rest.split_at_checked(len.into())?;
    KeyId::new(key_id).ok()
}

/// Returns the client's nonce of a whole F2, which in mode 2 is its key share.
#[inline]
pub(super) fn nonce(received: &[u8]) -> Option<&[u8; NONCE_LEN]> {
    let (rest, _) = received.split_last_chunk::<TAG_LEN>()?;
    rest.last_chunk()
}

/// F3, to be sent to the client: 33 bytes, or 65 in mode 2.
#[derive(Clone)]
pub struct Verdict(Buffer<VERDICT_MAX_LEN>);

impl Verdict {
    /// Returns the size of F3 with a server's share of this size, in bytes.
    pub(super) const fn len(share: usize) -> usize {
        1 + share + TAG_LEN
    }

    /// Begins a verdict that accepts: `"A" | gs`, which the server's proof covers.
    #[inline]
    pub(super) fn accepting(share: &[u8]) -> Result<Self, StreamError> {
        Self(Buffer::EMPTY).with(&[ACCEPTED])?.with(share)
    }

    /// `"D"` and zeros, whatever the reason.
    #[inline]
    pub(super) fn denying(no_share: &[u8]) -> Result<Self, StreamError> {
        (Self(Buffer::EMPTY).with(&[DENIED])?)
            .with(no_share)?
            .with(&[0; TAG_LEN])
    }

    /// Appends a part.
    #[inline]
    pub(super) fn with(mut self, part: &[u8]) -> Result<Self, StreamError> {
        self.0.append(part)?;
        Ok(self)
    }

    /// Returns `"A" | gs`, `gs`, and `Ts` of a whole F3 that accepts.
    #[inline]
    pub(super) fn parts(received: &[u8]) -> Option<(&[u8], &[u8], &[u8; TAG_LEN])> {
        let (accepted, proof) = received.split_last_chunk()?;
        match accepted.split_first()? {
            (&ACCEPTED, share) => Some((accepted, share, proof)),
            _ => None,
        }
    }

    /// Reports what the bytes of F3 received so far rule out.
    #[inline]
    pub(super) fn check(received: &[u8]) -> Result<(), Incompatible> {
        match received.first() {
            None | Some(&(ACCEPTED | DENIED)) => Ok(()),
            Some(&byte) => Err(Incompatible::Verdict(byte)),
        }
    }
}

macro_rules! bytes_to_send {
    ($message:ident, $self:ident => $bytes:expr) => {
        /// The bytes to send, in one write.
        impl AsRef<[u8]> for $message {
            fn as_ref(&$self) -> &[u8] {
                $bytes
            }
        }

        /// The length alone: tags are no secrets once sent, but they are noise in a log.
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({} bytes)", stringify!($message), self.as_ref().len())
            }
        }
    };
}

bytes_to_send!(Challenge, self => &self.0);
bytes_to_send!(Verdict, self => self.0.as_slice());

fn header(role: u8, mode: u8) -> [u8; HEADER_LEN] {
    join(&NAME, &[VERSION, role, mode])
}

/// Compares what was received so far with the expected header. The first byte that cannot belong
/// decides, so that the outcome does not depend on how the input was fragmented.
fn check_header(
    received: &[u8],
    role: u8,
    mode: u8,
    awaiting: Message,
) -> Result<(), Incompatible> {
    let expected = header(role, mode);
    if received.first_chunk() == Some(&expected) {
        return Ok(());
    }
    let Some((at, byte)) = (0..)
        .zip(received.iter().zip(expected))
        .find_map(|(at, (&byte, expected))| (byte != expected).then_some((at, byte)))
    else {
        return Ok(());
    };
    Err(match at {
        0..=4 => Incompatible::Foreign {
            awaiting,
            beginning: array::from_fn(|at| received.get(at).copied()),
        },
        5 => Incompatible::Version(byte),
        6 => Incompatible::Role(byte),
        _ => Incompatible::Mode {
            ours: mode,
            theirs: byte,
        },
    })
}
