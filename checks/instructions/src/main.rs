//! One side of a handshake, or the hashing that it cannot do without, for a program that counts
//! instructions.
//!
//! Time on a shared machine is noise; instructions are not: the same program executes the same
//! ones. `run` has valgrind's callgrind count those of the function that is named on the command
//! line, and compares.

use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;

use countersign::handshake::{self, Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::{Key, Session};
use rand::{TryCryptoRng, TryRng};
use sha2::block_api::compress256;

fn main() -> Result<(), Box<dyn Error>> {
    let bench = Bench::new()?;
    match std::env::args().nth(1).as_deref() {
        Some("client_side") => drop(client_side(&bench)?),
        Some("server_side") => drop(server_side(&bench)?),
        Some("nine_compressions") => nine_compressions(),
        _ => return Err("one argument: client_side, server_side or nine_compressions".into()),
    }
    Ok(())
}

/// What exists before a handshake begins, and the flights of one whose nonces are known.
struct Bench {
    key: Key,
    prologue: Prologue,
    config: server::Config,
    f1: Vec<u8>,
    f2: Vec<u8>,
    f3: Vec<u8>,
}

const MODE: Mode = Mode::Authenticate;

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let key = Key::new("what both ends of this one share")?;
        let prologue = Prologue::EMPTY;
        let config = server::Config::new(prologue.clone());

        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let state = client::start(&mut clients, &prologue, MODE, &key, &mut Repeats(0xc0))?;
        let (challenge, at_server) = config.start(&mut servers, MODE, &mut Repeats(0x50))?;
        let f1 = challenge.as_ref().to_vec();
        let (response, _) = deliver(state, &f1)?;
        let f2 = response.as_ref().to_vec();
        let (verdict, outcome) = deliver(at_server, &f2)?.verify(Some(&key));
        drop(outcome?);
        let f3 = verdict.as_ref().to_vec();
        Ok(Self {
            key,
            prologue,
            config,
            f1,
            f2,
            f3,
        })
    }
}

#[inline(never)]
fn client_side(bench: &Bench) -> Result<Session, handshake::Error> {
    let mut transcript = Transcript::new();
    let rng = &mut Repeats(0xc0);
    let state = client::start(&mut transcript, &bench.prologue, MODE, &bench.key, rng)?;
    let (response, state) = deliver(state, black_box(&bench.f1))?;
    black_box(response.as_ref());
    deliver(state, black_box(&bench.f3))
}

#[inline(never)]
fn server_side(bench: &Bench) -> Result<Session, handshake::Error> {
    let mut transcript = Transcript::new();
    let rng = &mut Repeats(0x50);
    let (challenge, state) = bench.config.start(&mut transcript, MODE, rng)?;
    black_box(challenge.as_ref());
    let (verdict, outcome) = deliver(state, black_box(&bench.f2))?.verify(Some(&bench.key));
    black_box(verdict.as_ref());
    outcome
}

/// Three tags over 83, 116 and 116 octets: two blocks inside and one outside each.
#[inline(never)]
fn nine_compressions() {
    for _ in 0..3 {
        let mut state = black_box([0x6a09_e667; 8]);
        compress256(&mut state, black_box(&[[0x36; 64]; 2]));
        compress256(&mut state, black_box(&[[0x5c; 64]]));
        black_box(state);
    }
}

fn deliver<R: Receive>(mut state: R, mut flight: &[u8]) -> Result<R::Next, handshake::Error> {
    loop {
        let space = state.space();
        let (piece, rest) = flight.split_at(space.len().min(flight.len()));
        if let Some(space) = space.get_mut(..piece.len()) {
            space.copy_from_slice(piece);
        }
        flight = rest;
        match state.advance(piece.len())? {
            Progress::More(same) => state = same,
            Progress::Done(next) => return Ok(next),
        }
    }
}

/// A generator of one octet.
struct Repeats(u8);

impl TryRng for Repeats {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from(self.0))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.0))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Repeats {}
