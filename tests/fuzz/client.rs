//! A client, its core and its blocking driver, whose peer sends arbitrary bytes.

use std::sync::LazyLock;

#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::{
    self, Authenticate, Incompatible, Message, Mode, Progress, Prologue, Protect, Transcript,
    client,
};
use countersign::{Client, Error, Key, Phase};

use super::harness::{
    Draws, Options, Wire, assert_is_about, assert_is_told, counting_allocations, fault, feed, key,
    verdict_len, without_allocating,
};

static KEYS: LazyLock<[Key; 2]> = LazyLock::new(|| ["", "worker-7"].map(|id| key("ours", id)));

/// How the client has to end after what arrived.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It waits for more of this message.
    Incomplete(Message),
    /// It fails at the byte at this offset of F1.
    Fault(usize),
    /// It fails at the first byte of F3.
    NoVerdict,
    Denied,
    /// It received an acceptance with a wrong proof.
    NotAuthentic,
}

/// Options: bits 3 and 7 are the mode, bit 4 says whether the key has an id.
pub fn body(input: &[u8]) {
    let Some((options, says)) = Options::split(input) else {
        return;
    };
    let key = &KEYS[usize::from(options.bit(4))];
    match options.mode() {
        0 => core(input, options, says, key, Authenticate),
        1 => core(input, options, says, key, Protect),
        #[cfg(feature = "encrypt")]
        2 => core(input, options, says, key, Encrypt),
        mode => unreachable!("mode {mode}"),
    }
    driver(options, says, key);
}

fn core<M: Mode>(input: &[u8], options: Options, says: &[u8], key: &Key, mode: M) {
    without_allocating(|| {
        let (transcript, draws) = (Transcript::new(), &mut Draws::of(input));
        let state = client::start(transcript, key, &Prologue::EMPTY, mode, draws).unwrap();
        let fate = fate(says, M::NUMBER);
        let mut rest = says;
        let error = match feed(state, &mut rest, options.piece()) {
            Ok(Progress::More(_)) => {
                assert_eq!(fate, Fate::Incomplete(Message::CHALLENGE));
                return;
            }
            Err(error) => error,
            Ok(Progress::Done(state)) => {
                assert_eq!(says.len() - rest.len(), 40);
                assert_is_response(state.response(), M::NUMBER, key);
                match feed(state, &mut rest, options.piece()) {
                    Ok(Progress::More(_)) => {
                        assert_eq!(fate, Fate::Incomplete(Message::VERDICT));
                        return;
                    }
                    Err(error) => error,
                    Ok(Progress::Done(_)) => panic!("a session without the secret"),
                }
            }
        };
        match error {
            handshake::Error::Denied => assert_eq!(fate, Fate::Denied),
            error => assert_is(&error.into(), &fate, says, key),
        }
    });
}

fn driver(options: Options, says: &[u8], key: &Key) {
    let mode = options.mode();
    let client = Client::new(key.clone());
    let mut wire = Wire::new(says, options);
    let (outcome, allocations) = counting_allocations(|| match mode {
        0 => client.authenticate(&mut wire).map(drop),
        1 => client.protect(&mut wire).map(drop),
        #[cfg(feature = "encrypt")]
        2 => client.encrypt(&mut wire).map(drop),
        mode => unreachable!("mode {mode}"),
    });
    let error = outcome.expect_err("no session without the secret");
    assert_is_told(&error, wire.read());

    let fate = fate(wire.read(), mode);
    assert_is(&error, &fate, wire.read(), key);
    // What the client sent is in a box.
    assert_eq!(allocations, u64::from(fate == Fate::Denied), "allocations");
    match fate {
        Fate::Fault(5 | 7) => assert_eq!(wire.written(), [&b"CSIGN1C"[..], &[mode]].concat()),
        Fate::Incomplete(Message::CHALLENGE) | Fate::Fault(_) => assert_eq!(wire.written(), b""),
        _ => assert_is_response(wire.written(), mode, key),
    }
    let most = 40 + verdict_len(mode);
    assert!(wire.read().len() <= most, "nothing after F3 is read");
}

fn fate(received: &[u8], mode: u8) -> Fate {
    if let Some(at) = fault(received, b'S', mode) {
        return Fate::Fault(at);
    }
    let Some((_, verdict)) = received.split_at_checked(40) else {
        return Fate::Incomplete(Message::CHALLENGE);
    };
    let is_whole = verdict.len() >= verdict_len(mode);
    match verdict.first() {
        Some(b'A') if is_whole => Fate::NotAuthentic,
        Some(b'D') if is_whole => Fate::Denied,
        None | Some(b'A' | b'D') => Fate::Incomplete(Message::VERDICT),
        Some(_) => Fate::NoVerdict,
    }
}

fn assert_is(error: &Error, fate: &Fate, received: &[u8], key: &Key) {
    match (error, fate) {
        (Error::Handshake(handshake::Error::Incompatible(incompatible)), fate) => match fate {
            Fate::Fault(at) => assert_is_about(*incompatible, *at, received),
            Fate::NoVerdict => {
                assert_eq!(*incompatible, Incompatible::Verdict(received[40]));
            }
            fate => panic!("{error} instead of {fate:?}"),
        },
        (Error::Closed(Phase::Awaiting(awaited)), Fate::Incomplete(message)) => {
            assert_eq!(awaited, message);
        }
        (Error::Denied(denial), Fate::Denied) => {
            assert_eq!(denial.key_id, *key.id());
            assert!(denial.service.is_empty() && !denial.bound);
        }
        (Error::Handshake(handshake::Error::ServerNotAuthentic), Fate::NotAuthentic) => {}
        _ => panic!("{error} instead of {fate:?}"),
    }
}

/// Asserts that these bytes are one F2 and nothing more.
fn assert_is_response(f2: &[u8], mode: u8, key: &Key) {
    let id = key.id().as_bytes();
    assert_eq!(f2.len(), 73 + id.len());
    assert_eq!(fault(f2, b'C', mode), None);
    assert_eq!(usize::from(f2[8]), id.len());
    assert_eq!(&f2[9..9 + id.len()], id);
}
