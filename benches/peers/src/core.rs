//! Measures the CPU time of either side of countersign's core, relative to the nine compressions of
//! SHA-256 that its three tags need. The nonces are known, so no time goes into randomness.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "handling an error would be measured too"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::handshake::Authenticate;
use indicatif::ProgressBar;
use sha2::block_api::compress256;

#[path = "../../common/core.rs"]
mod sides;
use sides::Core;

use crate::sample::Sample;

/// The times of [`BATCH`] runs of each, in seconds.
#[derive(Default)]
pub struct Sides {
    /// Nine blocks in one call.
    pub one_call: Sample,
    /// As three tags need them: two blocks and then one, three times.
    pub three_tags: Sample,
    pub client: Sample,
    pub server: Sample,
}

/// Long enough for the clock, and short enough to be rarely interrupted.
pub const BATCH: u32 = 500;

pub fn measure(rounds: usize, bar: &ProgressBar) -> Sides {
    let core = Core::new(Authenticate);
    let mut sides = Sides::default();
    let mut lanes: [(&mut Sample, &dyn Fn() -> Duration); 4] = [
        (&mut sides.one_call, &|| batch(nine_in_one_call)),
        (&mut sides.three_tags, &|| batch(nine_for_three_tags)),
        (&mut sides.client, &|| batch(|| core.client())),
        (&mut sides.server, &|| {
            batch(|| core.server(Some(&core.key)).unwrap())
        }),
    ];
    for _ in 0..rounds {
        for (sample, batch) in &mut lanes {
            // Not counted: it finds the caches as another routine left them.
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
