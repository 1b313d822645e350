//! Challenges and answers, right and wrong.

use std::collections::VecDeque;

use countersign::compat::multiprocessing::Problem;

use super::{AUTHKEY, CHALLENGE, Digest, FAILURE, Far, Message, WELCOME, ends, framed, number};
use super::{problem, unframe};
use crate::side::Side;
use crate::support::{Peer, Wire};

#[test]
fn a_challenge_that_is_malformed_or_too_weak_gets_no_answer() {
    let challenge = |rest: &[u8]| [CHALLENGE, rest].concat();
    let named = |name: &str| challenge(&[name.as_bytes(), &[0x5a; 40]].concat());
    let rows = [
        (vec![], Problem::NotAChallenge),
        (WELCOME.to_vec(), Problem::NotAChallenge),
        (b"#CHALLENGE".to_vec(), Problem::NotAChallenge),
        (b"#challenge#".repeat(4), Problem::NotAChallenge),
        (challenge(b""), Problem::ChallengeTooShort { len: 0 }),
        (challenge(&[7; 19]), Problem::ChallengeTooShort { len: 19 }),
        (
            challenge(b"{sha256}1234567890!"),
            Problem::ChallengeTooShort { len: 19 },
        ),
        (challenge(&[7; 20]), Problem::UnnamedDigest),
        // Its length makes it a challenge of CPython up to 3.11, whatever it contains.
        (challenge(b"{sha256}1234567890!!"), Problem::UnnamedDigest),
        (challenge(&[7; 21]), Problem::UnknownDigest),
        (named(""), Problem::UnknownDigest),
        (named("{md5}"), Problem::Md5Only),
        (named("{sha3_256}"), Problem::UnknownDigest),
        (named("{sha3_384}"), Problem::UnknownDigest),
        (named("{whirlpool}"), Problem::UnknownDigest),
        (named("{SHA256}"), Problem::UnknownDigest),
        (named("{sha256"), Problem::UnknownDigest),
        (named("sha256}"), Problem::UnknownDigest),
        (named(" {sha256}"), Problem::UnknownDigest),
        (named("{}"), Problem::UnknownDigest),
    ];
    for (driver, side) in ends() {
        for (message, expected) in &rows {
            let far = Far::opposite(side).saying(Message::Challenge, message);
            let mut wire = far.wire();
            let case = format!("{driver:?} {side:?} {:?}", String::from_utf8_lossy(message));
            assert_eq!(problem(side.run(driver, &mut wire)), *expected, "{case}");
            let before = match side {
                Side::Client => 0,
                Side::Server => 63 + 13,
            };
            assert_eq!(wire.written.len(), before, "{case}");
        }
    }
}

/// A peer that answers our challenge with what `then` makes of it. `then` is given the challenge
/// without its `#CHALLENGE#`.
pub struct Answers<F> {
    far: Far,
    then: F,
}

impl<F: Fn(&[u8]) -> Vec<u8> + Send + 'static> Answers<F> {
    pub fn that(side: Side, then: F) -> Wire {
        let far = Far::opposite(side);
        Wire::to(Self { far, then })
    }
}

impl<F: Fn(&[u8]) -> Vec<u8>> Peer for Answers<F> {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let message = unframe(&mut written.clone()).unwrap_or_default();
        if let Some(challenge) = message.strip_prefix(CHALLENGE) {
            let number = number(self.far.side, Message::Digest);
            let answer = (self.then)(challenge);
            self.far.instead = Some((number, framed(answer)));
        }
        self.far.answer(written)
    }
}

/// Makes an answer to our challenge.
pub type Answer = fn(&[u8]) -> Vec<u8>;

pub fn sha256(challenge: &[u8]) -> Vec<u8> {
    Digest::Sha256.answer(AUTHKEY, challenge)
}

#[test]
fn a_wrong_answer_is_refused_with_a_failure() {
    let rows: &[(&str, Answer, Problem)] = &[
        ("nothing", |_| vec![], Problem::NotADigest),
        ("any 16 bytes", |_| vec![7; 16], Problem::Md5Only),
        ("any 20 bytes", |_| vec![7; 20], Problem::NotADigest),
        (
            "a pickled message of a peer without an authkey",
            |_| b"\x80\x04\x95\x09\0\0\0\0\0\0\0\x8c\x05hello\x94.".to_vec(),
            Problem::NotADigest,
        ),
        (
            "MD5 by name",
            |_| [&b"{md5}"[..], &[7; 16]].concat(),
            Problem::Md5Only,
        ),
        (
            "SHA3-256",
            |_| [&b"{sha3_256}"[..], &[7; 32]].concat(),
            Problem::UnknownDigest,
        ),
        (
            "Whirlpool",
            |_| [&b"{whirlpool}"[..], &[7; 64]].concat(),
            Problem::UnknownDigest,
        ),
        (
            "the right one without a name",
            |challenge| sha256(challenge).split_off(8),
            Problem::BareSha256,
        ),
        (
            "a name alone",
            |_| b"{sha256}".to_vec(),
            Problem::WrongDigest,
        ),
        (
            "zeros",
            |_| [&b"{sha256}"[..], &[0; 32]].concat(),
            Problem::WrongDigest,
        ),
        (
            "the right one without its last byte",
            |challenge| sha256(challenge)[..39].to_vec(),
            Problem::WrongDigest,
        ),
        (
            "the right one and another byte",
            |challenge| [&sha256(challenge)[..], &[0]].concat(),
            Problem::WrongDigest,
        ),
        (
            "the right one under another name",
            |challenge| [&b"{sha384}"[..], &sha256(challenge)[8..]].concat(),
            Problem::WrongDigest,
        ),
        (
            "an HMAC without the digest's name",
            |challenge| sha256(&challenge[8..]),
            Problem::WrongDigest,
        ),
        (
            "an HMAC of all of the message",
            |challenge| sha256(&[CHALLENGE, challenge].concat()),
            Problem::WrongDigest,
        ),
        (
            "our challenge",
            |challenge| challenge.to_vec(),
            Problem::WrongDigest,
        ),
    ];
    for (driver, side) in ends() {
        for &(name, answer, expected) in rows {
            let mut wire = Answers::that(side, answer);
            let outcome = side.run(driver, &mut wire);
            assert_eq!(problem(outcome), expected, "{driver:?} {side:?} {name}");
            assert!(wire.written.ends_with(&framed(FAILURE)), "{name}");
        }
        // The control: the right answer is accepted.
        let _knows = side.run(driver, &mut Answers::that(side, sha256)).unwrap();
    }
}

#[test]
fn an_answer_with_any_bit_flipped_is_refused() {
    for (driver, side) in ends() {
        for bit in 0..40 * 8 {
            let mut wire = Answers::that(side, move |challenge| {
                let mut answer = sha256(challenge);
                answer[bit / 8] ^= 1 << (bit % 8);
                answer
            });
            let expected = match bit / 8 {
                0 => Problem::NotADigest,
                1..8 => Problem::UnknownDigest,
                _ => Problem::WrongDigest,
            };
            assert_eq!(problem(side.run(driver, &mut wire)), expected, "bit {bit}");
        }
    }
}
