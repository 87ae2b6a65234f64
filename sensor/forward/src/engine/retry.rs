//! How long to wait after a failure: twice as long each time, with jitter, so that receivers that failed together do not
//! all return at the same moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The waits after failures without a success between them.
#[derive(Clone, Debug)]
pub struct Retry {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Retry {
    /// Waits from `first` to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Something was sent.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure: between half and all of the doubled time, or as long as the receiver asks,
    /// within reason.
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        if let Some(asked) = asked {
            return asked.clamp(self.first, self.most.max(self.first));
        }
        // A number in 0..1024 that differs each time; nothing depends on its quality.
        let random = u32::try_from(RandomState::new().hash_one(self.failures) & 1023).unwrap_or(0);
        doubled / 2 + (doubled / 2) * random / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(300));
        let mut retry = Retry::new(first, most);
        for doubled in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let wait = retry.failed(None);
            let doubled = Duration::from_secs(doubled);
            assert!(wait >= doubled / 2 && wait <= doubled, "{wait:?} of {doubled:?}");
        }
        assert_eq!(retry.failures(), 11);
        assert_eq!(retry.failed(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(retry.failed(Some(Duration::from_secs(70_000))), most);
        for _ in 0..100 {
            retry.failed(None);
        }
        retry.succeeded();
        assert!(retry.failed(Some(Duration::ZERO)) == first && retry.failures() == 1);
    }
}
