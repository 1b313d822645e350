//! What the core takes from its random number generator.

use countersign::handshake::Error;

use crate::support::{Draws, NoEntropy, Pair, deliver, exported, key, transcript};

#[test]
fn without_randomness_there_is_no_handshake() {
    let pair = Pair::of(&key("a"));
    let client = pair.client_in(transcript(), &mut NoEntropy);
    assert_eq!(client.map(drop), Err(Error::NoRandomness));
    let config = pair.config();
    let server = pair.server_in(&config, transcript(), &mut NoEntropy);
    assert_eq!(server.map(drop), Err(Error::NoRandomness));
}

#[test]
fn each_side_takes_one_random_nonce_and_sends_it() {
    let pair = Pair::of(&key("a"));
    let (mut at_server, mut at_client) = (Draws::from(0x50), Draws::from(0xc0));
    let config = pair.config();
    // The second handshake of the same ends has nonces of its own.
    for taken in [1, 2] {
        let client = pair.client_in(transcript(), &mut at_client).unwrap();
        let (f1, server) = (pair.server_in(&config, transcript(), &mut at_server)).unwrap();
        let byte = u8::try_from(taken).unwrap() - 1;
        assert_eq!(f1.as_ref()[8..], [0x50 + byte; 32]);
        let (f2, client) = deliver(client, f1).unwrap();
        assert_eq!(f2.as_ref()[9..41], [0xc0 + byte; 32]);
        let (f3, outcome) = deliver(server, f2)
            .unwrap()
            .verify(pair.server_key.as_ref());
        let at_both = [outcome.unwrap(), deliver(client, f3).unwrap()];
        assert_eq!(exported(&at_both[0]), exported(&at_both[1]));
        assert_eq!((at_server.count, at_client.count), (taken, taken));
    }
}
