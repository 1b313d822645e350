//! A client, its core and its blocking driver, whose peer sends arbitrary bytes.

use std::sync::LazyLock;

use countersign::handshake::{self, Flight, Mode, Progress, Prologue, Transcript, client};
use countersign::{Client, Error, Key, Phase};

use super::harness::{Draws, Options, Wire, assert_is_about, fault, feed, key, without_allocating};

static KEYS: LazyLock<[Key; 2]> = LazyLock::new(|| ["", "worker-7"].map(|id| key("ours", id)));

/// How the client has to end after what arrived.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It waits for more of this message.
    Incomplete(Flight),
    /// It fails at the byte at this offset of F1.
    Fault(usize),
    /// It fails at the first byte of F3.
    NoVerdict,
    Denied,
    /// It received an acceptance with a wrong proof.
    NotAuthentic,
}

/// Options: bit 3 is the mode, bit 4 says whether the key has an id.
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
        let mut rest = says;
        let error = match feed(state, &mut rest, options.piece()) {
            Ok(Progress::More(_)) => {
                assert_eq!(fate, Fate::Incomplete(Flight::Challenge));
                return;
            }
            Err(error) => error,
            Ok(Progress::Done((response, state))) => {
                assert_eq!(says.len() - rest.len(), 40);
                assert_is_response(response.as_ref(), mode, key);
                match feed(state, &mut rest, options.piece()) {
                    Ok(Progress::More(_)) => {
                        assert_eq!(fate, Fate::Incomplete(Flight::Verdict));
                        return;
                    }
                    Err(error) => error,
                    Ok(Progress::Done(_)) => panic!("a session without the secret"),
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
    assert!(wire.read().len() <= 73, "nothing after F3 is read");
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
            assert_is_about(*incompatible, *at, received);
        }
        (Error::Closed(Phase::Awaiting(awaited)), Fate::Incomplete(message)) => {
            assert_eq!(awaited, message);
        }
        (
            Error::Incompatible(handshake::Incompatible::Foreign { awaiting, .. }),
            Fate::NoVerdict,
        ) => assert_eq!(*awaiting, Flight::Verdict),
        (Error::Denied, Fate::Denied) | (Error::ServerNotAuthentic, Fate::NotAuthentic) => {}
        _ => panic!("{error} instead of {fate:?}"),
    }
}

/// Asserts that these bytes are one F2 and nothing more.
fn assert_is_response(f2: &[u8], mode: Mode, key: &Key) {
    let id = key.id().as_bytes();
    assert_eq!(f2.len(), 73 + id.len());
    assert_eq!(fault(f2, b'C', mode), None);
    assert_eq!(usize::from(f2[8]), id.len());
    assert_eq!(&f2[9..9 + id.len()], id);
}
