//! Both sides of the core in memory, each of which can run without the other.

use std::convert::Infallible;
use std::hint::black_box;

use countersign::Key;
use countersign::handshake::server::{self, Dummy};
use countersign::handshake::{
    Error, Mode, Prologue, Receive, Transcript, TryCryptoRng, TryRng, Verdict, client,
};

/// What exists before a handshake, and the messages of one handshake with known nonces.
///
/// The key has no key id, and the prologue is empty.
pub struct Core<M> {
    pub key: Key,
    mode: M,
    dummy: Dummy,
    f1: [u8; 40],
    f2: [u8; 73],
    f3: Verdict,
}

impl<M: Mode> Core<M> {
    pub fn new(mode: M) -> Self {
        let key = Key::new("what both ends of this one share").unwrap();
        let (dummy, prologue) = (Dummy::new(), &Prologue::EMPTY);
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let at_client = client::start(&mut clients, &key, prologue, mode, &mut { NC }).unwrap();
        let started = server::start(&mut servers, &dummy, prologue, mode, &mut { NS });
        let (f1, at_server) = started.unwrap();
        let at_client = deliver(at_client, f1.as_ref());
        let f2 = at_client.response().try_into().unwrap();
        let (f3, outcome) = deliver(at_server, at_client.response())
            .verify(Some(&key), &mut { NS })
            .unwrap();
        drop(outcome.unwrap());
        Self {
            f1: f1.as_ref().try_into().unwrap(),
            f2,
            f3,
            key,
            mode,
            dummy,
        }
    }

    pub fn client(&self) -> M::Established {
        let (mut transcript, prologue) = (Transcript::new(), &Prologue::EMPTY);
        let started = client::start(&mut transcript, &self.key, prologue, self.mode, &mut { NC });
        let at_client = deliver(started.unwrap(), black_box(&self.f1));
        black_box(at_client.response());
        deliver(at_client, black_box(self.f3.as_ref()))
    }

    /// Runs a server that looks up this key.
    pub fn server(&self, found: Option<&Key>) -> Result<M::Established, Error> {
        let (mut transcript, prologue) = (Transcript::new(), &Prologue::EMPTY);
        let rng = &mut { NS };
        let started = server::start(&mut transcript, &self.dummy, prologue, self.mode, rng);
        let (f1, at_server) = started.unwrap();
        black_box(f1.as_ref());
        let (f3, outcome) = deliver(at_server, black_box(&self.f2))
            .verify(found, &mut { NS })
            .unwrap();
        black_box(f3.as_ref());
        outcome
    }
}

/// Delivers a whole message in one piece, as a socket mostly does.
fn deliver<R: Receive<Error = Error>>(state: R, message: &[u8]) -> R::Next {
    let read = state.read::<Error>(|space| {
        assert_eq!(space.len(), message.len());
        space.copy_from_slice(message);
        Ok(message.len())
    });
    read.unwrap()
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
