//! Numbers that look random and are the same in each run.

use core::time::Duration;

/// `SplitMix64` of Steele, Lea and Flood.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let below = self.next() % u64::from(bound);
        below.try_into().expect("it is below a u32")
    }

    /// Returns a time up to `longest`.
    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.unit())
    }

    /// Returns the time between two events that come at random, `rate` a second on average.
    pub(super) fn gap(&mut self, rate: u32) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.unit()).ln() / f64::from(rate))
    }

    /// Returns a number from 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        f64::from(self.below(1 << 31)) / f64::from(1_u32 << 31)
    }
}
