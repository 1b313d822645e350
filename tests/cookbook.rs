//! The wire of the Python recipe, and what happens if it meets the native one.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use countersign::compat::cookbook::{self, Answered, KnowsSecret, Problem};
use countersign::handshake::{Message, StreamError};
use countersign::{Deadline, Error, InvalidInput, Phase, client_authenticate, server_authenticate};

use crate::failures::incompatible;
use crate::support::{Act, Driver, Pair, Peer, Says, Wire, hmac, key, secret};

const PEEKABOO: &[u8] = b"peekaboo";

/// A peer that answers a challenge that arrives in one piece.
struct Answers(&'static [u8]);

impl Peer for Answers {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let challenge: Vec<u8> = written.drain(..).collect();
        if challenge.is_empty() {
            return Vec::new();
        }
        [
            &hmac(self.0, &challenge)[..],
            b"and the application's bytes",
        ]
        .concat()
    }
}

/// Runs two ends on a connection over the loopback interface, each with a deadline.
fn meet<C: Send + 'static, S>(
    client: impl FnOnce(&mut Deadline<&TcpStream>) -> C + Send + 'static,
    server: impl FnOnce(&mut Deadline<&TcpStream>) -> S,
) -> (C, S) {
    let timeout = Duration::from_secs(5);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let socket = TcpStream::connect(address).unwrap();
        client(&mut Deadline::new(&socket, timeout))
    });
    let (socket, _) = listener.accept().unwrap();
    let server = server(&mut Deadline::new(&socket, timeout));
    // The client learns that it was refused from the end of the connection.
    drop(socket);
    (client.join().unwrap(), server)
}

#[test]
fn client_and_server_with_one_secret_meet() {
    let (client, server): (Result<Answered, _>, Result<KnowsSecret, _>) = meet(
        |stream| cookbook::client_authenticate(stream, PEEKABOO),
        |stream| cookbook::server_authenticate(stream, PEEKABOO),
    );
    client.unwrap();
    let _knows = server.unwrap();
}

#[test]
fn a_client_with_another_secret_is_refused_without_a_message() {
    let (client, server) = meet(
        |stream| cookbook::client_authenticate(stream, b"peekabo0"),
        |stream| cookbook::server_authenticate(stream, PEEKABOO),
    );
    client.unwrap();
    assert!(matches!(server, Err(Error::Cookbook(Problem::WrongDigest))));
}

#[test]
fn the_digest_is_the_hmac_of_the_challenge_under_the_bare_secret() {
    for &driver in Driver::ALL {
        let challenge: Vec<u8> = (100..132).collect();
        let mut wire = Wire::to(Says([&challenge[..], b"the application's bytes"].concat()));
        driver.cookbook_client(&mut wire, PEEKABOO).unwrap();
        assert_eq!(wire.written, hmac(PEEKABOO, &challenge));
        assert_eq!(wire.rest(), b"the application's bytes");
    }
}

#[test]
fn a_digest_may_arrive_in_any_two_segments() {
    for &driver in Driver::ALL {
        for cut in 1..32 {
            let mut wire = Wire::to(Answers(PEEKABOO));
            wire.on_read =
                Box::new(move |read| Act::Move(if read < cut { cut - read } else { 99 }));
            let _knows = driver.cookbook_server(&mut wire, PEEKABOO).unwrap();
            assert_eq!(wire.written.len(), 32);
            assert_eq!(wire.rest(), b"and the application's bytes");
        }
    }
}

#[test]
fn a_digest_with_any_bit_flipped_is_refused() {
    struct Flipped(usize);
    impl Peer for Flipped {
        fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
            let mut digest = Answers(PEEKABOO).answer(written);
            if let Some(byte) = digest.get_mut(self.0 / 8) {
                *byte ^= 1 << (self.0 % 8);
            }
            digest
        }
    }
    for bit in 0..256 {
        for &driver in Driver::ALL {
            let outcome = driver.cookbook_server(&mut Wire::to(Flipped(bit)), PEEKABOO);
            assert!(matches!(
                outcome,
                Err(Error::Cookbook(Problem::WrongDigest))
            ));
        }
    }
}

#[test]
fn the_end_of_the_stream_is_reported_with_what_was_awaited() {
    for &driver in Driver::ALL {
        for at in 0..32 {
            let mut wire = Wire::to(Says(vec![7; 32])).read_until(at, Act::Nothing);
            let outcome = driver.cookbook_client(&mut wire, PEEKABOO);
            let awaited = "awaiting a challenge";
            assert!(matches!(outcome, Err(Error::Closed(phase)) if phase.to_string() == awaited));

            let mut wire = Wire::to(Answers(PEEKABOO)).read_until(at, Act::Nothing);
            let outcome = driver.cookbook_server(&mut wire, PEEKABOO);
            let awaited = "awaiting the digest of a challenge";
            assert!(matches!(outcome, Err(Error::Closed(phase)) if phase.to_string() == awaited));
        }
        if !driver.lets_reads_lie() {
            continue;
        }
        let mut lying = Wire::to(Says(vec![7; 32])).read_until(0, Act::Lie);
        let outcome = driver.cookbook_client(&mut lying, PEEKABOO);
        assert!(matches!(
            outcome,
            Err(Error::Cookbook(Problem::Stream(StreamError::Overrun {
                room: 32,
                len: 33
            })))
        ));
    }
}

#[test]
fn a_secret_that_is_empty_or_all_zeros_is_refused_before_anything_is_sent() {
    for &driver in Driver::ALL {
        let cases: [(&[u8], InvalidInput); 3] = [
            (&[], InvalidInput::SecretTooShort { len: 0 }),
            (&[0], InvalidInput::SecretConstant { len: 1 }),
            (&[0; 100], InvalidInput::SecretConstant { len: 100 }),
        ];
        for (secret, reason) in cases {
            let mut wire = Wire::to(Says(vec![7; 32]));
            let client = driver.cookbook_client(&mut wire, secret);
            assert!(matches!(client, Err(Error::InvalidInput(r)) if r == reason));
            let server = driver.cookbook_server(&mut wire, secret);
            assert!(matches!(server, Err(Error::InvalidInput(r)) if r == reason));
            assert!(wire.written.is_empty());
        }
    }
}

#[test]
fn a_challenge_whose_answer_is_valid_in_another_protocol_gets_none() {
    for &driver in Driver::ALL {
        let cases: [(&[u8], Problem); 2] = [
            (b"{sha256}", Problem::Multiprocessing),
            (b"CSIGN1", Problem::Native),
        ];
        for (beginning, expected) in cases {
            let mut challenge = [beginning, &[7; 32]].concat();
            challenge.truncate(32);
            for piece in [1, 7, 32] {
                let mut wire = Wire::to(Says(challenge.clone())).dripping(piece);
                let outcome = driver.cookbook_client(&mut wire, PEEKABOO);
                assert!(matches!(outcome, Err(Error::Cookbook(it)) if it == expected));
                assert!(wire.written.is_empty());
            }
        }
    }
}

#[test]
fn a_native_client_and_a_server_of_the_recipe_end_at_the_challenge() {
    let (client, server) = meet(
        |stream| client_authenticate(stream, &key("one secret")),
        |stream| cookbook::server_authenticate(stream, &secret("one secret")),
    );
    // The error is not more precise, since one challenge in 256 begins like the native protocol and
    // differs later.
    assert!(incompatible(&client.unwrap_err()).is_some());
    assert!(matches!(server, Err(Error::Closed(_))));
}

#[test]
fn a_client_of_the_recipe_and_a_native_server_end_at_the_challenge() {
    let (client, server) = meet(
        |stream| cookbook::client_authenticate(stream, &secret("one secret")),
        |stream| server_authenticate(stream, &key("one secret")),
    );
    assert!(matches!(client, Err(Error::Cookbook(Problem::Native))));
    let awaited = Phase::Awaiting(Message::RESPONSE);
    assert!(matches!(server, Err(Error::Closed(phase)) if phase == awaited));
}

#[test]
fn two_clients_on_either_wire_end_at_the_deadline() {
    let short = Duration::from_millis(50);
    for native in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let mut stream = Deadline::new(&socket, short);
        let outcome = if native {
            client_authenticate(&mut stream, &key("one secret")).map(drop)
        } else {
            cookbook::client_authenticate(&mut stream, PEEKABOO).map(drop)
        };
        let kind = io::Error::from(outcome.unwrap_err()).kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }
}

#[test]
fn no_native_peer_answers_with_a_digest_under_the_bare_secret() {
    let run = Pair::of(&key("one secret").with_id("worker-7").unwrap()).run();
    let [f1, f2, f3] = run.messages();
    let bare = secret("one secret");
    let sends_a_digest_of = |received: &[u8], sent: &[u8]| {
        let digests: HashSet<_> = (0..received.len())
            .flat_map(|from| (from..=received.len()).map(move |to| from..to))
            .map(|part| hmac(&bare, &received[part]))
            .collect();
        sent.windows(32).any(|window| digests.contains(window))
    };
    assert!(!sends_a_digest_of(f1, f2));
    assert!(!sends_a_digest_of(&[f1, f3].concat(), f2));
    assert!(!sends_a_digest_of(f2, f1));
    assert!(!sends_a_digest_of(f2, f3));

    // The control: a client of the recipe does.
    let mut wire = Wire::to(Says(vec![7; 32]));
    cookbook::client_authenticate(&mut wire, &bare).unwrap();
    assert!(sends_a_digest_of(&[7; 32], &wire.written));
}
