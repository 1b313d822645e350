//! The drivers on streams that fail in every way at every byte, and with peers of other
//! protocols.

mod cuts;
mod faults;
mod foreigners;
mod sockets;

use countersign::handshake::{Message, Prologue};
use countersign::{Client, Error, Key, Server, Session};

use self::Side::{Client as ClientSide, Server as ServerSide};
use crate::support::{Driver, HonestClient, HonestServer, Wire, key};

type Outcome = Result<Session, Error>;

/// The key id has 8 bytes, so that F2 has 81.
const ID: &str = "worker-7";
const F1_LEN: usize = 40;
const F2_LEN: usize = 81;
const F3_LEN: usize = 33;

fn ours() -> Key {
    key("ours").with_id(ID).unwrap()
}

/// The end that is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Side {
    const ALL: [Self; 2] = [ClientSide, ServerSide];

    /// A stream to an honest peer, which sends `tail` behind its last message.
    fn honest_wire(self, key: &Key, tail: &[u8]) -> Wire {
        match self {
            ClientSide => Wire::to(HonestServer::new(key, Prologue::EMPTY, tail)),
            ServerSide => Wire::to(HonestClient::new(key, Prologue::EMPTY, tail)),
        }
    }

    fn run(self, driver: Driver, key: &Key, wire: &mut Wire) -> Outcome {
        match self {
            ClientSide => driver.client(wire, &Client::new(key.clone())),
            ServerSide => driver.server(wire, &Server::new(key.clone())),
        }
    }

    /// The first message that this end awaits.
    fn awaits(self) -> Message {
        match self {
            ClientSide => Message::CHALLENGE,
            ServerSide => Message::RESPONSE,
        }
    }

    /// How many bytes this end receives in a whole handshake.
    fn received(self, key_id_len: usize) -> usize {
        match self {
            ClientSide => F1_LEN + F3_LEN,
            ServerSide => 73 + key_id_len,
        }
    }

    /// The lengths of the messages that this end sends.
    fn writes(self) -> &'static [usize] {
        match self {
            ClientSide => &[F2_LEN],
            ServerSide => &[F1_LEN, F3_LEN],
        }
    }

    /// The offset, in all that this end receives, at which the message ends that the byte at
    /// `read` belongs to, as far as this end can know it after `read` bytes.
    fn known_end(self, read: usize, key_id_len: usize) -> usize {
        match self {
            ClientSide if read < F1_LEN => F1_LEN,
            ClientSide => F1_LEN + F3_LEN,
            ServerSide if read < 9 => 73,
            ServerSide => 73 + key_id_len,
        }
    }
}

/// Each end, over each driver.
fn ends() -> impl Iterator<Item = (Driver, Side)> + Clone {
    Driver::ALL
        .iter()
        .flat_map(|&driver| Side::ALL.map(|side| (driver, side)))
}

/// Application data of 64 KiB in which a missing byte shows.
fn tail() -> Vec<u8> {
    (0..u16::MAX)
        .chain([0])
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect()
}
