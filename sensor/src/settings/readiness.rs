//! The settings that say when the sensor is ready.

use std::time::Duration;

use super::Settings;
use crate::telemetry::Thresholds;

impl Settings {
    /// The limits beyond which the sensor is not ready.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            silence_max: Duration::from_secs(self.metrics.silence_s),
            drops_percent: self.metrics.drops_percent,
            signature_age_max: Duration::from_secs(u64::from(self.signatures.max_age_days) * 86_400),
            ..Thresholds::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_readiness() {
        let mut settings = Settings::default();
        assert_eq!(settings.thresholds(), Thresholds::default());
        settings.metrics.silence_s = 7;
        settings.metrics.drops_percent = 50;
        settings.signatures.max_age_days = 2;
        let expected = Thresholds {
            silence_max: Duration::from_secs(7),
            drops_percent: 50,
            signature_age_max: Duration::from_secs(172_800),
            ..Thresholds::default()
        };
        assert_eq!(settings.thresholds(), expected);
    }
}
