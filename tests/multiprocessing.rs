//! The handshake and the messages of Python's `multiprocessing`, byte by byte, and the attack that
//! succeeds against them and fails against the native handshake.

mod answers;
mod attack;
mod broken;
mod connection;
mod handshake;
#[cfg(feature = "multiprocessing-md5")]
mod md5;
mod streams;

use countersign::Error;
use countersign::compat::multiprocessing::{KnowsAuthkey, Problem};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha384;
use std::collections::VecDeque;

use crate::side::Side;
use crate::support::{Driver, Peer, Wire, hmac};

const AUTHKEY: &[u8] = b"secret password";
const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
const TAIL: &[u8] = b"the application's bytes";

/// A message with its length before it.
fn framed(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let len = i32::try_from(message.len()).unwrap();
    [&len.to_be_bytes(), message].concat()
}

/// Takes the first message off a stream, if it is whole.
fn unframe(bytes: &mut VecDeque<u8>) -> Option<Vec<u8>> {
    let len = bytes.iter().copied().take(4).collect::<Vec<_>>();
    let len = i32::from_be_bytes(len.try_into().ok()?);
    let end = 4 + usize::try_from(len).unwrap();
    (bytes.len() >= end).then(|| bytes.drain(..end).skip(4).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha384,
}

impl Digest {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"{sha256}",
            Self::Sha384 => b"{sha384}",
        }
    }

    /// The answer to a challenge, given without its `#CHALLENGE#`.
    fn answer(self, authkey: &[u8], challenge: &[u8]) -> Vec<u8> {
        let digest = match self {
            Self::Sha256 => hmac(authkey, challenge).to_vec(),
            Self::Sha384 => {
                let mut mac = Hmac::<Sha384>::new_from_slice(authkey).unwrap();
                mac.update(challenge);
                mac.finalize().into_bytes().to_vec()
            }
        };
        [self.name(), &digest].concat()
    }

    fn challenge(self) -> Vec<u8> {
        [CHALLENGE, self.name(), &[0x5a; 40]].concat()
    }
}

/// A message of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Challenge,
    /// The answer to a challenge.
    Digest,
    /// The welcome, or the failure.
    Welcome,
}

impl Message {
    /// How long it is with its header.
    fn len(self) -> usize {
        match self {
            Self::Challenge => 63,
            Self::Digest => 44,
            Self::Welcome => 13,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Challenge => "a challenge",
            Self::Digest => "the digest of a challenge",
            Self::Welcome => "a welcome",
        }
    }

    /// The phase of an error, as it is displayed.
    fn awaited(self) -> String {
        format!("awaiting {}", self.name())
    }

    fn being_sent(self) -> String {
        format!("sending {}", self.name())
    }
}

impl Side {
    fn run(self, driver: Driver, wire: &mut Wire) -> Result<KnowsAuthkey, Error> {
        self.run_with(driver, wire, AUTHKEY)
    }

    fn run_with(
        self,
        driver: Driver,
        wire: &mut Wire,
        authkey: &[u8],
    ) -> Result<KnowsAuthkey, Error> {
        match self {
            Self::Client => driver.multiprocessing_client(wire, authkey),
            Self::Server => driver.multiprocessing_server(wire, authkey),
        }
    }

    /// The messages that this end receives.
    fn received(self) -> [Message; 3] {
        match self {
            Self::Client => [Message::Challenge, Message::Welcome, Message::Digest],
            Self::Server => [Message::Digest, Message::Challenge, Message::Welcome],
        }
    }

    /// The messages that this end sends, which its opposite receives.
    fn sent(self) -> [Message; 3] {
        match self {
            Self::Client => Self::Server.received(),
            Self::Server => Self::Client.received(),
        }
    }
}

fn ends() -> impl Iterator<Item = (Driver, Side)> {
    Driver::ALL
        .iter()
        .flat_map(|&driver| Side::BOTH.map(|side| (driver, side)))
}

/// The position of each byte that a handshake sends in one direction, and its message.
fn bytes(messages: [Message; 3]) -> impl Iterator<Item = (usize, Message)> {
    messages
        .into_iter()
        .flat_map(|message| std::iter::repeat_n(message, message.len()))
        .enumerate()
}

/// Where the message of this number begins among the bytes that a side receives.
fn beginning(side: Side, number: usize) -> usize {
    side.received()[..number].iter().map(|it| it.len()).sum()
}

/// The number of this message among those that a side receives.
fn number(side: Side, message: Message) -> usize {
    let received = side.received();
    received.iter().position(|it| *it == message).unwrap()
}

/// The honest opposite of a side, written without the crate. One of its messages may be replaced.
#[derive(Clone)]
struct Far {
    side: Side,
    authkey: Vec<u8>,
    /// The digest of its challenge and of its answer.
    digest: Digest,
    received: usize,
    sent: usize,
    instead: Option<(usize, Vec<u8>)>,
}

impl Far {
    fn opposite(side: Side) -> Self {
        Self {
            side,
            authkey: AUTHKEY.to_vec(),
            digest: Digest::Sha256,
            received: 0,
            sent: 0,
            instead: None,
        }
    }

    fn with_authkey(mut self, authkey: &[u8]) -> Self {
        self.authkey = authkey.to_vec();
        self
    }

    fn with_digest(mut self, digest: Digest) -> Self {
        self.digest = digest;
        self
    }

    /// Sends these bytes in place of its message of this number.
    fn instead(mut self, number: usize, bytes: impl Into<Vec<u8>>) -> Self {
        self.instead = Some((number, bytes.into()));
        self
    }

    /// Sends this content in place of its own message of this kind.
    fn saying(self, message: Message, content: impl AsRef<[u8]>) -> Self {
        let number = number(self.side, message);
        self.instead(number, framed(content))
    }

    fn wire(self) -> Wire {
        Wire::to(self)
    }

    fn answer_to(&self, message: &[u8]) -> Vec<u8> {
        match self.side.sent()[self.received] {
            Message::Challenge => {
                let challenge = message.strip_prefix(CHALLENGE).unwrap();
                self.digest.answer(&self.authkey, challenge)
            }
            Message::Digest => {
                let challenge = &self.digest.challenge()[CHALLENGE.len()..];
                let right = message == self.digest.answer(&self.authkey, challenge);
                if right { WELCOME } else { FAILURE }.to_vec()
            }
            // A client's challenge follows its welcome. A listener's welcome is the last message.
            Message::Welcome => self.digest.challenge(),
        }
    }

    fn send(&mut self, message: &[u8]) -> Vec<u8> {
        let bytes = match &self.instead {
            Some((number, bytes)) if *number == self.sent => bytes.clone(),
            _ => framed(message),
        };
        self.sent += 1;
        match self.sent {
            3 => [&bytes, TAIL].concat(),
            _ => bytes,
        }
    }
}

impl Peer for Far {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        if self.side == Side::Client && self.sent == 0 {
            let challenge = self.digest.challenge();
            return self.send(&challenge);
        }
        let mut bytes = Vec::new();
        while let Some(message) = unframe(written) {
            if self.sent < 3 {
                let answer = self.answer_to(&message);
                bytes.extend(self.send(&answer));
            }
            self.received += 1;
        }
        bytes
    }
}

fn problem(outcome: Result<KnowsAuthkey, Error>) -> Problem {
    match outcome {
        Err(Error::Multiprocessing(problem)) => problem,
        other => panic!("{other:?}"),
    }
}
