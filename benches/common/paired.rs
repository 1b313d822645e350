//! Two things measured in turn: what disturbs a shared machine disturbs both, so the *ratio* of
//! two neighbours holds where their times do not.

use std::fmt;
use std::time::Duration;

/// How many rounds to run: all of them under `cargo bench`, and else one, which shows that the
/// bench works.
pub fn rounds(under_cargo_bench: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") {
        under_cargo_bench
    } else {
        1
    }
}

/// The median of a sample, and what lies a quarter from either end.
pub struct Quartiles {
    lower: f64,
    median: f64,
    upper: f64,
}

impl Quartiles {
    fn of(mut sample: Vec<f64>) -> Self {
        sample.sort_by(f64::total_cmp);
        let at = |quarters| sample[(sample.len() - 1) * quarters / 4];
        Self {
            lower: at(1),
            median: at(2),
            upper: at(3),
        }
    }
}

/// The precision asked for, three decimals if none was.
impl fmt::Display for Quartiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(3);
        write!(
            f,
            "{:.decimals$} ({:.decimals$} to {:.decimals$})",
            self.median, self.lower, self.upper
        )
    }
}

/// Two samples of which each pair was taken in one round.
pub struct Paired {
    base: Vec<Duration>,
    other: Vec<Duration>,
}

impl Paired {
    /// Runs `base` and `other` alternately, each of which says how long it took.
    pub fn measure(
        rounds: usize,
        mut base: impl FnMut() -> Duration,
        mut other: impl FnMut() -> Duration,
    ) -> Self {
        let (base, other) = (0..rounds).map(|_| (base(), other())).unzip();
        Self { base, other }
    }

    /// The quartiles of `other / base` over the rounds.
    pub fn ratio(&self) -> Quartiles {
        let pairs = self.base.iter().zip(&self.other);
        Quartiles::of(
            pairs
                .map(|(base, other)| other.as_secs_f64() / base.as_secs_f64())
                .collect(),
        )
    }

    /// The quartiles of `base`, in units of `unit`.
    pub fn base(&self, unit: Duration) -> Quartiles {
        in_units(&self.base, unit)
    }

    /// The quartiles of `other`, in units of `unit`.
    pub fn other(&self, unit: Duration) -> Quartiles {
        in_units(&self.other, unit)
    }
}

fn in_units(times: &[Duration], unit: Duration) -> Quartiles {
    let unit = unit.as_secs_f64();
    Quartiles::of(times.iter().map(|time| time.as_secs_f64() / unit).collect())
}
