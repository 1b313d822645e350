//! What the core takes from its random number generator.

use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{Error, Mode, Prologue, Transcript, client};

use crate::support::{
    AnyMode, BASE_POINT, Draws, NoEntropy, Pair, deliver, exported, in_every_mode, key, x25519,
};

#[test]
fn without_randomness_there_is_no_handshake() {
    fn in_mode(mode: impl Mode) {
        let (key, dummy, prologue, rng) = (key("a"), Dummy::new(), Prologue::EMPTY, &mut NoEntropy);
        let client = client::start(Transcript::new(), &key, &prologue, mode, rng);
        assert_eq!(client.map(drop), Err(Error::NoRandomness));
        let server = server::start(Transcript::new(), &dummy, &prologue, mode, rng);
        assert_eq!(server.map(drop), Err(Error::NoRandomness));
    }

    in_every_mode!(in_mode);
}

#[test]
fn each_side_takes_one_random_nonce_and_sends_it() {
    fn in_mode<M: Mode>(mode: M) {
        let (key, dummy, prologue) = (key("a"), Dummy::new(), Prologue::EMPTY);
        let (mut ours, mut theirs) = (Transcript::new(), Transcript::new());
        let (mut at_client, mut at_server) = (Draws::from(0xc0), Draws::from(0x50));
        let mut private = Draws::from(0xe5);
        // In mode 2 the client sends its share, and the server draws a private key for its own.
        let exchanges = M::NUMBER == 2;
        let share = |private| x25519([private; 32], BASE_POINT);
        // The second handshake of the same ends has nonces of its own.
        for taken in [1, 2] {
            let rng = &mut at_client;
            let client = client::start(&mut ours, &key, &prologue, mode, rng).unwrap();
            let rng = &mut at_server;
            let started = server::start(&mut theirs, &dummy, &prologue, mode, rng);
            let (f1, server) = started.unwrap();
            let byte = u8::try_from(taken).unwrap() - 1;
            assert_eq!(f1.as_ref()[8..], [0x50 + byte; 32]);
            let client = deliver(client, f1).unwrap();
            let nonce = if exchanges {
                share(0xc0 + byte)
            } else {
                [0xc0 + byte; 32]
            };
            assert_eq!(client.response()[9..41], nonce);
            let identified = deliver(server, client.response()).unwrap();
            let (f3, outcome) = identified.verify(Some(&key), &mut private).unwrap();
            if exchanges {
                assert_eq!(f3.as_ref()[1..33], share(0xe5 + byte));
            }
            let at_both = [outcome.unwrap(), deliver(client, f3).unwrap()];
            let [server, client] = at_both.each_ref().map(|it| exported(M::session(it)));
            assert_eq!(server, client);
            assert_eq!((at_server.count, at_client.count), (taken, taken));
            assert_eq!(private.count, if exchanges { taken } else { 0 });
        }
    }

    in_every_mode!(in_mode);
}

#[test]
fn a_server_draws_a_private_key_only_behind_a_proof_and_in_mode_2() {
    fn in_mode<M: AnyMode>(mode: M) {
        let stranger = Pair::between(&key("a"), &key("b"));
        let unknown = Pair {
            server_key: None,
            ..Pair::of(&key("a"))
        };
        let known = Pair::of(&key("a"));
        let rotated = Pair {
            server_key: Some(key("b").accepting(crate::support::secret("a")).unwrap()),
            ..Pair::of(&key("a"))
        };
        for (name, pair, proves) in [
            ("stranger", &stranger, false),
            ("unknown", &unknown, false),
            ("known", &known, true),
            ("rotated", &rotated, true),
        ] {
            let identified = || {
                let (f1, server) = pair.server_in(mode);
                let client = pair.client_after_in(mode, f1.as_ref());
                deliver(server, client.response()).unwrap()
            };
            let server_key = pair.server_key.as_ref();
            let draws = proves && M::NUMBER == 2;
            let mut rng = Draws::from(0xe5);
            let (_, outcome) = identified().verify(server_key, &mut rng).unwrap();
            let context = format!("{mode:?}, {name}");
            assert_eq!(
                (outcome.is_ok(), rng.count),
                (proves, usize::from(draws)),
                "{context}"
            );

            // A generator that fails leaves nothing to send, and no denial to tell a client by.
            let decided = identified().verify(server_key, &mut NoEntropy);
            let failed = decided.as_ref().err();
            assert_eq!(failed, draws.then_some(&Error::NoRandomness), "{context}");
            assert_eq!(
                decided.is_ok_and(|(_, outcome)| outcome.is_ok()),
                proves && !draws
            );
        }
    }

    in_every_mode!(in_mode);
}
