//! The CPU time of each side of a handshake, against the hashing that it cannot do without.
//!
//! With an empty key id and an empty service the three tags are made over 83, 116 and 116 octets
//! under keys that were absorbed before. Each is three compressions of SHA-256, two inside and one
//! outside, so that a side needs nine; whatever else it does is its own. A side should take no
//! more than 1.6 times as long as they do. The nonce is left out of that, since it is the
//! operating system's time, and measured beside it.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that panics has measured nothing"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::handshake::{self, Mode, Progress, Prologue, Receive, Transcript, client, server};
use countersign::{Key, Session};
use criterion::Criterion;
use rand::rngs::SysRng;
use rand::{TryCryptoRng, TryRng};
use sha2::block_api::compress256;

#[path = "common/turns.rs"]
mod turns;
use turns::{Times, in_turn, rounds};

/// Long enough for the clock, and short enough to be interrupted seldom.
const BATCH: u32 = 500;

fn main() {
    let bench = Bench::new();
    bench.print_ratios(rounds(1000));

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    bench.sides(&mut criterion);
    bench.denials(&mut criterion);
    criterion.final_summary();
}

/// What exists before a handshake begins, and the flights of one whose nonces are known, so that
/// each side can be run without the other.
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
        let key = Key::new("what both ends of this one share").unwrap();
        let prologue = Prologue::EMPTY;
        let config = server::Config::new(prologue.clone());

        let mode = Mode::Authenticate;
        let (mut clients, mut servers) = (Transcript::new(), Transcript::new());
        let await_challenge =
            client::start(&mut clients, &prologue, mode, &key, &mut NC.clone()).unwrap();
        let (challenge, await_response) =
            config.start(&mut servers, mode, &mut NS.clone()).unwrap();
        let (response, _) = deliver(await_challenge, challenge.as_ref());
        let (verdict, outcome) = deliver(await_response, response.as_ref()).verify(Some(&key));
        assert!(outcome.is_ok());

        Self {
            f1: challenge.as_ref().try_into().unwrap(),
            f2: response.as_ref().try_into().unwrap(),
            f3: verdict.as_ref().try_into().unwrap(),
            another_key: Key::new("what only one of the two ends has").unwrap(),
            key,
            prologue,
            config,
        }
    }

    fn client(&self) -> Session {
        let mode = Mode::Authenticate;
        let mut transcript = Transcript::new();
        let started = client::start(
            &mut transcript,
            &self.prologue,
            mode,
            &self.key,
            &mut NC.clone(),
        );
        let (response, await_verdict) = deliver(started.unwrap(), black_box(&self.f1));
        black_box(response.as_ref());
        deliver(await_verdict, black_box(&self.f3))
    }

    fn server(&self) -> Session {
        self.serve(Some(&self.key)).unwrap()
    }

    fn deny_unknown_key_id(&self) -> handshake::Error {
        self.serve(None).unwrap_err()
    }

    fn deny_wrong_proof(&self) -> handshake::Error {
        self.serve(Some(&self.another_key)).unwrap_err()
    }

    fn serve(&self, key: Option<&Key>) -> Result<Session, handshake::Error> {
        let mut transcript = Transcript::new();
        let started = self
            .config
            .start(&mut transcript, Mode::Authenticate, &mut NS.clone());
        let (challenge, await_response) = started.unwrap();
        black_box(challenge.as_ref());
        let (verdict, outcome) = deliver(await_response, black_box(&self.f2)).verify(key);
        black_box(verdict.as_ref());
        outcome
    }

    fn print_ratios(&self, rounds: usize) {
        let [one_call, three_tags, client, server, nonce, unknown, wrong] = in_turn(
            rounds,
            [
                &mut || batch(nine_in_one_call),
                &mut || batch(nine_for_three_tags),
                &mut || batch(|| self.client()),
                &mut || batch(|| self.server()),
                &mut || batch(draw),
                &mut || batch(|| self.deny_unknown_key_id()),
                &mut || batch(|| self.deny_wrong_proof()),
            ],
        );
        let print = |name: &str, times: &Times, ratios: &[(&Times, &str)]| {
            let nanoseconds = times.in_units_of(BATCH * Duration::from_nanos(1));
            println!("{name:<30}{:>7.1} ns", nanoseconds.median);
            for (base, than) in ratios {
                println!("{:<30}{} times {than}", "", times.against(base));
            }
        };
        let bare: &[_] = &[
            (&one_call, "nine compressions in one call"),
            (&three_tags, "nine compressions for three tags"),
        ];
        println!("Medians (and quartiles) over {rounds} rounds of {BATCH} of each in turn.");
        print("nine compressions in one call", &one_call, &[]);
        print("nine for three tags", &three_tags, &bare[..1]);
        print("client", &client, bare);
        print("server", &server, bare);
        print("nonce", &nonce, &bare[..1]);
        print("denial, unknown key id", &unknown, &[]);
        print(
            "denial, wrong proof",
            &wrong,
            &[(&unknown, "the other denial")],
        );
        println!();
    }

    fn sides(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("side");
        group.bench_function("nine in one call", |b| b.iter(nine_in_one_call));
        group.bench_function("nine for three tags", |b| b.iter(nine_for_three_tags));
        group.bench_function("client", |b| b.iter(|| self.client()));
        group.bench_function("server", |b| b.iter(|| self.server()));
        group.bench_function("nonce", |b| b.iter(draw));
        group.finish();
    }

    fn denials(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("denial");
        group.bench_function("unknown key id", |b| b.iter(|| self.deny_unknown_key_id()));
        group.bench_function("wrong proof", |b| b.iter(|| self.deny_wrong_proof()));
        group.finish();
    }
}

const NINE: [[u8; 64]; 9] = [[0x5c; 64]; 9];

/// The fastest way to have nine.
fn nine_in_one_call() -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    compress256(&mut state, black_box(&NINE));
    state
}

/// As HMAC has to have them: two blocks of the message, and one of what they gave.
fn nine_for_three_tags() -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    for tag in black_box(&NINE).chunks(3) {
        compress256(&mut state, &tag[..2]);
        compress256(&mut state, &tag[2..]);
    }
    state
}

fn draw() -> [u8; 32] {
    let mut nonce = [0; 32];
    SysRng.try_fill_bytes(&mut nonce).unwrap();
    nonce
}

fn batch<T>(routine: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..BATCH {
        black_box(routine());
    }
    start.elapsed()
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

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(black_box(self.0));
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
