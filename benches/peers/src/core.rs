//! The CPU time of either side of countersign's core, against the nine compressions of SHA-256 that
//! its three tags cannot do without. The nonces are known, so that nothing is drawn.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "an error that is handed on would be measured too"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::handshake::{Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::{Key, Session};
use indicatif::ProgressBar;
use rand::{TryCryptoRng, TryRng};
use sha2::block_api::compress256;

use crate::sample::Sample;

/// Seconds for [`BATCH`] of each.
#[derive(Default)]
pub struct Sides {
    /// Nine blocks, handed over at once.
    pub one_call: Sample,
    /// Cut as three tags need them: two blocks and then one, three times.
    pub three_tags: Sample,
    pub client: Sample,
    pub server: Sample,
}

/// Long enough for the clock, and short enough to be interrupted seldom.
pub const BATCH: u32 = 500;

pub fn measure(rounds: usize, bar: &ProgressBar) -> Sides {
    let core = Core::new();
    let mut sides = Sides::default();
    let mut lanes: [(&mut Sample, &dyn Fn() -> Duration); 4] = [
        (&mut sides.one_call, &|| batch(nine_in_one_call)),
        (&mut sides.three_tags, &|| batch(nine_for_three_tags)),
        (&mut sides.client, &|| batch(|| core.client())),
        (&mut sides.server, &|| batch(|| core.server())),
    ];
    for _ in 0..rounds {
        for (sample, batch) in &mut lanes {
            // It finds the caches as the neighbour has left them, and does not count.
            batch();
            sample.push_time(batch());
        }
        lanes.reverse();
        bar.inc(1);
    }
    sides
}

fn batch<T>(routine: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..BATCH {
        black_box(routine());
    }
    start.elapsed()
}

const NINE: [[u8; 64]; 9] = [[0x5c; 64]; 9];

fn nine_in_one_call() -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    compress256(&mut state, black_box(&NINE));
    state
}

fn nine_for_three_tags() -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    for tag in black_box(&NINE).chunks(3) {
        let (message, outer) = tag.split_at(2);
        compress256(&mut state, message);
        compress256(&mut state, outer);
    }
    state
}

/// What exists before a handshake, and the flights of one whose nonces are known, so that each side
/// can be run without the other.
struct Core {
    key: Key,
    prologue: Prologue,
    config: server::Config,
    f1: [u8; 40],
    f2: [u8; 73],
    f3: [u8; 33],
}

const MODE: Mode = Mode::Authenticate;

impl Core {
    fn new() -> Self {
        let key = Key::new("what both ends of this one share").unwrap();
        let prologue = Prologue::EMPTY;
        let config = server::Config::new(prologue.clone());
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let await_challenge =
            client::start(&mut clients, &prologue, MODE, &key, &mut NC.clone()).unwrap();
        let (f1, await_response) = config.start(&mut servers, MODE, &mut NS.clone()).unwrap();
        let (f2, _) = deliver(await_challenge, f1.as_ref());
        let (f3, outcome) = deliver(await_response, f2.as_ref()).verify(Some(&key));
        drop(outcome.unwrap());
        Self {
            f1: f1.as_ref().try_into().unwrap(),
            f2: f2.as_ref().try_into().unwrap(),
            f3: f3.as_ref().try_into().unwrap(),
            key,
            prologue,
            config,
        }
    }

    fn client(&self) -> Session {
        let mut transcript = Transcript::new();
        let (prologue, key) = (&self.prologue, &self.key);
        let started = client::start(&mut transcript, prologue, MODE, key, &mut NC.clone());
        let (response, await_verdict) = deliver(started.unwrap(), black_box(&self.f1));
        black_box(response.as_ref());
        deliver(await_verdict, black_box(&self.f3))
    }

    fn server(&self) -> Session {
        let mut transcript = Transcript::new();
        let started = self.config.start(&mut transcript, MODE, &mut NS.clone());
        let (challenge, await_response) = started.unwrap();
        black_box(challenge.as_ref());
        let response = deliver(await_response, black_box(&self.f2));
        let (verdict, outcome) = response.verify(Some(&self.key));
        black_box(verdict.as_ref());
        outcome.unwrap()
    }
}

/// Hands a whole flight over in one piece, as a socket mostly does.
fn deliver<R: Receive>(mut state: R, flight: &[u8]) -> R::Next {
    let space = state.space();
    assert_eq!(space.len(), flight.len());
    space.copy_from_slice(flight);
    match state.advance(flight.len()) {
        Ok(Progress::Done(next)) => next,
        Ok(Progress::More(_)) => panic!("{} is not whole", R::FLIGHT),
        Err(error) => panic!("{error}"),
    }
}

/// A generator that costs next to nothing and always gives the same nonce.
#[derive(Clone)]
struct Fixed(u8);

const NC: Fixed = Fixed(0xc0);
const NS: Fixed = Fixed(0x50);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        octets.fill(black_box(self.0));
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
