//! Takes times in rounds. Things that are compared take turns within each round, so that what disturbs the machine
//! disturbs all of them, and their ratio is taken round by round.

use crate::clock::thread_ns;

/// Nanoseconds per operation, one number for each round.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Times one round of `operations`.
    pub fn round(&mut self, operations: u64, work: impl FnOnce()) {
        let start = thread_ns();
        work();
        self.0.push((thread_ns() - start) as f64 / operations as f64);
    }

    /// Takes in a round that was timed elsewhere.
    pub fn push(&mut self, ns: f64) {
        self.0.push(ns);
    }

    /// The mean of all rounds.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The quietest round.
    pub fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The middle round.
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// How many times the other this is: the middle of the rounds' ratios.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect())
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_median_and_ratio() {
        let this = Times(vec![4.0, 2.0, 9.0]);
        let other = Times(vec![2.0, 1.0, 1.0]);
        assert_eq!((this.least(), this.median(), this.ratio_to(&other)), (2.0, 4.0, 2.0));
    }

    #[test]
    fn work_takes_time() {
        let mut times = Times::default();
        times.round(1, || {
            std::hint::black_box((0..1_000_000_u64).fold(1, |sum: u64, number| std::hint::black_box(sum ^ number)));
        });
        assert!(times.least() > 0.0);
    }
}
