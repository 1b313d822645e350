//! Both sides of the core in memory, each of which can run without the other.

use std::convert::Infallible;
use std::hint::black_box;

use countersign::handshake::{
    Error, Mode, Progress, Prologue, Receive, Transcript, TryCryptoRng, TryRng, client, server,
};
use countersign::{Key, Session};

/// What exists before a handshake, and the messages of one handshake with known nonces.
///
/// The key has no key id, and the prologue is empty.
pub struct Core {
    pub key: Key,
    mode: Mode,
    config: server::Config,
    f1: [u8; 40],
    f2: [u8; 73],
    f3: [u8; 33],
}

impl Core {
    pub fn new(mode: Mode) -> Self {
        let key = Key::new("what both ends of this one share").unwrap();
        let config = server::Config::new(Prologue::EMPTY);
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let started = client::start(&mut clients, &Prologue::EMPTY, mode, &key, &mut { NC });
        let (f1, at_server) = config.start(&mut servers, mode, &mut { NS }).unwrap();
        let (f2, _) = deliver(started.unwrap(), f1.as_ref());
        let (f3, outcome) = deliver(at_server, f2.as_ref()).verify(Some(&key));
        drop(outcome.unwrap());
        Self {
            f1: f1.as_ref().try_into().unwrap(),
            f2: f2.as_ref().try_into().unwrap(),
            f3: f3.as_ref().try_into().unwrap(),
            key,
            mode,
            config,
        }
    }

    pub fn client(&self) -> Session {
        let mut transcript = Transcript::new();
        let prologue = &Prologue::EMPTY;
        let started = client::start(&mut transcript, prologue, self.mode, &self.key, &mut { NC });
        let (f2, at_client) = deliver(started.unwrap(), black_box(&self.f1));
        black_box(f2.as_ref());
        deliver(at_client, black_box(&self.f3))
    }

    /// Runs a server that looks up this key.
    pub fn server(&self, found: Option<&Key>) -> Result<Session, Error> {
        let mut transcript = Transcript::new();
        let started = self.config.start(&mut transcript, self.mode, &mut { NS });
        let (f1, at_server) = started.unwrap();
        black_box(f1.as_ref());
        let (f3, outcome) = deliver(at_server, black_box(&self.f2)).verify(found);
        black_box(f3.as_ref());
        outcome
    }
}

/// Delivers a whole message in one piece, as a socket mostly does.
fn deliver<R: Receive>(mut state: R, message: &[u8]) -> R::Next {
    let space = state.space();
    assert_eq!(space.len(), message.len());
    space.copy_from_slice(message);
    match state.advance(message.len()) {
        Ok(Progress::Done(next)) => next,
        Ok(Progress::More(_)) => panic!("{} is not whole", R::FLIGHT),
        Err(error) => panic!("{error}"),
    }
}

/// A generator that always returns the same nonce, at almost no cost.
struct Fixed(u8);

const NC: Fixed = Fixed(0xc0);
const NS: Fixed = Fixed(0x50);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is generated in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is generated in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(black_box(self.0));
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
