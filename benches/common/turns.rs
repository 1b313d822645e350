//! Measures routines in turn. A disturbance of a shared machine affects neighbours alike, so the
//! *ratio* of their times is reliable even if the times are not.

use std::fmt;
use std::time::Duration;

/// Returns how many rounds to run: all of them under `cargo bench`, and otherwise two, one in each
/// order, which show that the bench works.
pub fn rounds(under_cargo_bench: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") {
        under_cargo_bench
    } else {
        2
    }
}

/// Runs all of `routines` in each of `rounds` rounds. Each routine returns how long it took. Every
/// other round has the reverse order, because a routine finds the caches as its neighbour left them.
pub fn in_turn<const N: usize>(
    rounds: usize,
    mut routines: [&mut dyn FnMut() -> Duration; N],
) -> [Times; N] {
    let mut times = [const { Times(Vec::new()) }; N];
    for round in 0..rounds {
        let mut turns: Vec<_> = times.iter_mut().zip(&mut routines).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (times, routine) in turns {
            times.0.push(routine().as_secs_f64());
        }
    }
    times
}

/// The times of one routine in each round, in seconds.
pub struct Times(Vec<f64>);

impl Times {
    pub fn in_units_of(&self, unit: Duration) -> Quartiles {
        let unit = unit.as_secs_f64();
        Quartiles::of(self.0.iter().map(|time| time / unit))
    }

    /// Returns the ratio to `base`, computed round by round.
    pub fn against(&self, base: &Self) -> Quartiles {
        Quartiles::of(self.0.iter().zip(&base.0).map(|(time, base)| time / base))
    }
}

/// The median and the quartiles of a sample.
#[derive(Clone, Copy)]
pub struct Quartiles {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Quartiles {
    fn of(sample: impl Iterator<Item = f64>) -> Self {
        let mut sample: Vec<_> = sample.collect();
        sample.sort_by(f64::total_cmp);
        let at = |quarters| sample[(sample.len() - 1) * quarters / 4];
        Self {
            lower: at(1),
            median: at(2),
            upper: at(3),
        }
    }
}

/// Writes `median (lower to upper)`, with three decimals unless the format has a precision.
impl fmt::Display for Quartiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(3);
        let [median, lower, upper] =
            [self.median, self.lower, self.upper].map(|value| format!("{value:.decimals$}"));
        write!(f, "{median} ({lower} to {upper})")
    }
}
