//! Peers that speak another protocol, or that only begin like ours.

use std::collections::{BTreeSet, VecDeque};

use countersign::handshake::{Incompatible, Message, Prologue};
use countersign::{Client, Error, Hint, Phase};

use super::{ClientSide, F1_LEN, F2_LEN, F3_LEN, ServerSide, ours, tail};
use crate::failures::{incompatible, is_denied};
use crate::support::{Act, DENIAL, Driver, Echoes, HonestServer, Pair, Peer, Says, Wire, key};

/// A server that begins like an honest one. `then` is called with what the client sends, and
/// returns the answer.
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

/// F1 of an honest server.
fn challenge() -> Vec<u8> {
    Pair::of(&ours()).server().0.as_ref().to_vec()
}

/// F2 of an honest client.
fn response() -> Vec<u8> {
    Pair::of(&ours()).run().sent.swap_remove(1)
}

/// Replaces one byte of F1 or F2.
fn altered(mut message: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    message[at] = byte;
    message
}

/// A peer of another protocol: its name, a stream to it, the error, and what the error says the peer
/// may be.
type Foreigner = (&'static str, WireTo, Incompatible, Option<Hint>);

type WireTo = Box<dyn Fn() -> Wire>;

fn says(bytes: impl AsRef<[u8]>) -> WireTo {
    let bytes = bytes.as_ref().to_vec();
    Box::new(move || Wire::to(Says(bytes.clone())))
}

fn server_that(then: fn(&[u8]) -> Vec<u8>) -> WireTo {
    Box::new(move || Wire::to(FalseServer::that(then)))
}

const RANDOM: [u8; 40] = [
    0xb7, 0x1d, 0x4e, 0x90, 0x06, 0xfa, 0x53, 0xc8, 0x2b, 0x9d, 0x71, 0xe4, 0x38, 0x0f, 0xa5, 0x6c,
    0xd2, 0x87, 0x14, 0xbb, 0x49, 0xfe, 0x30, 0x65, 0x9a, 0x02, 0xcd, 0x78, 0x11, 0xe6, 0x5f, 0x83,
    0x2e, 0xd9, 0x74, 0x0a, 0xb1, 0x4c, 0x97, 0x68,
];

const OTHER_MODE: Incompatible = Incompatible::Mode { ours: 0, theirs: 1 };

/// A byte that cannot belong to the awaited message, at this offset of it.
fn foreign(awaiting: Message, at: u8, byte: u8) -> Incompatible {
    Incompatible::Foreign { awaiting, at, byte }
}

/// The offset, in all that this end receives, of the first byte that cannot belong.
fn fault(incompatible: Incompatible) -> usize {
    match incompatible {
        Incompatible::Verdict(_) => F1_LEN,
        Incompatible::Foreign { at, .. } => at.into(),
        Incompatible::Version(_) => 5,
        Incompatible::Role(_) => 6,
        Incompatible::Mode { .. } => 7,
        Incompatible::KeyIdLength(_) => 8,
        other => panic!("{other:?}"),
    }
}

fn foreigners_at_a_server() -> Vec<Foreigner> {
    let foreign = |at, byte| foreign(Message::RESPONSE, at, byte);
    let http = Some(Hint::Http);
    // A record of 512 bytes with the version of TLS 1.0, with which TLS always begins.
    let client_hello = [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        &[0x5a; 501],
    ]
    .concat();

    vec![
        (
            "GET",
            says("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            foreign(0, b'G'),
            http,
        ),
        (
            "POST",
            says("POST / HTTP/1.1\r\nHost: a\r\n\r\n"),
            foreign(0, b'P'),
            Some(Hint::HttpOrProxy),
        ),
        (
            "the PROXY protocol, version 1",
            says("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"),
            foreign(0, b'P'),
            Some(Hint::HttpOrProxy),
        ),
        (
            "the PROXY protocol, version 2, of a health check",
            says(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
            foreign(0, b'\r'),
            Some(Hint::Proxy),
        ),
        (
            "CONNECT",
            says("CONNECT a:443 HTTP/1.1\r\n\r\n"),
            foreign(1, b'O'),
            http,
        ),
        ("TLS", says(client_hello), foreign(0, 0x16), Some(Hint::Tls)),
        (
            "SSH",
            says("SSH-2.0-OpenSSH_9.6\r\n"),
            foreign(0, b'S'),
            Some(Hint::Ssh),
        ),
        ("random bytes", says(RANDOM), foreign(0, RANDOM[0]), None),
        (
            "nearly our name",
            says("CSIGM1C\0\0"),
            foreign(4, b'M'),
            None,
        ),
        (
            "a client of the next version",
            says(altered(response(), 5, b'2')),
            Incompatible::Version(b'2'),
            None,
        ),
        (
            "a second server",
            says(challenge()),
            Incompatible::Role(b'S'),
            None,
        ),
        (
            "a peer that echoes",
            Box::new(|| Wire::to(Echoes)),
            Incompatible::Role(b'S'),
            None,
        ),
        (
            "a client with records",
            says(altered(response(), 7, 1)),
            OTHER_MODE,
            None,
        ),
        (
            "a client with a key id of 65 bytes",
            says(altered(response(), 8, 65)),
            Incompatible::KeyIdLength(65),
            None,
        ),
    ]
}

fn foreigners_at_a_client() -> Vec<Foreigner> {
    let foreign = |byte| foreign(Message::CHALLENGE, 0, byte);
    let multiprocessing = Some(Hint::Multiprocessing);
    // The challenges of CPython 3.12, and of CPython 3.11 and earlier, each behind its length in
    // four bytes.
    let listener = [b"\0\0\0\x3b#CHALLENGE#{sha256}", &[0x5a; 40][..]].concat();
    let older_listener = [b"\0\0\0\x1f#CHALLENGE#", &[0x5a; 20][..]].concat();
    let alert = b"\x15\x03\x03\x00\x02\x02\x28";

    vec![
        (
            "SSH",
            says("SSH-2.0-OpenSSH_9.6\r\n"),
            foreign(b'S'),
            Some(Hint::Ssh),
        ),
        (
            "a Listener of CPython",
            says(listener),
            foreign(0),
            multiprocessing,
        ),
        (
            "an older Listener",
            says(older_listener),
            foreign(0),
            multiprocessing,
        ),
        (
            "HTTP",
            says("HTTP/1.1 400 Bad Request\r\n\r\n"),
            foreign(b'H'),
            Some(Hint::Http),
        ),
        ("a TLS alert", says(alert), foreign(0x15), Some(Hint::Tls)),
        ("random bytes", says(RANDOM), foreign(RANDOM[0]), None),
        (
            "a server of the next version",
            says(altered(challenge(), 5, b'2')),
            Incompatible::Version(b'2'),
            None,
        ),
        (
            "a second client",
            says(response()),
            Incompatible::Role(b'C'),
            None,
        ),
        (
            "a server with records",
            says(altered(challenge(), 7, 1)),
            OTHER_MODE,
            None,
        ),
        (
            "a server that echoes instead of judging",
            server_that(<[u8]>::to_vec),
            Incompatible::Verdict(b'C'),
            None,
        ),
        (
            "a server with a verdict that does not exist",
            server_that(|_| b"accepted, believe me. No, really.".to_vec()),
            Incompatible::Verdict(b'a'),
            None,
        ),
    ]
}

#[test]
fn a_foreign_peer_is_recognised_at_the_first_byte_that_cannot_belong() {
    let key = ours();
    let at_a_server = foreigners_at_a_server().into_iter();
    let at_a_server = at_a_server.map(|peer| (ServerSide, peer));
    let at_a_client = foreigners_at_a_client().into_iter();
    let at_a_client = at_a_client.map(|peer| (ClientSide, peer));
    for (side, (name, wire, expected, hint)) in at_a_server.chain(at_a_client) {
        let fault = fault(expected);
        // Every cut in two parts, no cut, and a cut after every byte. A read of a client also
        // ends at the end of F1.
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

            assert_eq!(error.hint(), hint, "{case}");
            assert_eq!(incompatible(&error), Some(&expected), "{case}");
            let mut ends = cuts;
            if side == ClientSide {
                ends.insert(F1_LEN);
            }
            let reads = 1 + ends.range(..=fault).count();
            assert_eq!(wire.offered.len(), reads, "reads, {case}");
            let sent = match side {
                // The client's own header, for the server's log.
                ClientSide if is_of_mode_or_version(fault) => HEADER_LEN,
                ClientSide if fault < F1_LEN => 0,
                ClientSide => F2_LEN,
                ServerSide => F1_LEN,
            };
            assert_eq!(wire.written.len(), sent, "bytes sent, {case}");
        }
    }
}

const HEADER_LEN: usize = 8;

/// Returns whether the byte of F1 at this offset says the version or the mode.
fn is_of_mode_or_version(at: usize) -> bool {
    at == 5 || at == 7
}

#[test]
fn a_client_sends_its_header_to_a_server_of_another_mode_or_version_and_nothing_to_others() {
    let client = Client::new(ours());
    let honest = challenge();
    for at in 0..8 {
        for byte in (0..=u8::MAX).filter(|&byte| byte != honest[at]) {
            for driver in Driver::ALL {
                let mut wire = Wire::to(Says(altered(honest.clone(), at, byte)));
                let error = driver.client(&mut wire, &client).unwrap_err();
                assert!(
                    incompatible(&error).is_some(),
                    "{byte:#04x} at {at}: {error:?}"
                );
                let answers = is_of_mode_or_version(at);
                let expected: &[u8] = if answers { b"CSIGN1C\0" } else { b"" };
                assert_eq!(wire.written, expected, "{byte:#04x} at {at}");
                assert_eq!(wire.flushes, usize::from(answers), "{byte:#04x} at {at}");
            }
        }
    }
}

/// Servers that deny: an honest one, and two that only send a denial. What follows the D means
/// nothing, and neither does what follows the verdict.
fn denials() -> Vec<Wire> {
    vec![
        Wire::to(HonestServer::new(&key("theirs"), Prologue::EMPTY, &tail())),
        Wire::to(FalseServer::that(|_| [&DENIAL[..], &tail()].concat())),
        Wire::to(FalseServer::that(|_| [&b"D"[..], &tail()].concat())),
    ]
}

#[test]
fn a_denial_counts_only_when_it_is_whole() {
    let client = Client::new(ours());
    for driver in Driver::ALL {
        for piece in (1..=F1_LEN).chain([usize::MAX]) {
            for wire in denials() {
                let mut wire = wire.dripping(piece);
                let error = driver.client(&mut wire, &client).unwrap_err();
                assert!(is_denied(&error), "{error:?}");
                assert_eq!(wire.read, F1_LEN + F3_LEN);
                assert_eq!(wire.written.len(), F2_LEN);
            }
        }
        for end in F1_LEN..F1_LEN + F3_LEN {
            for wire in denials() {
                let mut wire = wire.read_until(end, Act::Nothing);
                let error = driver.client(&mut wire, &client).unwrap_err();
                assert!(
                    matches!(error, Error::Closed(Phase::Awaiting(Message::VERDICT))),
                    "after {end}: {error:?}"
                );
            }
        }
    }
}
