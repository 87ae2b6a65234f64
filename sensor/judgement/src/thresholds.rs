//! The numbers that verdicts hang on. They are guesses to be checked on real traffic, so each can be set.

const SECOND_NS: u64 = 1_000_000_000;

/// The numbers that verdicts hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Silence that ends an episode, seconds.
    pub silence_s: u64,
    /// Media of an episode from which the application counts as in use, bytes.
    pub in_use_media_bytes: u64,
    /// Length of an episode above which a player may be the site, seconds.
    pub player_length_s: u64,
    /// Bytes of an episode above which a player may be the site.
    pub player_bytes: u64,
    /// Most flows of a link preview.
    pub preview_flows_max: u32,
    /// Least time between two episodes of the same lone interface that prove the application, seconds.
    pub return_min_s: u64,
    /// Most time between two such episodes, seconds.
    pub return_max_s: u64,
    /// How long names of a first start wait for names that show whose they are, seconds.
    pub boot_wait_s: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            silence_s: 300,
            in_use_media_bytes: 2_000_000,
            player_length_s: 180,
            player_bytes: 20_000_000,
            preview_flows_max: 4,
            return_min_s: 300,
            return_max_s: 86_400,
            boot_wait_s: 30,
        }
    }
}

impl Thresholds {
    /// [`Self::silence_s`] in nanoseconds.
    pub(crate) const fn silence_ns(&self) -> u64 {
        self.silence_s.saturating_mul(SECOND_NS)
    }

    /// [`Self::boot_wait_s`] in nanoseconds.
    pub(crate) const fn boot_wait_ns(&self) -> u64 {
        self.boot_wait_s.saturating_mul(SECOND_NS)
    }

    /// [`Self::return_max_s`] in nanoseconds.
    pub(crate) const fn return_max_ns(&self) -> u64 {
        self.return_max_s.saturating_mul(SECOND_NS)
    }

    /// Whether two episodes so far apart, in nanoseconds, show that a lone interface is contacted again and again.
    pub(crate) const fn is_return(&self, apart_ns: u64) -> bool {
        apart_ns >= self.return_min_s.saturating_mul(SECOND_NS) && apart_ns <= self.return_max_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_episodes_are_a_return_within_both_bounds() {
        let thresholds = Thresholds::default();
        for (apart_ns, is_return) in [
            (300 * SECOND_NS - 1, false),
            (300 * SECOND_NS, true),
            (86_400 * SECOND_NS, true),
            (86_400 * SECOND_NS + 1, false),
        ] {
            assert_eq!(thresholds.is_return(apart_ns), is_return, "{apart_ns}");
        }
    }
}
