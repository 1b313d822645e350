//! F1, F2 and F3 as fixed-size values, and what can be told from a part of one.
//!
//! Encoding and decoding only: no proof is made or verified here.

use core::fmt;

use super::error::{Hint, Incompatible, InvalidInput};
use super::key::KeyId;
use super::mac::TAG_LEN;

/// The size of a nonce, in octets.
pub(crate) const NONCE_LEN: usize = 32;
/// The size of F1, in octets.
pub(crate) const CHALLENGE_LEN: usize = HEADER_LEN + NONCE_LEN;
/// The size of an F2 with an empty key id, in octets; the key id adds its own.
pub(crate) const RESPONSE_BASE_LEN: usize = HEADER_LEN + 1 + NONCE_LEN + TAG_LEN;
/// The size of the largest F2, in octets.
pub(crate) const RESPONSE_MAX_LEN: usize = RESPONSE_BASE_LEN + KeyId::MAX_LEN;
/// The size of F3, in octets.
pub(crate) const VERDICT_LEN: usize = 1 + TAG_LEN;
/// The first octet of an F3 that accepts. It enters the server's proof.
pub(crate) const ACCEPTED: u8 = b'A';
/// The first octet of an F3 that denies.
pub(crate) const DENIED: u8 = b'D';

const HEADER_LEN: usize = 8;
const NAME: [u8; 5] = *b"CSIGN";
const VERSION: u8 = b'1';
const SERVER: u8 = b'S';
const CLIENT: u8 = b'C';

/// What follows an accepted handshake; each end is configured for one and refuses the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mode 0: the handshake only; the application's octets follow as they are.
    Authenticate,
    /// Mode 1: integrity-protected records follow.
    Protect,
}

impl Mode {
    pub(crate) const fn octet(self) -> u8 {
        match self {
            Self::Authenticate => 0,
            Self::Protect => 1,
        }
    }

    pub(crate) const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0 => Some(Self::Authenticate),
            1 => Some(Self::Protect),
            _ => None,
        }
    }
}

/// The number on the wire.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octet().fmt(f)
    }
}

/// A message of a handshake.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flight {
    /// F1, server to client: 40 octets.
    Challenge,
    /// F2, client to server: 73 octets and the key id's 0 to 64.
    Response,
    /// F3, server to client: 33 octets.
    Verdict,
    /// A challenge on one of the wires of [`compat`](crate::compat), in either direction.
    CompatChallenge,
    /// The digest of such a challenge.
    CompatDigest,
    /// What the wire of Python's `multiprocessing` says of a digest.
    CompatWelcome,
}

impl fmt::Display for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Challenge => "F1 (the server's challenge)",
            Self::Response => "F2 (the client's response)",
            Self::Verdict => "F3 (the server's verdict)",
            Self::CompatChallenge => "a challenge",
            Self::CompatDigest => "the digest of a challenge",
            Self::CompatWelcome => "a welcome",
        })
    }
}

/// F1, to be sent to the client: 40 octets.
#[derive(Clone)]
pub struct Challenge([u8; CHALLENGE_LEN]);

impl Challenge {
    /// `"CSIGN1S" | mode | Ns`
    pub(crate) fn new(mode: Mode, nonce: &[u8; NONCE_LEN]) -> Self {
        let mut octets = [0; CHALLENGE_LEN];
        fill(&mut octets, [&header(SERVER, mode), nonce]);
        Self(octets)
    }

    /// What the octets of F1 received so far rule out.
    pub(crate) fn check(received: &[u8], mode: Mode) -> Result<(), Incompatible> {
        check_header(received, SERVER, mode, Flight::Challenge)
    }
}

/// F2, to be sent to the server: 73 octets and those of the key id.
///
/// They stand in the transcript, of which they are a part.
#[derive(Clone, Copy)]
pub struct Response<'h>(&'h [u8]);

impl<'h> Response<'h> {
    pub(crate) fn new(flight: &'h [u8]) -> Self {
        Self(flight)
    }

    /// `"CSIGN1C" | mode`, how F2 begins.
    pub(crate) fn header(mode: Mode) -> [u8; HEADER_LEN] {
        header(CLIENT, mode)
    }

    /// The size of the whole F2 as far as it is known: the key id's length is its ninth octet.
    pub(crate) fn len_of(received: &[u8]) -> usize {
        RESPONSE_BASE_LEN + received.get(HEADER_LEN).map_or(0, |&len| usize::from(len))
    }

    /// What the octets of F2 received so far rule out.
    pub(crate) fn check(received: &[u8], mode: Mode) -> Result<(), Incompatible> {
        check_header(received, CLIENT, mode, Flight::Response)?;
        match received.get(HEADER_LEN) {
            Some(&len) if usize::from(len) > KeyId::MAX_LEN => Err(Incompatible::KeyIdLength(len)),
            _ => Ok(()),
        }
    }

    /// The key id of a whole F2.
    pub(crate) fn key_id(received: &[u8]) -> KeyId {
        let start = HEADER_LEN + 1;
        let end = Self::len_of(received) - NONCE_LEN - TAG_LEN;
        KeyId::bounded(received.get(start..end).unwrap_or_default())
    }
}

/// F3, to be sent to the client: 33 octets.
#[derive(Clone)]
pub struct Verdict([u8; VERDICT_LEN]);

impl Verdict {
    /// `"A" | Ts`
    pub(crate) fn accepted(tag: &[u8; TAG_LEN]) -> Self {
        let mut octets = [0; VERDICT_LEN];
        fill(&mut octets, [&[ACCEPTED][..], tag]);
        Self(octets)
    }

    /// `"D" | 32 zeros`, whatever the reason.
    pub(crate) fn denied() -> Self {
        let mut octets = [0; VERDICT_LEN];
        fill(&mut octets, [&[DENIED][..]]);
        Self(octets)
    }

    /// `Ts` of a whole F3 that accepts.
    pub(crate) fn proof(received: &[u8; VERDICT_LEN]) -> Option<&[u8; TAG_LEN]> {
        match received.split_first() {
            Some((&ACCEPTED, proof)) => proof.first_chunk(),
            _ => None,
        }
    }

    /// What the octets of F3 received so far rule out.
    pub(crate) fn check(received: &[u8]) -> Result<(), Incompatible> {
        match received.first() {
            None | Some(&(ACCEPTED | DENIED)) => Ok(()),
            Some(&octet) => Err(Incompatible::Foreign {
                awaiting: Flight::Verdict,
                hint: (octet == NAME[0]).then_some(Hint::Echo),
            }),
        }
    }
}

/// A flight of fixed size on its way in.
pub(crate) struct Filling<const N: usize> {
    octets: [u8; N],
    len: usize,
}

impl<const N: usize> Filling<N> {
    pub(crate) const EMPTY: Self = Self {
        octets: [0; N],
        len: 0,
    };

    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.octets.get_mut(self.len..).unwrap_or_default()
    }

    pub(crate) fn advance(&mut self, n: usize) -> Result<(), InvalidInput> {
        let room = self.space().len();
        if n > room {
            return Err(InvalidInput::Overrun { room, len: n });
        }
        self.len += n;
        Ok(())
    }

    pub(crate) fn received(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn whole(&self) -> Option<&[u8; N]> {
        (self.len == N).then_some(&self.octets)
    }
}

macro_rules! octets_on_the_wire {
    ($message:ident$(<$life:lifetime>)?, $self:ident => $octets:expr) => {
        /// The octets to send, in one write.
        impl AsRef<[u8]> for $message$(<$life>)? {
            fn as_ref(&$self) -> &[u8] {
                $octets
            }
        }

        /// The length alone: tags are no secrets once sent, but they are noise in a log.
        impl fmt::Debug for $message$(<$life>)? {
            fn fmt(&$self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({} octets)", stringify!($message), $self.as_ref().len())
            }
        }
    };
}

octets_on_the_wire!(Challenge, self => &self.0);
octets_on_the_wire!(Response<'_>, self => self.0);
octets_on_the_wire!(Verdict, self => &self.0);

fn header(role: u8, mode: Mode) -> [u8; HEADER_LEN] {
    let mut octets = [0, 0, 0, 0, 0, VERSION, role, mode.octet()];
    fill(&mut octets, [&NAME]);
    octets
}

/// Copies the parts one behind the other.
#[inline]
fn fill<const N: usize>(into: &mut [u8], parts: [&[u8]; N]) {
    let mut len = 0;
    for part in parts {
        append(into, &mut len, part);
    }
}

/// Copies `part` to the end of what is filled. The buffers have room for the largest of
/// everything, so nothing is ever cut off.
#[inline]
pub(crate) fn append(octets: &mut [u8], len: &mut usize, part: &[u8]) {
    let end = *len + part.len();
    if let Some(room) = octets.get_mut(*len..end) {
        room.copy_from_slice(part);
        *len = end;
    }
}

/// Compares what was received so far with the header expected; the first octet that cannot
/// belong decides, so that the answer does not depend on how the octets were split.
fn check_header(
    received: &[u8],
    role: u8,
    mode: Mode,
    awaiting: Flight,
) -> Result<(), Incompatible> {
    let expected = header(role, mode);
    if received.first_chunk() == Some(&expected) {
        return Ok(());
    }
    let Some((at, octet)) = (received.iter().zip(expected).enumerate())
        .find_map(|(at, (&octet, expected))| (octet != expected).then_some((at, octet)))
    else {
        return Ok(());
    };
    Err(match at {
        0..=4 => Incompatible::Foreign {
            awaiting,
            hint: hint(awaiting, at, octet),
        },
        5 => Incompatible::Version(octet),
        6 => Incompatible::Role(octet),
        _ => Incompatible::Mode {
            ours: mode,
            theirs: octet,
        },
    })
}

/// What the peer may be, from the first octet that differs from the protocol's name.
fn hint(awaiting: Flight, at: usize, octet: u8) -> Option<Hint> {
    match (at, octet) {
        // The name itself begins with C, so CONNECT differs at its second octet. The other
        // methods (RFC 9110, section 9) and PATCH (RFC 5789) differ at their first.
        (1, b'O') | (0, b'G' | b'H' | b'P' | b'D' | b'O' | b'T') => Some(Hint::Http),
        (0, b'S') => Some(Hint::Ssh),
        // Content types alert and handshake.
        (0, 0x15 | 0x16) => Some(Hint::Tls),
        // The upper octet of the length of its challenge.
        (0, 0x00) if awaiting == Flight::Challenge => Some(Hint::Multiprocessing),
        _ => None,
    }
}
