//! The drivers on streams that fail in every way at every octet, and with peers that are
//! something else.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use countersign::handshake::{
    Flight, Hint, Incompatible, InvalidInput, Mode, Prologue, Refusal, server,
};
use countersign::{
    Client, Deadline, Error, Key, KeyFileProblem, KeyId, Keys, Phase, Server, Session,
};

use crate::support::{
    Act, Draws, Driver, Echoes, HonestClient, HonestServer, Peer, Says, Wire, key, tcp_pair,
    transcript,
};

/// The key id has 8 octets, so that F2 has 81.
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

use Side::{Client as ClientSide, Server as ServerSide};

impl Side {
    const ALL: [Self; 2] = [ClientSide, ServerSide];

    /// A stream to the honest opposite, which sends `tail` behind its last flight.
    fn honest_wire(self, key: &Key, tail: &[u8]) -> Wire {
        match self {
            ClientSide => Wire::to(HonestServer::new(key, Prologue::EMPTY, tail)),
            ServerSide => Wire::to(HonestClient::new(key, Prologue::EMPTY, tail)),
        }
    }

    fn run(self, driver: Driver, key: &Key, wire: &mut Wire) -> Result<Session, Error> {
        match self {
            ClientSide => driver.client(wire, &Client::new(key.clone())),
            ServerSide => driver.server(wire, &Server::new(key.clone())),
        }
    }

    /// How many octets this end receives and sends in a whole handshake.
    fn received(self, key_id_len: usize) -> usize {
        match self {
            ClientSide => F1_LEN + F3_LEN,
            ServerSide => 73 + key_id_len,
        }
    }

    fn writes(self) -> &'static [usize] {
        match self {
            ClientSide => &[F2_LEN],
            ServerSide => &[F1_LEN, F3_LEN],
        }
    }

    /// Where the flight ends, as far as that is known, to which the octet at offset `read` of
    /// all that is received belongs.
    fn known_end(self, read: usize, key_id_len: usize) -> usize {
        match self {
            ClientSide if read < F1_LEN => F1_LEN,
            ClientSide => F1_LEN + F3_LEN,
            ServerSide if read < 9 => 73,
            ServerSide => 73 + key_id_len,
        }
    }
}

fn ends() -> impl Iterator<Item = (Driver, Side)> {
    Driver::ALL
        .iter()
        .flat_map(|&driver| Side::ALL.map(|side| (driver, side)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Flush,
}

/// One place in a handshake at which the stream can fail.
#[derive(Clone, Copy, Debug)]
struct Point {
    side: Side,
    call: Call,
    /// What is being done there.
    phase: Phase,
    /// How many octets were read or written before, or how often was flushed.
    at: usize,
    /// How many octets this end has sent by then.
    sent: usize,
}

impl Point {
    fn all() -> Vec<Self> {
        use Flight::{Challenge, Response, Verdict};
        use Phase::{Awaiting, Sending};

        let f1_and_f3 = F1_LEN + F3_LEN;
        // The last column is what was sent before the call in question could be made.
        let calls: [(Side, Call, Phase, Range<usize>, usize); 9] = [
            (ClientSide, Call::Read, Awaiting(Challenge), 0..F1_LEN, 0),
            (ClientSide, Call::Write, Sending(Response), 0..F2_LEN, 0),
            (ClientSide, Call::Flush, Sending(Response), 0..1, F2_LEN),
            (
                ClientSide,
                Call::Read,
                Awaiting(Verdict),
                F1_LEN..f1_and_f3,
                F2_LEN,
            ),
            (ServerSide, Call::Write, Sending(Challenge), 0..F1_LEN, 0),
            (ServerSide, Call::Flush, Sending(Challenge), 0..1, F1_LEN),
            (
                ServerSide,
                Call::Read,
                Awaiting(Response),
                0..F2_LEN,
                F1_LEN,
            ),
            (
                ServerSide,
                Call::Write,
                Sending(Verdict),
                F1_LEN..f1_and_f3,
                F1_LEN,
            ),
            (ServerSide, Call::Flush, Sending(Verdict), 1..2, f1_and_f3),
        ];
        calls
            .into_iter()
            .flat_map(|(side, call, phase, range, sent)| {
                range.map(move |at| Self {
                    side,
                    call,
                    phase,
                    at,
                    sent: if call == Call::Write { at } else { sent },
                })
            })
            .collect()
    }

    fn of(calls: &[Call]) -> Vec<Self> {
        let mut points = Self::all();
        points.retain(|point| calls.contains(&point.call));
        points
    }

    /// Runs a handshake with an honest peer over a stream that does `act` here and from here on.
    fn run(self, driver: Driver, act: Act) -> (Result<Session, Error>, Wire) {
        self.run_as(driver, act, &ours(), &ours())
    }

    fn run_as(self, driver: Driver, act: Act, own: &Key, peers: &Key) -> (Run, Wire) {
        let wire = self.side.honest_wire(peers, b"application data");
        let mut wire = match self.call {
            Call::Read => wire.read_until(self.at, act),
            Call::Write => wire.write_until(self.at, act),
            Call::Flush => {
                let mut wire = wire;
                wire.on_flush = Box::new(move |flushes| {
                    if flushes < self.at {
                        Act::Move(usize::MAX)
                    } else {
                        act
                    }
                });
                wire
            }
        };
        let outcome = self.side.run(driver, own, &mut wire);
        (outcome, wire)
    }
}

type Run = Result<Session, Error>;

/// Makes each of the stream's calls of these kinds fail in each of these ways, everywhere.
fn everywhere(calls: &[Call], acts: &[Act], is_right: impl Fn(Point, Act, &Wire, &Error) -> bool) {
    for point in Point::of(calls) {
        for (&driver, &act) in Driver::ALL
            .iter()
            .flat_map(|driver| acts.iter().map(move |act| (driver, act)))
        {
            if (point.call, act) == (Call::Read, Act::Lie) && !driver.lets_reads_lie() {
                continue;
            }
            let (outcome, wire) = point.run(driver, act);
            let error = outcome.expect_err("there is no session on a stream that failed");
            assert!(
                is_right(point, act, &wire, &error),
                "{driver:?}, {act:?} at {point:?}: {error:?}"
            );
            assert_eq!(
                wire.written.len(),
                point.sent,
                "{driver:?}, {act:?} at {point:?}: what was sent"
            );
        }
    }
}

#[test]
fn a_stream_that_ends_at_any_octet_is_closed_in_the_flight_that_was_awaited() {
    everywhere(
        &[Call::Read],
        &[Act::Nothing],
        |point, _, _, error| matches!(error, Error::Closed(phase) if *phase == point.phase),
    );
}

#[test]
fn a_connection_that_is_cut_is_closed_wherever_it_is_cut() {
    let acts = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
    ]
    .map(Act::Fail);
    everywhere(
        &[Call::Read, Call::Write, Call::Flush],
        &acts,
        |point, _, _, error| matches!(error, Error::Closed(phase) if *phase == point.phase),
    );
}

#[test]
fn a_stream_whose_time_is_over_names_the_flight_wherever_it_is_over() {
    let acts = [ErrorKind::WouldBlock, ErrorKind::TimedOut].map(Act::Fail);
    everywhere(
        &[Call::Read, Call::Write, Call::Flush],
        &acts,
        |point, _, _, error| matches!(error, Error::TimedOut(phase) if *phase == point.phase),
    );
}

#[test]
fn any_other_failure_of_the_stream_is_handed_on_as_it_is() {
    let kinds = [
        ErrorKind::Other,
        ErrorKind::InvalidData,
        ErrorKind::InvalidInput,
        ErrorKind::NotConnected,
        ErrorKind::PermissionDenied,
        ErrorKind::ConnectionRefused,
        ErrorKind::OutOfMemory,
        ErrorKind::WriteZero,
    ];
    everywhere(
        &[Call::Read, Call::Write, Call::Flush],
        &kinds.map(Act::Fail),
        |point, act, _, error| {
            let below = error.source().and_then(|e| e.downcast_ref::<io::Error>());
            matches!(error, Error::Io { phase, source }
                if *phase == point.phase && act == Act::Fail(source.kind()))
                && below.is_some_and(|below| act == Act::Fail(below.kind()))
        },
    );
}

#[test]
fn a_stream_that_takes_nothing_is_no_endless_loop() {
    everywhere(&[Call::Write], &[Act::Nothing], |point, _, _, error| {
        matches!(error, Error::Io { phase, source }
            if *phase == point.phase && source.kind() == ErrorKind::WriteZero)
    });
}

#[test]
fn a_stream_that_reports_more_than_it_was_given_is_refused() {
    everywhere(
        &[Call::Read, Call::Write],
        &[Act::Lie],
        |point, _, wire, error| {
            let given = match point.call {
                Call::Read => *wire.offered.last().unwrap(),
                _ if point.at < point.side.writes()[0] => point.side.writes()[0] - point.at,
                _ => F1_LEN + F3_LEN - point.at,
            };
            matches!(error, Error::InvalidInput(InvalidInput::Overrun { room, len })
                if (*room, *len) == (given, given + 1))
        },
    );
}

#[test]
fn the_same_session_comes_out_however_the_octets_are_cut() {
    let tail = tail();
    let key = ours();
    for (driver, side) in ends() {
        for cut in 1..side.received(ID.len()) {
            let mut wire = (side.honest_wire(&key, &tail)).read_until(cut, Act::Move(usize::MAX));
            let session = side.run(driver, &key, &mut wire).unwrap();
            assert_eq!(session.key_id(), ID);
            assert!(wire.rest() == tail, "{driver:?} {side:?}, cut at {cut}");
        }
    }
}

/// Application data whose octets can be told apart.
fn tail() -> Vec<u8> {
    (0..u16::MAX)
        .chain([0])
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect()
}

#[test]
fn no_octet_of_the_application_is_ever_asked_for() {
    let tail = tail();
    assert_eq!(tail.len(), 64 * 1024);
    let longest = "x".repeat(KeyId::MAX_LEN);
    for ((driver, side), id) in ends().flat_map(|end| ["", ID, &longest].map(|id| (end, id))) {
        let key = key("ours").with_id(id).unwrap();
        for piece in (1..=2 * F2_LEN).chain([usize::MAX]) {
            let mut wire = side.honest_wire(&key, &tail).dripping(piece);
            let session = side.run(driver, &key, &mut wire).unwrap();
            assert_eq!(session.key_id(), id);

            let mut read = 0;
            for &room in &wire.offered {
                let end = side.known_end(read, id.len());
                assert!(
                    (1..=end - read).contains(&room),
                    "{driver:?} {side:?}, {} octets of key id, pieces of {piece}: \
                     {room} octets asked for after {read}",
                    id.len(),
                );
                read += room.min(piece);
            }
            assert_eq!(read, side.received(id.len()));
            assert_eq!(wire.read, read);
            assert!(wire.rest() == tail, "{driver:?} {side:?}, piece {piece}");
        }
    }
}

#[test]
fn a_flight_is_one_write_and_one_flush() {
    let key = ours();
    for (driver, side) in ends() {
        let mut wire = side.honest_wire(&key, b"");
        let _ = side.run(driver, &key, &mut wire).unwrap();
        assert_eq!(wire.writes, side.writes(), "{driver:?} {side:?}");
        assert_eq!(wire.flushes, side.writes().len(), "{driver:?} {side:?}");
    }
}

#[test]
fn a_stream_that_takes_an_octet_at_a_time_gets_every_octet_once() {
    let key = ours();
    for (driver, side) in ends() {
        let mut wire = side.honest_wire(&key, b"");
        wire.on_write = Box::new(|_| Act::Move(1));
        // The honest peer verifies the octets.
        let _ = side.run(driver, &key, &mut wire).unwrap();
        let sent: usize = side.writes().iter().sum();
        assert_eq!(wire.writes, vec![1; sent], "{driver:?} {side:?}");
        assert_eq!(wire.flushes, side.writes().len(), "{driver:?} {side:?}");
    }
}

#[test]
fn an_interrupted_call_is_made_again() {
    const TIMES: usize = 3;

    // Three interruptions before each octet and each flush.
    fn stumbling() -> Box<dyn FnMut(usize) -> Act + Send> {
        let mut calls = 0;
        Box::new(move |_| {
            calls += 1;
            if calls % (TIMES + 1) == 0 {
                Act::Move(1)
            } else {
                Act::Fail(ErrorKind::Interrupted)
            }
        })
    }

    let key = ours();
    for (driver, side) in ends() {
        let mut wire = side.honest_wire(&key, b"application data");
        wire.on_read = stumbling();
        wire.on_write = stumbling();
        wire.on_flush = stumbling();
        let _ = side.run(driver, &key, &mut wire).unwrap();

        let received = side.received(ID.len());
        assert_eq!(wire.offered.len(), (TIMES + 1) * received);
        let sent: usize = side.writes().iter().sum();
        assert_eq!(wire.written.len(), sent);
        assert_eq!(wire.flushes, (TIMES + 1) * side.writes().len());
        assert_eq!(wire.rest(), b"application data");
    }
}

/// A server that begins like an honest one, and answers what it is sent with `then`.
struct FalseServer {
    has_begun: bool,
    then: fn(&[u8]) -> Vec<u8>,
}

impl FalseServer {
    fn that(then: fn(&[u8]) -> Vec<u8>) -> Self {
        Self {
            has_begun: false,
            then,
        }
    }
}

impl Peer for FalseServer {
    fn answer(&mut self, written: &mut VecDeque<u8>) -> Vec<u8> {
        if !self.has_begun {
            self.has_begun = true;
            return challenge();
        }
        let written: Vec<u8> = written.drain(..).collect();
        if written.is_empty() {
            Vec::new()
        } else {
            (self.then)(&written)
        }
    }
}

/// The F1 of an honest server.
fn challenge() -> Vec<u8> {
    let config = server::Config::new(Prologue::EMPTY);
    let (challenge, _) = config
        .start(transcript(), Mode::Authenticate, &mut Draws::from(0x50))
        .unwrap();
    challenge.as_ref().to_vec()
}

/// The F2 of an honest client.
fn response() -> Vec<u8> {
    let mut written = challenge().into();
    HonestClient::new(&ours(), Prologue::EMPTY, b"").answer(&mut written)
}

/// F1 or F2 with another octet in one place.
fn altered(mut flight: Vec<u8>, at: usize, octet: u8) -> Vec<u8> {
    flight[at] = octet;
    flight
}

/// A peer that is not what this end takes it for: its name, a stream to it, the error, and the
/// offset, in all that this end receives, of the first octet that cannot belong.
type Foreigner = (&'static str, WireTo, Incompatible, usize);

type WireTo = Box<dyn Fn() -> Wire>;

fn says(octets: impl AsRef<[u8]>) -> WireTo {
    let octets = octets.as_ref().to_vec();
    Box::new(move || Wire::to(Says(octets.clone())))
}

fn server_that(then: fn(&[u8]) -> Vec<u8>) -> WireTo {
    Box::new(move || Wire::to(FalseServer::that(then)))
}

const RANDOM: [u8; 40] = [
    0xb7, 0x1d, 0x4e, 0x90, 0x06, 0xfa, 0x53, 0xc8, 0x2b, 0x9d, 0x71, 0xe4, 0x38, 0x0f, 0xa5, 0x6c,
    0xd2, 0x87, 0x14, 0xbb, 0x49, 0xfe, 0x30, 0x65, 0x9a, 0x02, 0xcd, 0x78, 0x11, 0xe6, 0x5f, 0x83,
    0x2e, 0xd9, 0x74, 0x0a, 0xb1, 0x4c, 0x97, 0x68,
];

const OTHER_MODE: Incompatible = Incompatible::Mode {
    ours: Mode::Authenticate,
    theirs: 1,
};

fn foreigners_at_a_server() -> Vec<Foreigner> {
    let foreign = |hint| Incompatible::Foreign {
        awaiting: Flight::Response,
        hint,
    };
    let http = foreign(Some(Hint::Http));
    // A record of 512 octets with the version of TLS 1.0, as it always begins.
    let client_hello = [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        &[0x5a; 501],
    ]
    .concat();

    vec![
        ("GET", says("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), http, 0),
        ("POST", says("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), http, 0),
        ("CONNECT", says("CONNECT a:443 HTTP/1.1\r\n\r\n"), http, 1),
        ("TLS", says(client_hello), foreign(Some(Hint::Tls)), 0),
        (
            "SSH",
            says("SSH-2.0-OpenSSH_9.6\r\n"),
            foreign(Some(Hint::Ssh)),
            0,
        ),
        ("random octets", says(RANDOM), foreign(None), 0),
        ("nearly our name", says("CSIGM1C\0\0"), foreign(None), 4),
        (
            "a client of the next version",
            says(altered(response(), 5, b'2')),
            Incompatible::Version(b'2'),
            5,
        ),
        (
            "a second server",
            says(challenge()),
            Incompatible::Role(b'S'),
            6,
        ),
        (
            "a peer that echoes",
            Box::new(|| Wire::to(Echoes)),
            Incompatible::Role(b'S'),
            6,
        ),
        (
            "a client with records",
            says(altered(response(), 7, 1)),
            OTHER_MODE,
            7,
        ),
        (
            "a client with a key id of 65 octets",
            says(altered(response(), 8, 65)),
            Incompatible::KeyIdLength(65),
            8,
        ),
    ]
}

fn foreigners_at_a_client() -> Vec<Foreigner> {
    let foreign = |hint| Incompatible::Foreign {
        awaiting: Flight::Challenge,
        hint,
    };
    let in_place_of_f3 = |hint| Incompatible::Foreign {
        awaiting: Flight::Verdict,
        hint,
    };
    let http = foreign(Some(Hint::Http));
    let multiprocessing = foreign(Some(Hint::Multiprocessing));
    // The challenge of CPython 3.12 and of those before it, behind its length in four octets.
    let listener = [b"\0\0\0\x3b#CHALLENGE#{sha256}", &[0x5a; 40][..]].concat();
    let older_listener = [b"\0\0\0\x1f#CHALLENGE#", &[0x5a; 20][..]].concat();
    let alert = b"\x15\x03\x03\x00\x02\x02\x28";

    vec![
        (
            "SSH",
            says("SSH-2.0-OpenSSH_9.6\r\n"),
            foreign(Some(Hint::Ssh)),
            0,
        ),
        ("a Listener of CPython", says(listener), multiprocessing, 0),
        (
            "an older Listener",
            says(older_listener),
            multiprocessing,
            0,
        ),
        ("HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), http, 0),
        ("a TLS alert", says(alert), foreign(Some(Hint::Tls)), 0),
        ("random octets", says(RANDOM), foreign(None), 0),
        (
            "a server of the next version",
            says(altered(challenge(), 5, b'2')),
            Incompatible::Version(b'2'),
            5,
        ),
        (
            "a second client",
            says(response()),
            Incompatible::Role(b'C'),
            6,
        ),
        (
            "a server with records",
            says(altered(challenge(), 7, 1)),
            OTHER_MODE,
            7,
        ),
        (
            "a server that echoes instead of judging",
            server_that(<[u8]>::to_vec),
            in_place_of_f3(Some(Hint::Echo)),
            F1_LEN,
        ),
        (
            "a server with a verdict that does not exist",
            server_that(|_| b"accepted, believe me. No, really.".to_vec()),
            in_place_of_f3(None),
            F1_LEN,
        ),
    ]
}

#[test]
fn a_foreign_peer_is_recognised_at_the_first_octet_that_cannot_belong() {
    let key = ours();
    let at_a_server = foreigners_at_a_server().into_iter();
    let at_a_server = at_a_server.map(|peer| (ServerSide, peer));
    let at_a_client = foreigners_at_a_client().into_iter();
    let at_a_client = at_a_client.map(|peer| (ClientSide, peer));
    for (side, (name, wire, expected, fault)) in at_a_server.chain(at_a_client) {
        // Every way to cut in two, not at all, and octet by octet. What a client receives ends
        // a read at the end of F1 too.
        let last = F1_LEN + F3_LEN;
        let cuts = (1..last).map(|at| BTreeSet::from([at]));
        let cuts = cuts.chain([BTreeSet::new(), (1..last).collect()]);
        for (cuts, &driver) in
            cuts.flat_map(|cuts| Driver::ALL.iter().map(move |d| (cuts.clone(), d)))
        {
            let mut wire = wire();
            let ends = cuts.clone();
            wire.on_read = Box::new(move |read| {
                let next = ends.range(read + 1..).next();
                Act::Move(next.map_or(usize::MAX, |end| end - read))
            });
            let error = side.run(driver, &key, &mut wire).unwrap_err();
            let case = format!("{driver:?}, {name}, cut at {cuts:?}: {error:?}");

            assert!(
                matches!(error, Error::Incompatible(it) if it == expected),
                "{case}"
            );
            let mut ends = cuts;
            if side == ClientSide {
                ends.insert(F1_LEN);
            }
            let reads = 1 + ends.range(..=fault).count();
            assert_eq!(wire.offered.len(), reads, "reads, {case}");
            let sent = match side {
                ClientSide if fault < F1_LEN => 0,
                ClientSide => F2_LEN,
                ServerSide => F1_LEN,
            };
            assert_eq!(wire.written.len(), sent, "octets sent, {case}");
        }
    }
}

#[test]
fn a_client_writes_nothing_to_whatever_does_not_begin_as_its_server_would() {
    let client = Client::new(ours());
    let honest = challenge();
    for at in 0..8 {
        for octet in (0..=u8::MAX).filter(|&octet| octet != honest[at]) {
            for driver in Driver::ALL {
                let mut wire = Wire::to(Says(altered(honest.clone(), at, octet)));
                let error = driver.client(&mut wire, &client).unwrap_err();
                assert!(
                    matches!(error, Error::Incompatible(_)),
                    "{octet:#04x} at {at}: {error:?}"
                );
                assert!(wire.written.is_empty(), "{octet:#04x} at {at}");
                assert_eq!(wire.flushes, 0, "{octet:#04x} at {at}");
            }
        }
    }
}

/// Servers that deny: an honest one, and two that only say so. What follows the D means
/// nothing, and neither does what follows the verdict.
fn denials() -> Vec<Wire> {
    fn denied() -> Vec<u8> {
        [&[b'D'][..], &[0; 32]].concat()
    }
    vec![
        Wire::to(HonestServer::new(&key("theirs"), Prologue::EMPTY, &tail())),
        Wire::to(FalseServer::that(|_| [denied(), tail()].concat())),
        Wire::to(FalseServer::that(|_| [&b"D"[..], &tail()].concat())),
    ]
}

#[test]
fn a_denial_is_one_when_it_is_whole() {
    let client = Client::new(ours());
    for driver in Driver::ALL {
        for piece in (1..=F1_LEN).chain([usize::MAX]) {
            for wire in denials() {
                let mut wire = wire.dripping(piece);
                let error = driver.client(&mut wire, &client).unwrap_err();
                assert!(matches!(error, Error::Denied), "{error:?}");
                assert_eq!(wire.read, F1_LEN + F3_LEN);
                assert_eq!(wire.written.len(), F2_LEN);
            }
        }
        for end in F1_LEN..F1_LEN + F3_LEN {
            for wire in denials() {
                let mut wire = wire.read_until(end, Act::Nothing);
                let error = driver.client(&mut wire, &client).unwrap_err();
                assert!(
                    matches!(error, Error::Closed(Phase::Awaiting(Flight::Verdict))),
                    "after {end}: {error:?}"
                );
            }
        }
    }
}

#[test]
fn why_a_client_was_refused_is_reported_though_it_cannot_be_told() {
    let failures = [
        Act::Fail(ErrorKind::BrokenPipe),
        Act::Fail(ErrorKind::ConnectionReset),
        Act::Fail(ErrorKind::TimedOut),
        Act::Fail(ErrorKind::Other),
        Act::Nothing,
        Act::Lie,
    ];
    let refused = [
        (key("theirs").with_id(ID).unwrap(), Refusal::WrongProof),
        (
            key("ours").with_id("worker-8").unwrap(),
            Refusal::UnknownKeyId,
        ),
    ];
    for point in Point::of(&[Call::Write, Call::Flush])
        .into_iter()
        .filter(|point| point.phase == Phase::Sending(Flight::Verdict))
    {
        for ((peer, why), act) in refused
            .iter()
            .flat_map(|peer| failures.map(|act| (peer, act)))
        {
            for &driver in Driver::ALL {
                let (outcome, wire) = point.run_as(driver, act, &ours(), peer);
                let error = outcome.unwrap_err();
                assert!(
                    matches!(&error, Error::ClientNotAuthentic { key_id, refusal }
                        if key_id == peer.id() && refusal == why),
                    "{driver:?}, {act:?} at {point:?}: {error:?}"
                );
                assert_eq!(wire.written.len(), point.sent);
                assert!(
                    b"D".iter()
                        .chain(&[0; 32])
                        .zip(&wire.written[F1_LEN..])
                        .all(|(a, b)| a == b)
                );
            }
        }
    }
}

#[test]
fn a_stream_that_ends_says_what_usually_lies_behind() {
    let closed = Error::Closed(Phase::Awaiting(Flight::Response)).to_string();
    assert!(closed.contains("F2"), "{closed}");
    assert!(closed.contains("another mode or version"), "{closed}");

    let silent = Error::TimedOut(Phase::Awaiting(Flight::Challenge)).to_string();
    assert!(silent.contains("F1"), "{silent}");
    assert!(silent.contains("a peer that is silent here"), "{silent}");
    assert!(silent.contains("another client"), "{silent}");
}

/// Every error, the kind it has as an [`io::Error`], and whether there is another below it.
fn errors() -> Vec<(Error, ErrorKind, bool)> {
    let key_file = |problem| Error::KeyFile {
        path: "secret.key".into(),
        problem,
    };
    let not_authentic = |refusal| Error::ClientNotAuthentic {
        key_id: KeyId::new(ID).unwrap(),
        refusal,
    };
    let short = InvalidInput::SecretTooShort { len: 8 };
    let mut errors = vec![
        (
            Error::Incompatible(Incompatible::Version(b'2')),
            ErrorKind::InvalidData,
            false,
        ),
        (Error::Denied, ErrorKind::PermissionDenied, false),
        (
            Error::ServerNotAuthentic,
            ErrorKind::PermissionDenied,
            false,
        ),
        (
            not_authentic(Refusal::WrongProof),
            ErrorKind::PermissionDenied,
            false,
        ),
        (
            not_authentic(Refusal::UnknownKeyId),
            ErrorKind::PermissionDenied,
            false,
        ),
        (Error::NoRandomness, ErrorKind::Other, false),
        (Error::InvalidInput(short), ErrorKind::InvalidInput, false),
        (
            key_file(KeyFileProblem::Io(ErrorKind::NotFound.into())),
            ErrorKind::NotFound,
            true,
        ),
        (
            key_file(KeyFileProblem::Exposed { mode: 0o644 }),
            ErrorKind::PermissionDenied,
            false,
        ),
        (
            key_file(KeyFileProblem::TooLarge),
            ErrorKind::InvalidInput,
            false,
        ),
        (
            key_file(KeyFileProblem::Secret(short)),
            ErrorKind::InvalidInput,
            true,
        ),
        (
            key_file(KeyFileProblem::Name(InvalidInput::KeyIdTooLong { len: 65 })),
            ErrorKind::InvalidInput,
            true,
        ),
        (key_file(KeyFileProblem::NoKeys), ErrorKind::NotFound, false),
    ];
    for flight in [Flight::Challenge, Flight::Response, Flight::Verdict] {
        for phase in [Phase::Sending(flight), Phase::Awaiting(flight)] {
            errors.extend([
                (Error::Closed(phase), ErrorKind::UnexpectedEof, false),
                (Error::TimedOut(phase), ErrorKind::TimedOut, false),
            ]);
            for kind in [ErrorKind::NotConnected, ErrorKind::WriteZero] {
                let source = kind.into();
                errors.push((Error::Io { phase, source }, kind, true));
            }
        }
    }
    errors
}

#[test]
fn an_error_has_a_fitting_kind_and_what_is_below_it() {
    for (error, kind, has_source) in errors() {
        let sentence = error.to_string();
        assert_eq!(error.source().is_some(), has_source, "{sentence}");

        let as_io = io::Error::from(error);
        assert_eq!(as_io.kind(), kind, "{sentence}");
        assert_eq!(as_io.to_string(), sentence);
        let inner = as_io.get_ref().and_then(|e| e.downcast_ref::<Error>());
        assert_eq!(inner.unwrap().to_string(), sentence);
    }
}

/// One handshake over the loopback interface: what the client and the server got.
fn over_tcp<K: Keys + Sync>(client: &Client, server: &Server<K>) -> (Run, Run) {
    let (near, far) = tcp_pair();
    thread::scope(|scope| {
        let server = scope.spawn(|| server.authenticate(&mut soon(&far)));
        let client = client.authenticate(&mut soon(&near));
        (client, server.join().unwrap())
    })
}

/// A time that is over only where a test would hang.
fn soon(socket: &TcpStream) -> Deadline<'_, TcpStream> {
    Deadline::new(socket, Duration::from_secs(20)).unwrap()
}

#[test]
fn two_ends_of_a_socket_agree_on_the_session() {
    let client = Client::new(ours()).service("billing/2").unwrap();
    let server = Server::new(ours()).service("billing/2").unwrap();
    let (client, server) = over_tcp(&client, &server);
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.key_id(), ID);
    assert_eq!(server.key_id(), ID);
    assert_eq!(exported(&client), exported(&server));

    let again = over_tcp(&Client::new(ours()), &Server::new(ours()));
    assert_ne!(exported(&again.0.unwrap()), exported(&client));
}

fn exported(session: &Session) -> [u8; 32] {
    let mut octets = [0; 32];
    session
        .export("test of a socket", b"", &mut octets)
        .unwrap();
    octets
}

#[test]
fn two_ends_of_a_socket_that_differ_part_without_a_session() {
    let billing = |key| Client::new(key).service("billing/2").unwrap();
    let rows = [
        (
            "another secret",
            billing(key("theirs").with_id(ID).unwrap()),
            Refusal::WrongProof,
        ),
        (
            "another service",
            Client::new(ours()).service("billing/3").unwrap(),
            Refusal::WrongProof,
        ),
        ("no service", Client::new(ours()), Refusal::WrongProof),
        (
            "another key id",
            billing(key("ours").with_id("worker-8").unwrap()),
            Refusal::UnknownKeyId,
        ),
    ];
    let server = Server::new(ours()).service("billing/2").unwrap();
    for (name, client, why) in rows {
        let (client, server) = over_tcp(&client, &server);
        let (client, server) = (client.unwrap_err(), server.unwrap_err());
        assert!(matches!(client, Error::Denied), "{name}: {client:?}");
        assert!(
            matches!(server, Error::ClientNotAuthentic { refusal, .. } if refusal == why),
            "{name}: {server:?}"
        );
    }
}

/// A socket that sends its second flight only together with what is written behind it.
struct Corked {
    socket: TcpStream,
    held: Vec<u8>,
    flushes: usize,
}

impl Read for Corked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Corked {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.held.extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        if self.flushes == 2 {
            return Ok(());
        }
        self.socket.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }
}

#[test]
fn a_socket_stands_at_the_first_octet_of_the_application() {
    let (near, far) = tcp_pair();
    for socket in [&near, &far] {
        let limit = Some(Duration::from_secs(20));
        socket.set_read_timeout(limit).unwrap();
        socket.set_write_timeout(limit).unwrap();
    }
    let tail = tail();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = Corked {
                socket: far,
                held: Vec::new(),
                flushes: 0,
            };
            let _ = Server::new(ours()).authenticate(&mut stream).unwrap();
            assert_eq!(stream.held.len(), F3_LEN);
            stream.write_all(&tail).unwrap();
            stream.flush().unwrap();
        });

        let mut stream = &near;
        let _ = Client::new(ours()).authenticate(&mut stream).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == tail, "{} octets came", received.len());
    });
}
