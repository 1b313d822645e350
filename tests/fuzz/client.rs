//! A client, its core and its blocking driver, whose peer sends arbitrary octets.

use std::sync::LazyLock;

use countersign::handshake::{self, Flight, Mode, Prologue, Transcript, client};
use countersign::{Client, Error, Key, Phase};

use super::harness::{
    Draws, Fed, Options, Wire, assert_speaks_of, fault, feed, key, without_allocating,
};

static KEYS: LazyLock<[Key; 2]> = LazyLock::new(|| ["", "worker-7"].map(|id| key("ours", id)));

/// What the client is to make of what arrived.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It waits for more of this flight.
    Incomplete(Flight),
    /// The octet at this offset of F1 ends it.
    Fault(usize),
    /// The first octet of F3 ends it.
    NoVerdict,
    Denied,
    /// An acceptance without a proof.
    NotAuthentic,
}

/// Options: bit 3 is the mode, bit 4 whether the key has an id.
pub fn body(input: &[u8]) {
    let Some((options, says)) = Options::split(input) else {
        return;
    };
    let key = &KEYS[usize::from(options.bit(4))];
    core(input, options, says, key);
    driver(options, says, key);
}

fn core(input: &[u8], options: Options, says: &[u8], key: &Key) {
    let mode = options.mode();
    let mut transcript = Transcript::new();
    without_allocating(|| {
        let draws = &mut Draws::of(input);
        let state = client::start(&mut transcript, &Prologue::EMPTY, mode, key, draws).unwrap();
        let fate = fate(says, mode);
        let error = match feed(state, says, options.piece()) {
            Ok(Fed::Waiting(_)) => {
                assert_eq!(fate, Fate::Incomplete(Flight::Challenge));
                return;
            }
            Err(error) => error,
            Ok(Fed::Done((response, state), rest)) => {
                assert_eq!(says.len() - rest.len(), 40);
                assert_is_response(response.as_ref(), mode, key);
                match feed(state, rest, options.piece()) {
                    Ok(Fed::Waiting(_)) => {
                        assert_eq!(fate, Fate::Incomplete(Flight::Verdict));
                        return;
                    }
                    Err(error) => error,
                    Ok(Fed::Done(..)) => panic!("a session without the secret"),
                }
            }
        };
        assert_is(&error.into(), &fate, says);
    });
}

fn driver(options: Options, says: &[u8], key: &Key) {
    let mode = options.mode();
    let client = Client::new(key.clone());
    let mut wire = Wire::new(says, options);
    let error = without_allocating(|| match mode {
        Mode::Authenticate => client.authenticate(&mut wire).map(drop),
        Mode::Protect => client.protect(&mut wire).map(drop),
    })
    .expect_err("no session without the secret");

    let fate = fate(wire.read(), mode);
    assert_is(&error, &fate, wire.read());
    match fate {
        Fate::Incomplete(Flight::Challenge) | Fate::Fault(_) => assert_eq!(wire.written(), b""),
        _ => assert_is_response(wire.written(), mode, key),
    }
    assert!(wire.read().len() <= 73, "what is behind F3 is not read");
}

fn fate(received: &[u8], mode: Mode) -> Fate {
    if let Some(at) = fault(received, b'S', mode) {
        return Fate::Fault(at);
    }
    let Some((_, verdict)) = received.split_at_checked(40) else {
        return Fate::Incomplete(Flight::Challenge);
    };
    match verdict {
        [b'A', proof @ ..] if proof.len() >= 32 => Fate::NotAuthentic,
        [b'D', zeros @ ..] if zeros.len() >= 32 => Fate::Denied,
        [] | [b'A' | b'D', ..] => Fate::Incomplete(Flight::Verdict),
        _ => Fate::NoVerdict,
    }
}

fn assert_is(error: &Error, fate: &Fate, received: &[u8]) {
    match (error, fate) {
        (Error::Incompatible(incompatible), Fate::Fault(at)) => {
            assert_speaks_of(*incompatible, *at, received);
        }
        (Error::Closed(Phase::Awaiting(awaited)), Fate::Incomplete(flight)) => {
            assert_eq!(awaited, flight);
        }
        (
            Error::Incompatible(handshake::Incompatible::Foreign { awaiting, .. }),
            Fate::NoVerdict,
        ) => assert_eq!(*awaiting, Flight::Verdict),
        (Error::Denied, Fate::Denied) | (Error::ServerNotAuthentic, Fate::NotAuthentic) => {}
        _ => panic!("{error} instead of {fate:?}"),
    }
}

/// One F2, and nothing behind it.
fn assert_is_response(f2: &[u8], mode: Mode, key: &Key) {
    let id = key.id().as_bytes();
    assert_eq!(f2.len(), 73 + id.len());
    assert_eq!(fault(f2, b'C', mode), None);
    assert_eq!(usize::from(f2[8]), id.len());
    assert_eq!(&f2[9..9 + id.len()], id);
}
