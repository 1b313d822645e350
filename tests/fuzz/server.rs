//! A server, its core and its blocking driver, whose peer sends arbitrary bytes.

use std::sync::LazyLock;

#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::Error::{ClientNotAuthentic, Incompatible};
use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{
    Authenticate, Message, Mode, Progress, Prologue, Protect, Transcript,
};
use countersign::{Error, Key, Phase, Server};

use super::harness::{
    Draws, Options, Unused, Wire, assert_is_about, assert_is_told, fault, feed, key, verdict_len,
    without_allocating,
};

static KEY: LazyLock<Key> = LazyLock::new(|| key("ours", "worker-7"));

/// How the server has to end after what arrived.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It waits for more.
    Incomplete,
    /// It fails at the byte at this offset.
    Fault(usize),
    /// It denies the client, after this many bytes.
    Denied(usize),
}

/// Options: bits 3 and 7 are the mode, bit 4 says whether the server has a key for every id.
pub fn body(input: &[u8]) {
    let Some((options, says)) = Options::split(input) else {
        return;
    };
    let known = options.bit(4).then_some(&*KEY);
    match options.mode() {
        0 => core(input, options, says, known, Authenticate),
        1 => core(input, options, says, known, Protect),
        #[cfg(feature = "encrypt")]
        2 => core(input, options, says, known, Encrypt),
        mode => unreachable!("mode {mode}"),
    }
    driver(options, says, known);
}

fn core<M: Mode>(input: &[u8], options: Options, says: &[u8], known: Option<&Key>, mode: M) {
    let fate = fate(says, M::NUMBER);
    without_allocating(|| {
        let (transcript, dummy, draws) = (Transcript::new(), Dummy::new(), &mut Draws::of(input));
        let started = server::start(transcript, dummy, &Prologue::EMPTY, mode, draws);
        let (f1, state) = started.unwrap();
        assert_is_challenge(f1.as_ref(), M::NUMBER);
        let mut rest = says;
        match feed(state, &mut rest, options.piece()) {
            Ok(Progress::More(_)) => assert_eq!(fate, Fate::Incomplete),
            Err(Incompatible(incompatible)) => {
                let Fate::Fault(at) = fate else {
                    panic!("{incompatible:?} instead of {fate:?}");
                };
                assert_is_about(incompatible, at, says);
            }
            Err(error) => panic!("{error:?}"),
            Ok(Progress::Done(identified)) => {
                assert_eq!(fate, Fate::Denied(says.len() - rest.len()));
                let claimed = usize::from(says[8]);
                assert_eq!(identified.key_id().as_bytes(), &says[9..9 + claimed]);
                let (verdict, outcome) = identified.verify(known, &mut Unused).unwrap();
                assert_is_denial(verdict.as_ref(), M::NUMBER);
                outcome.expect_err("no session without the secret");
            }
        }
    });
}

fn driver(options: Options, says: &[u8], known: Option<&Key>) {
    let server = Server::new(|_: &[u8]| known.cloned());
    let mut wire = Wire::new(says, options);
    let error = without_allocating(|| match options.mode() {
        0 => server.authenticate(&mut wire).map(drop),
        1 => server.protect(&mut wire).map(drop),
        #[cfg(feature = "encrypt")]
        2 => server.encrypt(&mut wire).map(drop),
        mode => unreachable!("mode {mode}"),
    })
    .expect_err("no session without the secret");

    assert_is_told(&error, wire.read());
    let (f1, f3) = wire.written().split_at(40);
    assert_is_challenge(f1, options.mode());
    match (error, fate(wire.read(), options.mode())) {
        (Error::Closed(Phase::Awaiting(Message::RESPONSE)), Fate::Incomplete) => {
            assert_eq!(f3, b"");
        }
        (Error::Handshake(Incompatible(incompatible)), Fate::Fault(at)) => {
            assert_is_about(incompatible, at, wire.read());
            assert_eq!(f3, b"");
        }
        (Error::Handshake(ClientNotAuthentic { .. }), Fate::Denied(len)) => {
            assert_eq!(wire.read().len(), len, "nothing after F2 is read");
            assert_is_denial(f3, options.mode());
        }
        (error, fate) => panic!("{error} instead of {fate:?}"),
    }
}

fn fate(received: &[u8], mode: u8) -> Fate {
    if let Some(at) = fault(received, b'C', mode) {
        return Fate::Fault(at);
    }
    let id_len = received.get(8).map_or(0, |&len| usize::from(len));
    if id_len > 64 {
        return Fate::Fault(8);
    }
    if received.len() < 73 + id_len {
        return Fate::Incomplete;
    }
    Fate::Denied(73 + id_len)
}

fn assert_is_challenge(f1: &[u8], mode: u8) {
    assert_eq!(f1.len(), 40);
    assert_eq!(fault(f1, b'S', mode), None);
}

fn assert_is_denial(f3: &[u8], mode: u8) {
    let zeros = &[0; 64][..verdict_len(mode) - 1];
    assert_eq!(f3.split_first(), Some((&b'D', zeros)));
}
