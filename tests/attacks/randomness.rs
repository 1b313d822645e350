//! What the core takes from its random number generator.

use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{Authenticate, Error, Prologue, Transcript, client};

use crate::support::{Draws, NoEntropy, deliver, exported, key};

#[test]
fn without_randomness_there_is_no_handshake() {
    let (key, dummy, prologue, rng) = (key("a"), Dummy::new(), Prologue::EMPTY, &mut NoEntropy);
    let client = client::start(Transcript::new(), &key, &prologue, Authenticate, rng);
    assert_eq!(client.map(drop), Err(Error::NoRandomness));
    let server = server::start(Transcript::new(), &dummy, &prologue, Authenticate, rng);
    assert_eq!(server.map(drop), Err(Error::NoRandomness));
}

#[test]
fn each_side_takes_one_random_nonce_and_sends_it() {
    let (key, dummy, prologue) = (key("a"), Dummy::new(), Prologue::EMPTY);
    let (mut ours, mut theirs) = (Transcript::new(), Transcript::new());
    let (mut at_client, mut at_server) = (Draws::from(0xc0), Draws::from(0x50));
    // The second handshake of the same ends has nonces of its own.
    for taken in [1, 2] {
        let rng = &mut at_client;
        let client = client::start(&mut ours, &key, &prologue, Authenticate, rng).unwrap();
        let rng = &mut at_server;
        let started = server::start(&mut theirs, &dummy, &prologue, Authenticate, rng);
        let (f1, server) = started.unwrap();
        let byte = u8::try_from(taken).unwrap() - 1;
        assert_eq!(f1.as_ref()[8..], [0x50 + byte; 32]);
        let client = deliver(client, f1).unwrap();
        assert_eq!(client.response()[9..41], [0xc0 + byte; 32]);
        let identified = deliver(server, client.response()).unwrap();
        let (f3, outcome) = identified.verify(Some(&key), &mut NoEntropy).unwrap();
        let at_both = [outcome.unwrap(), deliver(client, f3).unwrap()];
        assert_eq!(exported(&at_both[0]), exported(&at_both[1]));
        assert_eq!((at_server.count, at_client.count), (taken, taken));
    }
}
