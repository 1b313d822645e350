//! The CPU time of each side of a handshake, against the hashing that no implementation of it can
//! do without.
//!
//! With an empty key id and an empty service the three tags cover 83, 116 and 116 octets, and each
//! is three compressions of SHA-256 under a key that was absorbed before: nine a side.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that panics has measured nothing, and says so"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::handshake::{Mode, Progress, Prologue, Receive, client, server};
use countersign::{Key, Session};
use criterion::Criterion;
use rand::rngs::SysRng;
use rand::{TryCryptoRng, TryRng};
use sha2::block_api::compress256;

#[path = "common/paired.rs"]
mod paired;
use paired::Paired;

/// Long enough for the clock to be precise, short enough to seldom be interrupted.
const BATCH: u32 = 500;

fn main() {
    let bench = Bench::new();
    bench.print_ratios(paired::rounds(1000));

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    bench.accepted(&mut criterion);
    bench.denied(&mut criterion);
    criterion.final_summary();
}

/// Everything that exists before a handshake begins, and the flights of one whose nonces are
/// known, so that each side can run alone.
struct Bench {
    key: Key,
    another_key: Key,
    prologue: Prologue,
    config: server::Config,
    f1: [u8; 40],
    f2: [u8; 73],
    f3: [u8; 33],
}

impl Bench {
    fn new() -> Self {
        let key = Key::new("the secret of both ends of this!").unwrap();
        let prologue = Prologue::EMPTY;
        let config = server::Config::new(prologue.clone());

        let mode = Mode::Authenticate;
        let await_challenge = client::start(&prologue, mode, &key, &mut CLIENT).unwrap();
        let (challenge, await_response) = config.start(mode, &mut SERVER).unwrap();
        let (response, _) = deliver(await_challenge, challenge.as_ref());
        let identified = deliver(await_response, response.as_ref());
        let (verdict, outcome) = identified.verify(Some(&key));
        assert!(outcome.is_ok());

        Self {
            f1: challenge.as_ref().try_into().unwrap(),
            f2: response.as_ref().try_into().unwrap(),
            f3: verdict.as_ref().try_into().unwrap(),
            another_key: Key::new("a secret that the client has not").unwrap(),
            key,
            prologue,
            config,
        }
    }

    fn client(&self) -> Session {
        let (key, mode) = (&self.key, Mode::Authenticate);
        let state = client::start(&self.prologue, mode, key, &mut CLIENT).unwrap();
        let (response, state) = deliver(state, black_box(&self.f1));
        black_box(response.as_ref());
        deliver(state, black_box(&self.f3))
    }

    fn server(&self) -> Session {
        self.verify(Some(&self.key)).unwrap()
    }

    fn verify(&self, key: Option<&Key>) -> Result<Session, countersign::handshake::Error> {
        let (challenge, state) = self.config.start(Mode::Authenticate, &mut SERVER).unwrap();
        black_box(challenge.as_ref());
        let identified = deliver(state, black_box(&self.f2));
        let (verdict, outcome) = identified.verify(key);
        black_box(verdict.as_ref());
        outcome
    }

    fn wrong_proof(&self) -> bool {
        self.verify(Some(&self.another_key)).is_err()
    }

    fn unknown_key_id(&self) -> bool {
        self.verify(None).is_err()
    }

    fn print_ratios(&self, rounds: usize) {
        let print = |name, paired: &Paired| {
            println!(
                "{name:<38}{:>9.1} ns to {:>9.1} ns, ratio {}",
                paired.base(NANOSECOND * BATCH),
                paired.other(NANOSECOND * BATCH),
                paired.ratio()
            );
        };
        println!("medians (and quartiles) of {rounds} rounds in turn, {BATCH} times each:");
        let against_bare =
            |other: &dyn Fn()| Paired::measure(rounds, || batch(|| bare(&BLOCKS)), || batch(other));
        print(
            "bare to bare_as_cut",
            &Paired::measure(
                rounds,
                || batch(|| bare(&BLOCKS)),
                || batch(|| bare_as_cut(&BLOCKS)),
            ),
        );
        print(
            "bare to bare",
            &Paired::measure(
                rounds,
                || batch(|| bare(&BLOCKS)),
                || batch(|| bare(&BLOCKS)),
            ),
        );
        print(
            "bare to client",
            &Paired::measure(
                rounds,
                || batch(|| bare(&BLOCKS)),
                || batch(|| self.client()),
            ),
        );
        print(
            "bare to server",
            &Paired::measure(
                rounds,
                || batch(|| bare(&BLOCKS)),
                || batch(|| self.server()),
            ),
        );
        print(
            "bare to draw",
            &Paired::measure(rounds, || batch(|| bare(&BLOCKS)), || batch(draw)),
        );
        print(
            "denial",
            &Paired::measure(
                rounds,
                || batch(|| self.wrong_proof()),
                || batch(|| self.unknown_key_id()),
            ),
        );
        let _ = against_bare;
    }

    fn accepted(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("a side");
        group.bench_function("nine bare compressions", |b| b.iter(|| bare(&BLOCKS)));
        group.bench_function("client", |b| b.iter(|| self.client()));
        group.bench_function("server", |b| b.iter(|| self.server()));
        group.bench_function("draw of a nonce", |b| b.iter(draw));
        group.finish();
    }

    fn denied(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("a denial");
        group.bench_function("wrong proof", |b| b.iter(|| self.wrong_proof()));
        group.bench_function("unknown key id", |b| b.iter(|| self.unknown_key_id()));
        group.finish();
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);
const BLOCKS: [[u8; 64]; 9] = [[0x5c; 64]; 9];

/// All nine in one call, which is the fastest way to have them.
fn bare(blocks: &[[u8; 64]; 9]) -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    compress256(&mut state, black_box(blocks));
    state
}
fn bare_as_cut(blocks: &[[u8; 64]; 9]) -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    for c in black_box(blocks).chunks(3) {
        compress256(&mut state, &c[..2]);
        compress256(&mut state, &c[2..]);
    }
    state
}

/// What the operating system takes for a nonce.
fn draw() -> [u8; 32] {
    let mut nonce = [0; 32];
    SysRng.try_fill_bytes(&mut nonce).unwrap();
    nonce
}

fn batch<T>(mut routine: impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..BATCH {
        let _ = black_box(routine());
    }
    start.elapsed()
}

/// Hands over a whole flight, in one piece as a socket mostly does.
fn deliver<R: Receive>(mut state: R, flight: &[u8]) -> R::Next {
    let space = state.space();
    assert_eq!(space.len(), flight.len());
    space.copy_from_slice(flight);
    match state.advance(flight.len()).unwrap() {
        Progress::Done(next) => next,
        Progress::More(_) => panic!("{} is not whole", R::FLIGHT),
    }
}

/// A generator that costs nothing and gives the nonce for which the flights were made.
#[derive(Clone, Copy)]
struct Fixed(u8);

const CLIENT: Fixed = Fixed(0xc0);
const SERVER: Fixed = Fixed(0x50);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is drawn in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(black_box(self.0));
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
