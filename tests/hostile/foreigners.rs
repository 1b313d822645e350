//! Peers that speak another protocol, or that only begin like ours.

use std::collections::{BTreeSet, VecDeque};

use countersign::handshake::{Incompatible, Message, Prologue};
use countersign::{Client, Error, Hint, Phase};

use super::{ClientSide, F1_LEN, F2_LEN, F3_LEN, ServerSide, Side, ends, ours, tail};
use crate::failures::{incompatible, is_denied};
use crate::support::{
    Act, DENIAL, Driver, Echoes, FOREIGN, HonestServer, Pair, Peer, Says, Wire, foreign, hmac, key,
};

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

/// A peer that only begins like an honest one: its name, a stream to it, and the error.
type Foreigner = (&'static str, WireTo, Incompatible);

type WireTo = Box<dyn Fn() -> Wire>;

fn says(bytes: impl AsRef<[u8]>) -> WireTo {
    let bytes = bytes.as_ref().to_vec();
    Box::new(move || Wire::to(Says(bytes.clone())))
}

fn server_that(then: fn(&[u8]) -> Vec<u8>) -> WireTo {
    Box::new(move || Wire::to(FalseServer::that(then)))
}

const OTHER_MODE: Incompatible = Incompatible::Mode { ours: 0, theirs: 1 };

/// The offset, in all that this end receives, of the first byte that cannot belong.
fn fault(incompatible: Incompatible) -> usize {
    match incompatible {
        Incompatible::Verdict(_) => F1_LEN,
        Incompatible::Version(_) => 5,
        Incompatible::Role(_) => 6,
        Incompatible::Mode { .. } => 7,
        Incompatible::KeyIdLength(_) => 8,
        other => panic!("{other:?}"),
    }
}

fn foreigners_at_a_server() -> Vec<Foreigner> {
    vec![
        (
            "a client of the next version",
            says(altered(response(), 5, b'2')),
            Incompatible::Version(b'2'),
        ),
        (
            "a second server",
            says(challenge()),
            Incompatible::Role(b'S'),
        ),
        (
            "a peer that echoes",
            Box::new(|| Wire::to(Echoes)),
            Incompatible::Role(b'S'),
        ),
        (
            "a client with records",
            says(altered(response(), 7, 1)),
            OTHER_MODE,
        ),
        (
            "a client with a key id of 65 bytes",
            says(altered(response(), 8, 65)),
            Incompatible::KeyIdLength(65),
        ),
    ]
}

fn foreigners_at_a_client() -> Vec<Foreigner> {
    vec![
        (
            "a server of the next version",
            says(altered(challenge(), 5, b'2')),
            Incompatible::Version(b'2'),
        ),
        (
            "a second client",
            says(response()),
            Incompatible::Role(b'C'),
        ),
        (
            "a server with records",
            says(altered(challenge(), 7, 1)),
            OTHER_MODE,
        ),
        (
            "a server that echoes instead of judging",
            server_that(<[u8]>::to_vec),
            Incompatible::Verdict(b'C'),
        ),
        (
            "a server with a verdict that does not exist",
            server_that(|_| b"accepted, believe me. No, really.".to_vec()),
            Incompatible::Verdict(b'a'),
        ),
    ]
}

/// Every cut in two parts, no cut, and a cut after every byte, of what this end receives.
fn cuts() -> impl Iterator<Item = BTreeSet<usize>> {
    let last = F1_LEN + F3_LEN;
    let cuts = (1..last).map(|at| BTreeSet::from([at]));
    cuts.chain([BTreeSet::new(), (1..last).collect()])
}

/// Runs an end with reads that stop at these offsets. Asserts that it reads no further than it has to
/// and sends nothing that it should not, before it refuses the byte `fault` of what it receives.
fn refused(
    (driver, side): (Driver, Side),
    wire: &mut Wire,
    mut cuts: BTreeSet<usize>,
    fault: usize,
) -> Error {
    let ends = cuts.clone();
    wire.on_read = Box::new(move |read| {
        let next = ends.range(read + 1..).next();
        Act::Move(next.map_or(usize::MAX, |end| end - read))
    });
    let error = side.run(driver, &ours(), wire).unwrap_err();
    // A read of a client also ends at the end of F1.
    if side == ClientSide {
        cuts.insert(F1_LEN);
    }
    let reads = 1 + cuts.range(..=fault).count();
    assert_eq!(wire.offered.len(), reads, "reads, {error:?}");
    let sent = match side {
        // The client's own header, for the server's log.
        ClientSide if is_of_mode_or_version(fault) => HEADER_LEN,
        ClientSide if fault < F1_LEN => 0,
        ClientSide => F2_LEN,
        ServerSide => F1_LEN,
    };
    assert_eq!(wire.written.len(), sent, "bytes sent, {error:?}");
    error
}

#[test]
fn a_peer_of_another_kind_is_recognised_at_the_first_byte_that_cannot_belong() {
    for (driver, side) in ends() {
        let foreigners = match side {
            ClientSide => foreigners_at_a_client(),
            ServerSide => foreigners_at_a_server(),
        };
        for (name, wire, expected) in foreigners {
            for cuts in cuts() {
                let case = format!("{driver:?}, {name}, cut at {cuts:?}");
                let error = refused((driver, side), &mut wire(), cuts, fault(expected));
                assert_eq!(incompatible(&error), Some(&expected), "{case}");
                assert_eq!(error.hint(), None, "{case}");
            }
        }
    }
}

/// Returns the hint of an end whose peer sends these bytes, which are of another protocol.
fn hint(end: (Driver, Side), says: &[u8], cuts: BTreeSet<usize>) -> Option<Hint> {
    let fault = says.iter().zip(b"CSIGN").position(|(a, b)| a != b);
    let mut wire = Wire::to(Says(says.to_vec()));
    let error = refused(end, &mut wire, cuts, fault.unwrap());
    let came = foreign(end.1.awaits(), &says[..wire.read]);
    assert_eq!(incompatible(&error), Some(&came));
    let advice = match error.hint() {
        Some(hint) => hint.to_string(),
        None => "if they are random, the peer may speak the recipe's protocol".to_owned(),
    };
    let sentence = error.to_string();
    assert!(sentence.ends_with(&format!("; {advice}")), "{sentence}");
    error.hint()
}

#[test]
fn a_peer_of_another_protocol_is_named_by_what_has_come_of_its_first_four_bytes() {
    for end in ends() {
        for (says, named, from) in FOREIGN {
            // No client begins as a listener of Python does.
            let named = named.filter(|name| end.1 == ClientSide || *name != Hint::Multiprocessing);
            // CONNECT begins like the protocol's own name, so its second byte is at fault.
            let first = if says.starts_with(b"CO") { 2 } else { 1 };
            for cuts in cuts() {
                let come = (cuts.iter()).find(|at| **at >= first && **at <= says.len());
                let expected = named.filter(|_| come.is_none_or(|come| *come >= from));
                let case = format!("{end:?}, {}, cut at {cuts:?}", says.escape_ascii());
                assert_eq!(hint(end, says, cuts), expected, "{case}");
            }
        }
    }
}

#[test]
fn a_peer_that_differs_in_one_of_its_first_four_bytes_is_not_named() {
    for end in ends() {
        for (says, ..) in FOREIGN {
            for at in 0..4 {
                // Any length will do in a challenge of Python or a record of TLS.
                if at < 3 || !matches!(says[0], 0 | 0x15 | 0x16) {
                    let says = altered(says.to_vec(), at, 0xb7);
                    let named = hint(end, &says, BTreeSet::new());
                    assert_eq!(named, None, "{end:?}, {}", says.escape_ascii());
                }
            }
        }
    }
}

#[test]
fn ten_thousand_random_answers_are_not_taken_for_another_protocol() {
    let named = ends().cycle().zip(0..10_000_u16).filter(|(end, nth)| {
        let digest = hmac(b"peekaboo", &nth.to_be_bytes());
        hint(*end, &digest, BTreeSet::new()).is_some()
    });
    assert!(named.count() <= 1);
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
