//! The handshake as states: each end challenges the other, the listener first.

use rand::rngs::SysRng;

use super::problem::{CHALLENGE_MIN, MESSAGE_MAX, Problem};
use crate::buffer::{Buffer, StreamError};
use crate::handshake::Message;
use crate::invalid_input::InvalidInput;
#[cfg(feature = "multiprocessing-md5")]
use crate::mac::hmac_md5;
use crate::mac::{Choice, MacKey, digests_equal, hmac_sha384};
use crate::random::{NoRandomness, random};
use crate::wire::{Await, Frame, Then};

/// A challenge, in either direction.
pub(crate) const CHALLENGE: Message = Message::named("a challenge");
/// The digest of a challenge.
pub(crate) const DIGEST: Message = Message::named("the digest of a challenge");
/// Whether the digest was right.
pub(crate) const WELCOME: Message = Message::named("a welcome");

const CHALLENGE_PREFIX: &[u8] = b"#CHALLENGE#";
const WELCOME_TEXT: &[u8] = b"#WELCOME#";
const FAILURE_TEXT: &[u8] = b"#FAILURE#";
/// The size of the random part of a challenge in a named digest, as CPython has it.
const RANDOM_LEN: usize = 40;
const HEADER_LEN: usize = 4;
/// The sizes of digests without a name, as CPython up to 3.11 sends them.
const BARE_MD5_LEN: usize = 16;
const BARE_SHA256_LEN: usize = 32;

/// The peer knew the `authkey`, or passed messages on to somebody who does.
#[must_use = "it is proof that the peer knew the authkey: pass it to `Connection::new`"]
#[derive(Debug)]
pub struct KnowsAuthkey(());

impl KnowsAuthkey {
    /// Exists only behind both halves of the handshake.
    pub(crate) fn after(_: Welcomed, _: Verified) -> Self {
        Self(())
    }
}

/// The digests that one end speaks. The form of a challenge says whether it is in MD5, so no end
/// can speak both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digests {
    Sha2,
    #[cfg(feature = "multiprocessing-md5")]
    Md5,
}

/// The secret, and the digests it is used with.
#[derive(Clone, Copy)]
pub(crate) struct Authkey<'a> {
    secret: &'a [u8],
    digests: Digests,
}

impl<'a> Authkey<'a> {
    pub(crate) fn new(secret: &'a [u8], digests: Digests) -> Result<Self, InvalidInput> {
        if secret.is_empty() {
            return Err(InvalidInput::SecretTooShort { len: 0 });
        }
        // HMAC pads its key with zeros, so all of these are one key, and it is the empty one.
        if secret.iter().fold(0, |bits, byte| bits | byte) == 0 {
            let len = secret.len();
            return Err(InvalidInput::SecretConstant { len });
        }
        Ok(Self { secret, digests })
    }

    /// Awaits a challenge. Continues with its digest, to be sent.
    pub(crate) fn await_challenge(
        self,
    ) -> Result<AwaitPacket<impl Then<'a, Packet, Packet>>, StreamError> {
        await_packet(CHALLENGE, move |payload| {
            let challenge = payload.strip_prefix(CHALLENGE_PREFIX);
            self.answer(challenge.ok_or(Problem::NotAChallenge)?)
        })
    }

    /// Makes a challenge, to be sent, and awaits its digest. Continues with the verdict, to be sent,
    /// and the outcome.
    pub(crate) fn challenge<E>(
        self,
    ) -> Result<(Packet, AwaitPacket<impl Then<'a, Packet, Judged>>), E>
    where
        E: From<StreamError> + From<NoRandomness>,
    {
        let random: [u8; RANDOM_LEN] = random(&mut SysRng)?;
        let mut challenge = Buffer::<MESSAGE_MAX>::EMPTY;
        match self.digests {
            Digests::Sha2 => {
                challenge.append(Named::Sha256.name())?;
                challenge.append(&random)?;
            }
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 => challenge.append(random.split_at(CHALLENGE_MIN).0)?,
        }
        let packet = Packet::of([CHALLENGE_PREFIX, challenge.as_slice()])?;
        let state = await_packet(DIGEST, move |digest| {
            let verified = self.verify(challenge.as_slice(), digest);
            let verdict = match verified {
                Ok(_) => WELCOME_TEXT,
                Err(_) => FAILURE_TEXT,
            };
            Ok((Packet::of([verdict])?, verified))
        })?;
        Ok((packet, state))
    }

    /// Awaits the peer's verdict on this end's digest.
    pub(crate) fn await_welcome(
        self,
    ) -> Result<AwaitPacket<impl Then<'a, Packet, Welcomed>>, StreamError> {
        await_packet(WELCOME, move |payload| match payload {
            WELCOME_TEXT => Ok(Welcomed(())),
            FAILURE_TEXT => Err(match self.digests {
                Digests::Sha2 => Problem::Rejected,
                #[cfg(feature = "multiprocessing-md5")]
                Digests::Md5 => Problem::RejectedMd5,
            }),
            _ => Err(Problem::NotAWelcome),
        })
    }

    /// Answers what stands behind `#CHALLENGE#`: with the digest's name, and the HMAC of it all, the
    /// name included.
    fn answer(&self, challenge: &[u8]) -> Result<Packet, Problem> {
        let len = challenge.len();
        if len < CHALLENGE_MIN {
            return Err(Problem::ChallengeTooShort { len });
        }
        match self.digests {
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 => Ok(Packet::of([&hmac_md5(self.secret, challenge)[..]])?),
            // A challenge with a named digest would be longer.
            Digests::Sha2 if len == CHALLENGE_MIN => Err(Problem::UnnamedDigest),
            Digests::Sha2 => {
                let (named, _) = Named::parse(challenge)?;
                let digest = named.hmac(self.secret, challenge)?;
                Ok(Packet::of([named.name(), digest.as_slice()])?)
            }
        }
    }

    fn verify(&self, challenge: &[u8], digest: &[u8]) -> Result<Verified, Problem> {
        match self.digests {
            _ if digest.len() == BARE_SHA256_LEN => Err(Problem::BareSha256),
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 if Named::parse(digest).is_ok() => Err(Problem::NoMd5),
            #[cfg(feature = "multiprocessing-md5")]
            Digests::Md5 => {
                Verified::if_right(digests_equal(&hmac_md5(self.secret, challenge), digest))
            }
            Digests::Sha2 if digest.len() == BARE_MD5_LEN => Err(Problem::Md5Only),
            Digests::Sha2 if !digest.starts_with(b"{") => Err(Problem::NotADigest),
            Digests::Sha2 => {
                let (named, received) = Named::parse(digest)?;
                let expected = named.hmac(self.secret, challenge)?;
                Verified::if_right(digests_equal(expected.as_slice(), received))
            }
        }
    }
}

/// The peer's digest was right.
pub(crate) struct Verified(());

impl Verified {
    fn if_right(right: Choice) -> Result<Self, Problem> {
        if bool::from(right) {
            Ok(Self(()))
        } else {
            Err(Problem::WrongDigest)
        }
    }
}

/// The peer found this end's digest right.
pub(crate) struct Welcomed(());

/// The verdict to send, and what it says.
type Judged = (Packet, Result<Verified, Problem>);

type AwaitPacket<T> = Await<Packet, T>;

fn await_packet<N, T>(message: Message, then: T) -> Result<AwaitPacket<T>, StreamError>
where
    T: FnOnce(&[u8]) -> Result<N, Problem>,
{
    let mut packet = Buffer::EMPTY;
    packet.expect(HEADER_LEN)?;
    Ok(Await {
        message,
        frame: Packet(packet),
        then,
    })
}

/// A message of the handshake, behind its length.
#[derive(Clone)]
pub(crate) struct Packet(Buffer<{ HEADER_LEN + MESSAGE_MAX }>);

impl Packet {
    fn of<const N: usize>(parts: [&[u8]; N]) -> Result<Self, StreamError> {
        let mut packet = Buffer::EMPTY;
        packet
            .append(super::frame::header(parts.iter().map(|part| part.len()).sum())?.as_slice())?;
        for part in parts {
            packet.append(part)?;
        }
        Ok(Self(packet))
    }
}

impl Frame for Packet {
    type Payload = [u8];
    type Error = Problem;

    fn space(&mut self) -> &mut [u8] {
        self.0.space()
    }

    /// An impossible length is refused at once.
    fn advance(&mut self, n: usize) -> Result<Option<&[u8]>, Problem> {
        self.0.advance(n)?;
        let Some(header) = self.0.received().first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*header);
        let len = usize::try_from(announced).ok();
        let len = len.filter(|len| *len <= MESSAGE_MAX);
        let len = len.ok_or(Problem::MessageLength(announced))?;
        self.0.expect(HEADER_LEN + len)?;
        let payload = self.0.received().split_at_checked(HEADER_LEN);
        Ok(payload
            .filter(|_| self.0.is_complete())
            .map(|(_, payload)| payload))
    }
}

/// The bytes to send, in one write.
impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
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

    /// Returns the digest that `message` names first, and what stands behind the name.
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

    fn hmac(self, secret: &[u8], message: &[u8]) -> Result<Buffer<{ Self::MAX_LEN }>, StreamError> {
        let mut digest = Buffer::EMPTY;
        match self {
            Self::Sha256 => digest.append(&MacKey::new(secret).tag(message).disclose())?,
            Self::Sha384 => digest.append(&hmac_sha384(secret, message))?,
        }
        Ok(digest)
    }
}
