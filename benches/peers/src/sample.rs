//! Samples of measurements in turn. A disturbance of a shared machine affects neighbours alike, so
//! the *ratio* of their times is reliable even if the times are not.

use std::time::Duration;

/// A number for each round.
#[derive(Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64());
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn quantile(&self, part: f64) -> f64 {
        quantile(self.0.clone(), part)
    }

    /// Returns the sum with another sample, round by round.
    pub fn plus(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(own, other)| own + other)
                .collect(),
        )
    }

    /// Returns the ratio to `base`, computed round by round.
    pub fn against(&self, base: &Self) -> Quartiles {
        let ratios: Vec<_> = (self.0.iter().zip(&base.0))
            .map(|(own, base)| own / base)
            .collect();
        Quartiles {
            lower: quantile(ratios.clone(), 0.25),
            median: quantile(ratios.clone(), 0.5),
            upper: quantile(ratios, 0.75),
        }
    }
}

/// The median and the quartiles.
#[derive(Clone, Copy, Debug)]
pub struct Quartiles {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a position in a sample of some thousands"
)]
fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = ((values.len().saturating_sub(1)) as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}
