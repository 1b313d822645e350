//! Measures the CPU time of either side of countersign's core: in mode 0 relative to the nine
//! compressions of SHA-256 that its three tags need, and in mode 2 relative to mode 0 and two
//! multiplications of X25519. What is random is known, so no time goes into randomness.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "handling an error would be measured too"
)]

use std::hint::black_box;
use std::time::Instant;

use countersign::handshake::{Authenticate, Encrypt};
use indicatif::ProgressBar;
use sha2::block_api::compress256;
use x25519_dalek::{PublicKey, StaticSecret};

#[path = "../../common/core.rs"]
mod sides;
use sides::Core;

use crate::sample::Sample;

/// Seconds.
#[derive(Default)]
pub struct Sides {
    /// Nine blocks in one call.
    pub one_call: Sample,
    /// As three tags need them: two blocks and then one, three times.
    pub three_tags: Sample,
    pub client: Sample,
    pub server: Sample,
    /// One multiplication of the base point and one of another point.
    pub multiplications: Sample,
    /// In mode 2, with the keys of its records.
    pub encrypting_client: Sample,
    pub encrypting_server: Sample,
}

pub fn measure(rounds: usize, bar: &ProgressBar) -> Sides {
    let core = Core::new(Authenticate);
    let encrypting = Core::new(Encrypt);
    let point = PublicKey::from(&StaticSecret::from([7; 32]));
    let mut sides = Sides::default();
    let mut lanes: [(&mut Sample, &dyn Fn() -> f64); 7] = [
        (&mut sides.one_call, &|| mean(500, nine_in_one_call)),
        (&mut sides.three_tags, &|| mean(500, nine_for_three_tags)),
        (&mut sides.client, &|| mean(500, || core.client())),
        (&mut sides.server, &|| {
            mean(500, || core.server(Some(&core.key)).unwrap())
        }),
        (&mut sides.multiplications, &|| {
            mean(10, || two_multiplications(&point))
        }),
        (&mut sides.encrypting_client, &|| {
            mean(10, || encrypting.client())
        }),
        (&mut sides.encrypting_server, &|| {
            mean(10, || encrypting.server(Some(&encrypting.key)).unwrap())
        }),
    ];
    for _ in 0..rounds {
        for (sample, mean) in &mut lanes {
            // Not counted: it finds the caches as another routine left them.
            mean();
            sample.push(mean());
        }
        lanes.reverse();
        bar.inc(1);
    }
    sides
}

/// Returns the seconds of one run. `runs` is enough for the clock, and so few that they are rarely
/// interrupted.
fn mean<T>(runs: u32, routine: impl Fn() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        black_box(routine());
    }
    start.elapsed().as_secs_f64() / f64::from(runs)
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

fn two_multiplications(point: &PublicKey) -> (PublicKey, [u8; 32]) {
    let key = StaticSecret::from(black_box([0xc0; 32]));
    let share = PublicKey::from(&key);
    (share, key.diffie_hellman(black_box(point)).to_bytes())
}
