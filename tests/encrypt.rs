//! Mode 2 against a peer that holds the secret and is computed without the crate: the shares and
//! records that it accepts and refuses.

mod records;
mod shares;
mod steps;

use countersign::Session;
use countersign::handshake::{Encrypt, Error, Verdict};
use countersign::record::{Encryption, Records};

use crate::support::{
    Exchanged, NO_PROLOGUE, Pair, Schedule, deliver, f1, key, secret, untagged_f2, x25519,
};

/// What the generators of a [`Pair`] give: the private keys of both ends, and the server's nonce.
const CLIENT_PRIVATE: [u8; 32] = [0xc0; 32];
const SERVER_PRIVATE: [u8; 32] = [0xe5; 32];
const SERVER_NONCE: [u8; 32] = [0x50; 32];

type Outcome = Result<(Session, Records<Encryption>), Error>;

fn schedule() -> Schedule {
    Schedule::of(&secret("a"))
}

/// Sends a client this share under a right proof. Returns what the client makes of it, F3, and X.
fn client_that_receives(share: [u8; 32]) -> (Outcome, Vec<u8>, [u8; 32]) {
    let f1 = f1(2, &SERVER_NONCE);
    let client = Pair::of(&key("a")).client_after_in(Encrypt, &f1);
    let f2 = client.response().to_vec();
    let f3 = schedule().acceptance_with(&share, NO_PROLOGUE, &f1, &f2);
    let x = schedule().session_with(&share, NO_PROLOGUE, &f1, &f2);
    (deliver(client, &f3), f3, x)
}

/// Sends a server this share under a right proof. Returns what the server makes of it, its verdict,
/// and X.
fn server_that_receives(share: [u8; 32]) -> (Outcome, Verdict, [u8; 32]) {
    let pair = Pair::of(&key("a"));
    let (f1, server) = pair.server_in(Encrypt);
    let f1 = f1.as_ref();
    let f2 = proved(f1, &untagged_f2(2, b"", &share));
    let identified = deliver(server, &f2).unwrap();
    let rng = &mut pair.server_private.clone();
    let (verdict, outcome) = identified.verify(pair.server_key.as_ref(), rng).unwrap();
    let share = &verdict.as_ref()[1..33];
    let x = schedule().session_with(share, NO_PROLOGUE, f1, &f2);
    (outcome, verdict, x)
}

/// F2 with a right proof.
fn proved(f1: &[u8], untagged_f2: &[u8]) -> Vec<u8> {
    let tc = schedule().client_proof(NO_PROLOGUE, f1, untagged_f2);
    [untagged_f2, &tc].concat()
}

/// The two ends of a session of the core, and its secrets, computed without the crate.
struct Ends {
    client: (Session, Records<Encryption>),
    server: (Session, Records<Encryption>),
    x: [u8; 32],
    z: [u8; 32],
    keys: Exchanged,
}

impl Ends {
    fn new() -> Self {
        let pair = Pair::of(&key("a"));
        let run = pair.run_in(Encrypt, Encrypt);
        let [f1, f2, f3] = run.messages();
        let x = schedule().session_with(&f3[1..33], NO_PROLOGUE, f1, f2);
        let z = x25519(SERVER_PRIVATE, f2[9..41].try_into().unwrap());
        let [client, server] = pair.establish(Encrypt);
        Self {
            client,
            server,
            x,
            z,
            keys: Exchanged::of(&x, &z),
        }
    }

    /// The records of this sender, and of its peer.
    fn from(&mut self, sender: &str) -> [&mut Records<Encryption>; 2] {
        let ends = [&mut self.client.1, &mut self.server.1];
        if sender == "client" {
            ends
        } else {
            let [client, server] = ends;
            [server, client]
        }
    }
}

const SENDERS: [&str; 2] = ["client", "server"];

fn other(sender: &str) -> &'static str {
    SENDERS[usize::from(sender == "client")]
}
