//! The functions that speak HMAC-MD5, as CPython up to 3.11 does.

use std::collections::VecDeque;

use countersign::Error;
use countersign::compat::multiprocessing::{self, KnowsAuthkey, Problem};
use hmac::{Hmac, KeyInit, Mac};

use super::answers::{Answer, Answers, sha256};
use super::handshake::meet;
use super::{AUTHKEY, CHALLENGE, Digest, FAILURE, TAIL, WELCOME, ends, framed, problem, unframe};
use crate::side::Side;
use crate::support::{Driver, Peer, Says, Wire};

fn hmac_md5(authkey: &[u8], message: &[u8]) -> [u8; 16] {
    let mut mac = Hmac::<::md5::Md5>::new_from_slice(authkey).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl Side {
    fn run_md5(self, driver: Driver, wire: &mut Wire) -> Result<KnowsAuthkey, Error> {
        match self {
            Self::Client => driver.multiprocessing_client_md5(wire, AUTHKEY),
            Self::Server => driver.multiprocessing_server_md5(wire, AUTHKEY),
        }
    }
}

/// The opposite of a side, as it is in CPython up to 3.11.
struct Old {
    side: Side,
    sent: usize,
    authkey: &'static [u8],
}

impl Old {
    fn opposite(side: Side) -> Self {
        Self {
            side,
            sent: 0,
            authkey: AUTHKEY,
        }
    }
}

const RANDOM: [u8; 20] = *b"twenty random bytes!";

impl Peer for Old {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let message = unframe(written).unwrap_or_default();
        let message = match (self.side, self.sent) {
            (Side::Client, 0) | (Side::Server, 1) => [CHALLENGE, &RANDOM].concat(),
            (Side::Client, 1) | (Side::Server, 2) => {
                assert_eq!(message.len(), 16);
                let right = message == hmac_md5(self.authkey, &RANDOM);
                if right { WELCOME } else { FAILURE }.to_vec()
            }
            (Side::Client, 2) | (Side::Server, 0) => {
                let challenge = message.strip_prefix(CHALLENGE).unwrap();
                hmac_md5(self.authkey, challenge).to_vec()
            }
            _ => return TAIL.to_vec(),
        };
        self.sent += 1;
        framed(message)
    }
}

#[test]
fn the_md5_calls_accept_an_old_peer_and_challenge_it_in_md5_only() {
    for (driver, side) in ends() {
        let mut wire = Wire::to(Old::opposite(side));
        let _knows = side.run_md5(driver, &mut wire).unwrap();
        assert_eq!(wire.rest(), TAIL);

        let challenge = 4 + CHALLENGE.len() + 20;
        let (digest, welcome) = (4 + 16, 4 + WELCOME.len());
        let expected = match side {
            Side::Client => [digest, challenge, welcome],
            Side::Server => [challenge, welcome, digest],
        };
        assert_eq!(wire.writes, expected, "{driver:?} {side:?}");
    }
}

#[test]
fn the_md5_calls_refuse_an_old_peer_with_another_authkey() {
    for (driver, side) in ends() {
        let mut old = Old::opposite(side);
        old.authkey = b"other";
        let expected = match side {
            Side::Client => Problem::RejectedMd5,
            Side::Server => Problem::WrongDigest,
        };
        let outcome = side.run_md5(driver, &mut Wire::to(old));
        assert_eq!(problem(outcome), expected);
    }
}

#[test]
fn the_md5_calls_accept_each_other_and_refuse_another_authkey() {
    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate_md5(stream, AUTHKEY),
        |stream| multiprocessing::server_authenticate_md5(stream, AUTHKEY),
    );
    let _: (KnowsAuthkey, KnowsAuthkey) = (client.unwrap(), server.unwrap());

    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate_md5(stream, b"another password"),
        |stream| multiprocessing::server_authenticate_md5(stream, AUTHKEY),
    );
    assert_eq!(problem(client), Problem::RejectedMd5);
    assert_eq!(problem(server), Problem::WrongDigest);
}

#[test]
fn the_md5_calls_and_the_others_refuse_each_other() {
    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate(stream, AUTHKEY),
        |stream| multiprocessing::server_authenticate_md5(stream, AUTHKEY),
    );
    assert_eq!(problem(client), Problem::UnnamedDigest);
    assert!(matches!(server, Err(Error::Closed(_))), "{server:?}");

    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate_md5(stream, AUTHKEY),
        |stream| multiprocessing::server_authenticate(stream, AUTHKEY),
    );
    assert_eq!(problem(client), Problem::RejectedMd5);
    assert_eq!(problem(server), Problem::Md5Only);
}

#[test]
fn the_right_md5_is_refused_as_an_answer_to_a_challenge_in_sha256() {
    for (driver, side) in ends() {
        let answers: [Answer; 2] = [
            |challenge| hmac_md5(AUTHKEY, challenge).to_vec(),
            |challenge| [b"{md5}", &hmac_md5(AUTHKEY, challenge)[..]].concat(),
        ];
        for answer in answers {
            let mut wire = Answers::that(side, answer);
            let outcome = side.run(driver, &mut wire);
            assert_eq!(problem(outcome), Problem::Md5Only);
            assert!(wire.written.ends_with(&framed(FAILURE)));
        }
    }
}

#[test]
fn the_md5_calls_answer_every_challenge_in_md5() {
    for &driver in Driver::ALL {
        for challenge in [
            Digest::Sha256.challenge(),
            [CHALLENGE, b"{md5}", &[7; 40]].concat(),
            [CHALLENGE, &[7; 20]].concat(),
        ] {
            let mut wire = Wire::to(Says(framed(&challenge)));
            let outcome = Side::Client.run_md5(driver, &mut wire);
            assert!(matches!(outcome, Err(Error::TimedOut(_))));
            let digest = hmac_md5(AUTHKEY, &challenge[CHALLENGE.len()..]);
            assert_eq!(wire.written, framed(digest));
        }
        for len in [0, 19] {
            let challenge = [CHALLENGE, &vec![7; len]].concat();
            let mut wire = Wire::to(Says(framed(challenge)));
            let outcome = Side::Client.run_md5(driver, &mut wire);
            assert_eq!(problem(outcome), Problem::ChallengeTooShort { len });
        }
    }
}

#[test]
fn the_md5_calls_refuse_an_answer_in_sha256() {
    let rows: [(Answer, Problem); 2] = [
        (sha256, Problem::NoMd5),
        (
            |challenge| sha256(challenge).split_off(8),
            Problem::BareSha256,
        ),
    ];
    for &driver in Driver::ALL {
        for (answer, expected) in rows {
            let mut wire = Answers::that(Side::Server, answer);
            let outcome = Side::Server.run_md5(driver, &mut wire);
            assert_eq!(problem(outcome), expected);
        }
    }
}

#[test]
fn the_md5_calls_refuse_an_empty_authkey() {
    for &driver in Driver::ALL {
        let mut wire = Wire::to(Says(vec![]));
        let client = driver.multiprocessing_client_md5(&mut wire, b"");
        assert!(matches!(client, Err(Error::InvalidInput(_))));
        let server = driver.multiprocessing_server_md5(&mut wire, b"");
        assert!(matches!(server, Err(Error::InvalidInput(_))));
        assert!(wire.written.is_empty());
    }
}
