//! Measures the CPU time of each side of a handshake, relative to nine compressions of SHA-256.
//!
//! With an empty key id and an empty service the three tags cover 83, 116 and 116 bytes, under keys
//! that were absorbed before. Each tag is three compressions, two inside and one outside, so a side
//! needs nine. A side should take at most 1.6 times as long as nine compressions. This is without
//! the nonce, which is the operating system's time and is measured separately.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed bench panics"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::handshake::{self, Authenticate};
use countersign::{Key, Session};
use criterion::Criterion;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::block_api::compress256;

#[path = "common/core.rs"]
mod core;
#[path = "common/turns.rs"]
mod turns;
use self::core::Core;
use turns::{Times, in_turn, rounds};

/// Long enough for the clock, and short enough to be rarely interrupted.
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

struct Bench {
    core: Core<Authenticate>,
    another_key: Key,
}

impl Bench {
    fn new() -> Self {
        Self {
            core: Core::new(Authenticate),
            another_key: Key::new("what only one of the two ends has").unwrap(),
        }
    }

    fn client(&self) -> Session {
        self.core.client()
    }

    fn server(&self) -> Session {
        self.core.server(Some(&self.core.key)).unwrap()
    }

    fn deny_unknown_key_id(&self) -> handshake::Error {
        self.core.server(None).unwrap_err()
    }

    fn deny_wrong_proof(&self) -> handshake::Error {
        self.core.server(Some(&self.another_key)).unwrap_err()
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

/// Runs nine compressions in the fastest way.
fn nine_in_one_call() -> [u32; 8] {
    let mut state = black_box([0x6a09_e667; 8]);
    compress256(&mut state, black_box(&NINE));
    state
}

/// Runs nine compressions as HMAC needs them: two for the message, and one for their result.
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
