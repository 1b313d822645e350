//! The wire of Python's `multiprocessing`, octet by octet; what ends it; and the attack that it
//! does not withstand, beside the native wire, which does.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use countersign::compat::multiprocessing::{self, KnowsAuthkey, Problem};
use countersign::handshake::{Flight, InvalidInput};
use countersign::{Client, Deadline, Error, Phase, Session};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha384;

use crate::support::{Act, Driver, Peer, Says, Wire, hmac, key, tcp_pair};

const AUTHKEY: &[u8] = b"secret password";
const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
const TAIL: &[u8] = b"the application's octets";

/// A message with its length before it.
fn framed(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let len = i32::try_from(message.len()).unwrap();
    [&len.to_be_bytes(), message].concat()
}

/// The first whole message, taken off its stream.
fn unframe(octets: &mut VecDeque<u8>) -> Option<Vec<u8>> {
    let len = octets.iter().copied().take(4).collect::<Vec<_>>();
    let len = i32::from_be_bytes(len.try_into().ok()?);
    let end = 4 + usize::try_from(len).unwrap();
    (octets.len() >= end).then(|| octets.drain(..end).skip(4).collect())
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

    /// The answer to a challenge, which is without its `#CHALLENGE#` here.
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

/// The end that is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
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

    /// The messages that this end receives, and how long each is with its header.
    fn received(self) -> [(Flight, usize); 3] {
        match self {
            Self::Client => [
                (Flight::CompatChallenge, 63),
                (Flight::CompatWelcome, 13),
                (Flight::CompatDigest, 44),
            ],
            Self::Server => [
                (Flight::CompatDigest, 44),
                (Flight::CompatChallenge, 63),
                (Flight::CompatWelcome, 13),
            ],
        }
    }

    /// What the other end sends is what the opposite side receives.
    fn sent(self) -> [(Flight, usize); 3] {
        match self {
            Self::Client => Self::Server.received(),
            Self::Server => Self::Client.received(),
        }
    }
}

fn ends() -> impl Iterator<Item = (Driver, Side)> {
    Driver::ALL
        .iter()
        .flat_map(|&driver| [Side::Client, Side::Server].map(|side| (driver, side)))
}

/// Each octet's message, and where it is in all the octets of a handshake in one direction.
fn octets(messages: [(Flight, usize); 3]) -> impl Iterator<Item = (usize, Flight)> {
    messages
        .into_iter()
        .flat_map(|(flight, len)| std::iter::repeat_n(flight, len))
        .enumerate()
}

/// Where the message of this number begins in what is received.
fn beginning(side: Side, number: usize) -> usize {
    side.received()[..number].iter().map(|(_, len)| len).sum()
}

/// The number of this message among those that are received.
fn number(side: Side, flight: Flight) -> usize {
    let received = side.received();
    received.iter().position(|it| it.0 == flight).unwrap()
}

/// The honest opposite of a side, in code of its own, unless one message is replaced.
#[derive(Clone)]
struct Far {
    side: Side,
    authkey: Vec<u8>,
    /// The digest that it challenges and answers with.
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

    /// Sends these octets in the place of its message of this number.
    fn instead(mut self, number: usize, octets: impl Into<Vec<u8>>) -> Self {
        self.instead = Some((number, octets.into()));
        self
    }

    /// Sends this message in the place of its own.
    fn saying(self, flight: Flight, message: impl AsRef<[u8]>) -> Self {
        let number = number(self.side, flight);
        self.instead(number, framed(message))
    }

    fn wire(self) -> Wire {
        Wire::to(self)
    }

    fn answer_to(&self, message: &[u8]) -> Vec<u8> {
        let flight = self.side.sent()[self.received].0;
        match flight {
            Flight::CompatChallenge => {
                let challenge = message.strip_prefix(CHALLENGE).unwrap();
                self.digest.answer(&self.authkey, challenge)
            }
            Flight::CompatDigest => {
                let challenge = &self.digest.challenge()[CHALLENGE.len()..];
                let right = message == self.digest.answer(&self.authkey, challenge);
                if right { WELCOME } else { FAILURE }.to_vec()
            }
            // A client goes on from here, and for a listener it was the last.
            _ => self.digest.challenge(),
        }
    }

    fn send(&mut self, message: &[u8]) -> Vec<u8> {
        let octets = match &self.instead {
            Some((number, octets)) if *number == self.sent => octets.clone(),
            _ => framed(message),
        };
        self.sent += 1;
        match self.sent {
            3 => [&octets, TAIL].concat(),
            _ => octets,
        }
    }
}

impl Peer for Far {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        if self.side == Side::Client && self.sent == 0 {
            let challenge = self.digest.challenge();
            return self.send(&challenge);
        }
        let mut octets = Vec::new();
        while let Some(message) = unframe(written) {
            if self.sent < 3 {
                let answer = self.answer_to(&message);
                octets.extend(self.send(&answer));
            }
            self.received += 1;
        }
        octets
    }
}

fn problem(outcome: Result<KnowsAuthkey, Error>) -> Problem {
    match outcome {
        Err(Error::Multiprocessing(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

/// Two ends on a real connection, each with a deadline.
fn meet<C: Send, S>(
    client: impl FnOnce(&mut Deadline<'_, TcpStream>) -> C + Send,
    server: impl FnOnce(&mut Deadline<'_, TcpStream>) -> S,
) -> (C, S) {
    let time = Duration::from_secs(20);
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        let client = scope.spawn(move || client(&mut Deadline::new(&near, time).unwrap()));
        let server = server(&mut Deadline::new(&far, time).unwrap());
        drop(far);
        (client.join().unwrap(), server)
    })
}

#[test]
fn client_and_listener_with_one_authkey_meet() {
    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate(stream, AUTHKEY),
        |stream| multiprocessing::server_authenticate(stream, AUTHKEY),
    );
    let _: (KnowsAuthkey, KnowsAuthkey) = (client.unwrap(), server.unwrap());
}

#[test]
fn client_and_listener_with_two_authkeys_part_at_the_clients_digest() {
    let (client, server) = meet(
        |stream| multiprocessing::client_authenticate(stream, b"another password"),
        |stream| multiprocessing::server_authenticate(stream, AUTHKEY),
    );
    assert_eq!(problem(client), Problem::Rejected);
    assert_eq!(problem(server), Problem::WrongDigest);
}

#[test]
fn an_honest_peer_is_accepted_and_nothing_of_the_application_is_read() {
    for (driver, side) in ends() {
        for digest in [Digest::Sha256, Digest::Sha384] {
            let mut wire = Far::opposite(side).with_digest(digest).wire();
            // Our own challenge is in SHA-256, and may be answered in SHA-384.
            let _knows = side.run(driver, &mut wire).unwrap();
            assert_eq!(wire.rest(), TAIL, "{driver:?} {side:?} {digest:?}");
        }
    }
}

#[test]
fn a_peer_with_another_authkey_is_refused_by_whoever_verifies_first() {
    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).with_authkey(b"other").wire();
        let expected = match side {
            Side::Client => Problem::Rejected,
            Side::Server => Problem::WrongDigest,
        };
        assert_eq!(problem(side.run(driver, &mut wire)), expected);
    }
}

#[test]
fn a_listener_that_welcomes_everybody_is_found_out_by_its_digest() {
    for &driver in Driver::ALL {
        let far = Far::opposite(Side::Client).with_authkey(b"other");
        let mut wire = far.saying(Flight::CompatWelcome, WELCOME).wire();
        let outcome = Side::Client.run(driver, &mut wire);
        assert_eq!(problem(outcome), Problem::WrongDigest);
        assert!(wire.written.ends_with(&framed(FAILURE)));
    }
}

#[test]
fn the_answer_is_an_hmac_of_the_challenge_and_of_the_name_of_its_digest() {
    for &driver in Driver::ALL {
        for digest in [Digest::Sha256, Digest::Sha384] {
            let random: Vec<u8> = (100..140).collect();
            let challenge = [digest.name(), &random].concat();
            let wire = &mut Wire::to(Says(framed([CHALLENGE, &challenge].concat())));
            let outcome = Side::Client.run(driver, wire);
            assert!(matches!(outcome, Err(Error::TimedOut(_))));
            let answer = framed(digest.answer(AUTHKEY, &challenge));
            assert_eq!(wire.written, answer, "{driver:?} {digest:?}");
        }
    }
}

#[test]
fn our_challenge_has_forty_random_octets_in_sha256() {
    for &driver in Driver::ALL {
        let challenges = [(); 2].map(|()| {
            let mut wire = Far::opposite(Side::Server).wire();
            let _knows = Side::Server.run(driver, &mut wire).unwrap();
            unframe(&mut wire.written.into()).unwrap()
        });
        for challenge in &challenges {
            assert!(challenge.starts_with(b"#CHALLENGE#{sha256}"));
            assert_eq!(challenge.len(), 11 + 8 + 40);
        }
        assert_ne!(challenges[0], challenges[1]);
    }
}

#[test]
fn a_length_that_no_message_of_the_handshake_has_ends_it_at_the_header() {
    for (driver, side) in ends() {
        for number in 0..3 {
            for len in [257, 65536, i32::MAX, -1, -2, i32::MIN] {
                // What would be read next is a length of 59 in the long form.
                let octets = [&len.to_be_bytes()[..], &59_u64.to_be_bytes(), &[0; 59]].concat();
                let mut wire = Far::opposite(side).instead(number, octets).wire();
                let outcome = side.run(driver, &mut wire);
                assert_eq!(problem(outcome), Problem::MessageLength(len));
                assert_eq!(wire.read, beginning(side, number) + 4);
            }
        }
    }
}

#[test]
fn a_message_of_the_handshake_has_256_octets_at_most() {
    for &driver in Driver::ALL {
        let challenge = [CHALLENGE, b"{sha256}", &[0x5a; 237]].concat();
        assert_eq!(challenge.len(), 256);
        let far = Far::opposite(Side::Client).saying(Flight::CompatChallenge, &challenge);
        let mut wire = far.wire();
        let outcome = Side::Client.run(driver, &mut wire);
        // The honest listener has another challenge in mind.
        assert_eq!(problem(outcome), Problem::Rejected);
        let answer = Digest::Sha256.answer(AUTHKEY, &challenge[CHALLENGE.len()..]);
        assert_eq!(wire.written, framed(answer));
    }
}

#[test]
fn a_challenge_that_is_none_or_too_weak_gets_no_answer() {
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
        (challenge(&[7; 20]), Problem::Md5Only),
        // By its length it is one of CPython up to 3.11, whatever is in it.
        (challenge(b"{sha256}1234567890!!"), Problem::Md5Only),
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
            let far = Far::opposite(side).saying(Flight::CompatChallenge, message);
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

/// A peer that says `then` of our challenge, which is without its `#CHALLENGE#` here, in the
/// place of its answer.
struct Answers<F> {
    far: Far,
    then: F,
}

impl<F: Fn(&[u8]) -> Vec<u8> + Send + 'static> Answers<F> {
    fn that(side: Side, then: F) -> Wire {
        let far = Far::opposite(side);
        Wire::to(Self { far, then })
    }
}

impl<F: Fn(&[u8]) -> Vec<u8>> Peer for Answers<F> {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        let message = unframe(&mut written.clone()).unwrap_or_default();
        if let Some(challenge) = message.strip_prefix(CHALLENGE) {
            let number = number(self.far.side, Flight::CompatDigest);
            let answer = (self.then)(challenge);
            self.far.instead = Some((number, framed(answer)));
        }
        self.far.answer(written)
    }
}

/// What a peer may answer to our challenge.
type Answer = fn(&[u8]) -> Vec<u8>;

fn sha256(challenge: &[u8]) -> Vec<u8> {
    Digest::Sha256.answer(AUTHKEY, challenge)
}

#[test]
fn an_answer_that_is_not_the_right_one_is_refused_with_a_failure() {
    let rows: &[(&str, Answer, Problem)] = &[
        ("nothing", |_| vec![], Problem::UnknownDigest),
        ("any 16 octets", |_| vec![7; 16], Problem::Md5Only),
        ("any 20 octets", |_| vec![7; 20], Problem::UnknownDigest),
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
            Problem::UnknownDigest,
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
            "the right one less an octet",
            |challenge| sha256(challenge)[..39].to_vec(),
            Problem::WrongDigest,
        ),
        (
            "the right one and an octet",
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
        // The control.
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
            let expected = if bit < 8 * 8 {
                Problem::UnknownDigest
            } else {
                Problem::WrongDigest
            };
            assert_eq!(problem(side.run(driver, &mut wire)), expected, "bit {bit}");
        }
    }
}

#[test]
fn a_verdict_is_a_welcome_or_a_failure_and_nothing_else() {
    let rows: [(&[u8], Problem); 6] = [
        (FAILURE, Problem::Rejected),
        (b"", Problem::NotAWelcome),
        (b"#WELCOME", Problem::NotAWelcome),
        (b"#WELCOME##", Problem::NotAWelcome),
        (b"#welcome#", Problem::NotAWelcome),
        (CHALLENGE, Problem::NotAWelcome),
    ];
    for (driver, side) in ends() {
        for (verdict, expected) in rows {
            let far = Far::opposite(side).saying(Flight::CompatWelcome, verdict);
            assert_eq!(problem(side.run(driver, &mut far.wire())), expected);
        }
    }
}

#[test]
fn why_a_peer_was_refused_is_reported_though_it_cannot_be_told() {
    let far = || Far::opposite(Side::Server).with_authkey(b"other");
    for &driver in Driver::ALL {
        for act in [
            Act::Fail(ErrorKind::BrokenPipe),
            Act::Fail(ErrorKind::WouldBlock),
            Act::Nothing,
            Act::Lie,
        ] {
            for at in 63..63 + 13 {
                let mut wire = far().wire().write_until(at, act);
                let outcome = Side::Server.run(driver, &mut wire);
                assert_eq!(problem(outcome), Problem::WrongDigest);
                assert_eq!(wire.written.len(), at);
            }
        }
    }
}

#[test]
fn the_end_of_the_stream_at_any_octet_is_reported_with_the_message_awaited() {
    for (driver, side) in ends() {
        for (at, flight) in octets(side.received()) {
            for act in [Act::Nothing, Act::Fail(ErrorKind::ConnectionReset)] {
                let mut wire = Far::opposite(side).wire().read_until(at, act);
                let outcome = side.run(driver, &mut wire);
                let awaited = Phase::Awaiting(flight);
                assert!(
                    matches!(outcome, Err(Error::Closed(phase)) if phase == awaited),
                    "{driver:?} {side:?}, {act:?} at {at}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_stream_whose_time_is_over_names_the_message_wherever_it_is_over() {
    let acts = [ErrorKind::WouldBlock, ErrorKind::TimedOut].map(Act::Fail);
    for ((driver, side), act) in ends().flat_map(|end| acts.map(|act| (end, act))) {
        let reads = octets(side.received()).map(|(at, flight)| {
            (
                Phase::Awaiting(flight),
                Far::opposite(side).wire().read_until(at, act),
            )
        });
        let writes = octets(side.sent()).map(|(at, flight)| {
            (
                Phase::Sending(flight),
                Far::opposite(side).wire().write_until(at, act),
            )
        });
        let flushes = side
            .sent()
            .into_iter()
            .enumerate()
            .map(|(at, (flight, _))| {
                let mut wire = Far::opposite(side).wire();
                wire.on_flush = Box::new(move |flushes| match flushes {
                    before if before < at => Act::Move(usize::MAX),
                    _ => act,
                });
                (Phase::Sending(flight), wire)
            });
        for (expected, mut wire) in reads.chain(writes).chain(flushes) {
            let outcome = side.run(driver, &mut wire);
            assert!(
                matches!(outcome, Err(Error::TimedOut(phase)) if phase == expected),
                "{driver:?} {side:?}, {act:?} while {expected}: {outcome:?}"
            );
        }
    }
    let error = Error::TimedOut(Phase::Awaiting(Flight::CompatWelcome));
    assert_eq!(error.to_string(), "time ran out while awaiting a welcome");
}

#[test]
fn a_stream_that_reports_more_than_there_was_room_for_is_refused() {
    for (driver, side) in ends() {
        let reads = octets(side.received())
            .filter(|_| driver.lets_reads_lie())
            .map(|(at, _)| Far::opposite(side).wire().read_until(at, Act::Lie));
        let writes =
            octets(side.sent()).map(|(at, _)| Far::opposite(side).wire().write_until(at, Act::Lie));
        for mut wire in reads.chain(writes) {
            let outcome = side.run(driver, &mut wire);
            assert!(
                matches!(outcome, Err(Error::InvalidInput(InvalidInput::Overrun { room, len }))
                    if len == room + 1),
                "{driver:?} {side:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn a_handshake_may_arrive_in_any_two_segments_or_octet_by_octet() {
    for (driver, side) in ends() {
        for cut in 1..120 {
            let wire = Far::opposite(side).wire();
            let mut wire = wire.read_until(cut, Act::Move(usize::MAX));
            let _knows = side.run(driver, &mut wire).unwrap();
            assert_eq!(wire.read, 120);
            assert_eq!(wire.rest(), TAIL, "{driver:?} {side:?}, cut at {cut}");
        }

        let mut wire = Far::opposite(side).wire().dripping(1);
        wire.on_write = Box::new(|_| Act::Move(1));
        let _knows = side.run(driver, &mut wire).unwrap();
        assert_eq!(wire.rest(), TAIL);
    }
}

#[test]
fn an_interrupted_call_is_made_again() {
    fn stumbling() -> Box<dyn FnMut(usize) -> Act + Send> {
        let mut calls = 0;
        Box::new(move |_| {
            calls += 1;
            if calls % 3 == 0 {
                Act::Move(1)
            } else {
                Act::Fail(ErrorKind::Interrupted)
            }
        })
    }

    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).wire();
        wire.on_read = stumbling();
        wire.on_write = stumbling();
        wire.on_flush = stumbling();
        let _knows = side.run(driver, &mut wire).unwrap();
        assert_eq!(wire.written.len(), 120);
    }
}

#[test]
fn a_message_of_the_handshake_is_one_write_and_one_flush() {
    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).wire();
        let _knows = side.run(driver, &mut wire).unwrap();
        assert_eq!(wire.writes, side.sent().map(|(_, len)| len));
        assert_eq!(wire.flushes, 3);
    }
}

#[test]
fn a_silent_peer_ends_at_the_deadline_with_the_message_awaited() {
    let short = Duration::from_millis(50);
    for side in [Side::Client, Side::Server] {
        let (near, _silent) = tcp_pair();
        let mut stream = Deadline::new(&near, short).unwrap();
        let outcome = match side {
            Side::Client => multiprocessing::client_authenticate(&mut stream, AUTHKEY),
            Side::Server => multiprocessing::server_authenticate(&mut stream, AUTHKEY),
        };
        let awaited = Phase::Awaiting(side.received()[0].0);
        assert!(matches!(outcome, Err(Error::TimedOut(phase)) if phase == awaited));
    }
}

#[test]
fn two_clients_wait_for_each_other_until_the_deadline() {
    let short = Duration::from_millis(50);
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        for socket in [&near, &far] {
            scope.spawn(move || {
                let mut stream = Deadline::new(socket, short).unwrap();
                let outcome = multiprocessing::client_authenticate(&mut stream, AUTHKEY);
                let awaited = Phase::Awaiting(Flight::CompatChallenge);
                assert!(matches!(outcome, Err(Error::TimedOut(phase)) if phase == awaited));
            });
        }
    });
}

#[test]
fn an_empty_authkey_is_refused_before_anything_is_sent_or_read() {
    for (driver, side) in ends() {
        let mut wire = Far::opposite(side).with_authkey(b"").wire();
        let outcome = side.run_with(driver, &mut wire, b"");
        let short = InvalidInput::SecretTooShort { len: 0 };
        assert!(matches!(outcome, Err(Error::InvalidInput(reason)) if reason == short));
        assert!(wire.written.is_empty());
        assert!(wire.offered.is_empty());
    }
}

/// A proof to make a connection with, over whatever stream.
fn knows(driver: Driver) -> KnowsAuthkey {
    let mut wire = Far::opposite(Side::Client).wire();
    Side::Client.run(driver, &mut wire).unwrap()
}

fn receive(driver: Driver, octets: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
    let end = octets.len();
    let mut wire = Wire::to(Says(octets.to_vec())).read_until(end, Act::Nothing);
    driver.recv_bytes(&mut wire, knows(driver), max)
}

/// The header that CPython gives a message of 2 GiB and more, for any length.
fn long_header(len: u64) -> Vec<u8> {
    [&(-1_i32).to_be_bytes()[..], &len.to_be_bytes()].concat()
}

/// Octets of which neighbours differ.
fn message(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

const MIB: usize = 1 << 20;

#[test]
fn messages_of_every_size_go_through_and_small_ones_in_one_write() {
    for &driver in Driver::ALL {
        for len in [0, 1, 2, 255, 16383, 16384, 16385, MIB] {
            let message = message(len);
            let mut wire = Wire::to(Says(vec![]));
            driver
                .send_bytes(&mut wire, knows(driver), &message)
                .unwrap();
            assert!(wire.written == framed(&message), "{len} octets");
            // Two small writes would wait for each other's acknowledgement.
            let writes = if len <= 16384 { 1 } else { 2 };
            assert_eq!(wire.writes.len(), writes, "{driver:?}, {len} octets");
            assert_eq!(wire.flushes, 1);

            let received = receive(driver, &wire.written, len).unwrap();
            assert!(received.as_deref() == Some(&message), "{len} octets");
        }
    }
}

#[test]
fn a_message_may_arrive_in_any_two_segments_and_what_follows_it_is_left() {
    for &driver in Driver::ALL {
        for long in [false, true] {
            let message = message(20);
            let header = if long {
                long_header(20)
            } else {
                20_i32.to_be_bytes().to_vec()
            };
            let octets = [&header[..], &message, &framed(b"the next")].concat();
            for cut in 1..octets.len() {
                let mut wire = Wire::to(Says(octets.clone()));
                wire = wire.read_until(cut, Act::Move(usize::MAX));
                let received = driver.recv_bytes(&mut wire, knows(driver), 20).unwrap();
                assert_eq!(received.as_deref(), Some(&message[..]));
                assert_eq!(wire.rest(), framed(b"the next"), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_at_its_header() {
    for &driver in Driver::ALL {
        let short = |len: i32| len.to_be_bytes().to_vec();
        for (header, max) in [
            (short(1), 0),
            (short(101), 100),
            (short(i32::MAX), MIB),
            (long_header(101), 100),
            (long_header(1 << 31), MIB),
            (long_header(u64::MAX), MIB),
        ] {
            let octets = [&header[..], &[7; 200]].concat();
            let mut wire = Wire::to(Says(octets));
            let error = driver.recv_bytes(&mut wire, knows(driver), max);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(wire.read, header.len());
        }
        let received = receive(driver, &[long_header(100), vec![7; 100]].concat(), 100);
        assert_eq!(received.unwrap(), Some(vec![7; 100]));
        let received = receive(driver, &long_header(0), 0);
        assert_eq!(received.unwrap(), Some(vec![]));
    }
}

#[test]
fn a_length_that_cannot_be_is_refused_whatever_the_limit() {
    for &driver in Driver::ALL {
        for len in [-2, -59, i32::MIN] {
            let octets = [&len.to_be_bytes()[..], &[0; 100]].concat();
            let error = receive(driver, &octets, usize::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{len}");
            assert!(error.to_string().contains(&len.to_string()), "{error}");
        }
    }
}

#[test]
fn the_end_of_the_stream_is_clean_between_two_messages_and_nowhere_else() {
    for &driver in Driver::ALL {
        let short = framed(b"hello");
        let long = [&long_header(5)[..], b"hello"].concat();
        for octets in [&short, &long] {
            assert_eq!(receive(driver, b"", 100).unwrap(), None);
            for at in 1..octets.len() {
                let error = receive(driver, &octets[..at], 100).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{driver:?}, {at}");
            }
            assert_eq!(receive(driver, octets, 100).unwrap().unwrap(), b"hello");
        }
    }
}

#[test]
fn a_stream_that_fails_within_a_message_hands_its_error_on() {
    for &driver in Driver::ALL {
        for at in 0..9 {
            let wire = Wire::to(Says(framed(b"hello")));
            let mut wire = wire.read_until(at, Act::Fail(ErrorKind::TimedOut));
            let error = driver.recv_bytes(&mut wire, knows(driver), 100);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

            let mut wire = Wire::to(Says(vec![])).write_until(at, Act::Fail(ErrorKind::TimedOut));
            let error = driver.send_bytes(&mut wire, knows(driver), b"hello");
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        }
    }
}

#[test]
fn no_memory_is_taken_for_octets_that_were_only_announced() {
    const GIB: usize = 1 << 30;

    for &driver in Driver::ALL {
        let short = i32::try_from(GIB).unwrap().to_be_bytes().to_vec();
        let long = long_header(GIB as u64);
        for (header, sent) in [(&short, 0), (&short, 100), (&long, 0), (&long, 100)] {
            let octets = [&header[..], &vec![7; sent]].concat();
            let mut kind = None;
            // The stream double and tokio's runtime take memory too, but of fixed sizes.
            let info = measure(|| kind = receive(driver, &octets, GIB).err().map(|e| e.kind()));
            assert_eq!(kind, Some(ErrorKind::UnexpectedEof));
            assert!(info.bytes_max < 1 << 18, "{} octets", info.bytes_max);
        }
    }
}

type Outcomes = Arc<Mutex<Vec<Result<KnowsAuthkey, Error>>>>;

/// Runs clients against a listener that has no key, which needs no more than that they come.
///
/// The first is sent `challenge`. Its answer is returned, and whatever it asks itself is sent to
/// the next client as *its* challenge. Each outcome is added to `outcomes`, the last client's
/// first.
fn attack(driver: Driver, clients: usize, challenge: &[u8], outcomes: &Outcomes) -> Vec<u8> {
    struct NoKey<F> {
        challenge: Option<Vec<u8>>,
        clients_answer: Arc<Mutex<Vec<u8>>>,
        ask_the_next: F,
    }

    impl<F: Fn(&[u8]) -> Vec<u8>> Peer for NoKey<F> {
        fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
            if let Some(challenge) = self.challenge.take() {
                return framed(challenge);
            }
            match unframe(written) {
                Some(challenge) if challenge.starts_with(CHALLENGE) => {
                    framed((self.ask_the_next)(&challenge))
                }
                Some(answer) if answer.starts_with(b"{") => {
                    *self.clients_answer.lock().unwrap() = answer;
                    framed(WELCOME)
                }
                _ => vec![],
            }
        }
    }

    let clients_answer = Arc::default();
    let mut wire = Wire::to(NoKey {
        challenge: Some(challenge.to_vec()),
        clients_answer: Arc::clone(&clients_answer),
        ask_the_next: {
            let outcomes = Arc::clone(outcomes);
            move |challenge: &[u8]| match clients {
                1 => [b"{sha256}", &[0; 32][..]].concat(),
                // It runs within the call above, and so on a thread that is in a runtime already.
                _ => attack(Driver::Blocking, clients - 1, challenge, &outcomes),
            }
        },
    });
    let outcome = driver.multiprocessing_client(&mut wire, AUTHKEY);
    outcomes.lock().unwrap().push(outcome);
    let answer = clients_answer.lock().unwrap();
    answer.clone()
}

#[test]
fn a_listener_without_the_key_is_accepted_by_every_client_but_the_last() {
    for &driver in Driver::ALL {
        for clients in [1, 2, 3] {
            let outcomes = Arc::default();
            attack(driver, clients, &Digest::Sha256.challenge(), &outcomes);
            let mut outcomes = outcomes.lock().unwrap().drain(..).collect::<Vec<_>>();
            assert_eq!(outcomes.len(), clients);
            let last = outcomes.remove(0);
            assert_eq!(problem(last), Problem::WrongDigest);
            for accepted in outcomes {
                // The client takes the attacker for one of its own.
                let _: KnowsAuthkey = accepted.unwrap();
            }
        }
    }
}

/// Runs a native client against a server that has no key: it sends `nonce` in F1, and in F3 what
/// `verdict` makes of F2.
fn native_client(
    driver: Driver,
    nonce: &[u8],
    verdict: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
) -> Result<Session, Error> {
    struct NoKey<F> {
        f1: Option<Vec<u8>>,
        verdict: F,
    }

    impl<F: Fn(&[u8]) -> Vec<u8>> Peer for NoKey<F> {
        fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
            if let Some(f1) = self.f1.take() {
                return f1;
            }
            let f2: Vec<u8> = written.drain(..).collect();
            if f2.is_empty() {
                vec![]
            } else {
                (self.verdict)(&f2)
            }
        }
    }

    let f1 = Some([b"CSIGN1S\0", nonce].concat());
    let client = Client::new(key("one secret"));
    driver.client(&mut Wire::to(NoKey { f1, verdict }), &client)
}

#[test]
fn on_the_native_wire_a_server_without_the_key_finds_no_route_between_two_clients() {
    /// F2 without a key id.
    const F2_LEN: usize = 73;

    // What the second client is asked: the first's nonce, its tag, and what its F2 begins with.
    let asked = [9..41, 41..73, 0..32];
    // What the first is answered: every part of all that either client said, as it stands and as
    // the proof of an acceptance.
    let answers = (0..=2 * F2_LEN - 33).flat_map(|at| [(at, false), (at, true)]);
    for ((at, as_proof), asked) in answers.flat_map(|answer| asked.clone().map(|it| (answer, it))) {
        for &driver in Driver::ALL {
            let outcome = native_client(driver, &[0x50; 32], {
                let asked = asked.clone();
                move |first: &[u8]| {
                    assert_eq!(first.len(), F2_LEN);
                    let seconds = Arc::<Mutex<Vec<u8>>>::default();
                    let outcome = native_client(Driver::Blocking, &first[asked.clone()], {
                        let (first, seconds) = (first.to_vec(), Arc::clone(&seconds));
                        move |second: &[u8]| {
                            *seconds.lock().unwrap() = second.to_vec();
                            // It is answered with the first client's tag, of the same challenge.
                            [b"A", &first[41..]].concat()
                        }
                    });
                    assert!(matches!(outcome, Err(Error::ServerNotAuthentic)));
                    let said = [&seconds.lock().unwrap()[..], first].concat();
                    if as_proof {
                        [b"A", &said[at..at + 32]].concat()
                    } else {
                        said[at..at + 33].to_vec()
                    }
                }
            });
            let error = outcome.unwrap_err();
            let is_proof = matches!(error, Error::ServerNotAuthentic);
            assert!(!as_proof || is_proof, "{asked:?}, {at}: {error:?}");
        }
    }
}

/// HMAC-MD5 by calls of their own.
#[cfg(feature = "multiprocessing-md5")]
mod md5 {
    use super::*;

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

    /// The opposite of a side as CPython up to 3.11 has it.
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

    const RANDOM: [u8; 20] = *b"twenty random octets";

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
    fn the_md5_calls_meet_an_old_peer_and_challenge_it_in_md5_only() {
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
                Side::Client => Problem::Rejected,
                Side::Server => Problem::WrongDigest,
            };
            let outcome = side.run_md5(driver, &mut Wire::to(old));
            assert_eq!(problem(outcome), expected);
        }
    }

    #[test]
    fn the_md5_calls_meet_each_other() {
        let (client, server) = meet(
            |stream| multiprocessing::client_authenticate_md5(stream, AUTHKEY),
            |stream| multiprocessing::server_authenticate_md5(stream, AUTHKEY),
        );
        let _: (KnowsAuthkey, KnowsAuthkey) = (client.unwrap(), server.unwrap());

        let (client, server) = meet(
            |stream| multiprocessing::client_authenticate_md5(stream, b"another password"),
            |stream| multiprocessing::server_authenticate_md5(stream, AUTHKEY),
        );
        assert_eq!(problem(client), Problem::Rejected);
        assert_eq!(problem(server), Problem::WrongDigest);
    }

    #[test]
    fn the_md5_calls_and_the_others_do_not_meet() {
        let (client, server) = meet(
            |stream| multiprocessing::client_authenticate(stream, AUTHKEY),
            |stream| multiprocessing::server_authenticate_md5(stream, AUTHKEY),
        );
        assert_eq!(problem(client), Problem::Md5Only);
        assert!(matches!(server, Err(Error::Closed(_))), "{server:?}");

        let (client, server) = meet(
            |stream| multiprocessing::client_authenticate_md5(stream, AUTHKEY),
            |stream| multiprocessing::server_authenticate(stream, AUTHKEY),
        );
        assert_eq!(problem(client), Problem::Rejected);
        assert_eq!(problem(server), Problem::Md5Only);
    }

    #[test]
    fn the_right_md5_is_no_answer_to_a_challenge_in_sha256() {
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
    fn the_md5_calls_answer_whatever_they_are_asked_in_md5() {
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
    fn the_md5_calls_take_no_sha256_for_an_answer() {
        for &driver in Driver::ALL {
            let mut wire = Answers::that(Side::Server, sha256);
            let outcome = Side::Server.run_md5(driver, &mut wire);
            assert_eq!(problem(outcome), Problem::WrongDigest);
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
}
