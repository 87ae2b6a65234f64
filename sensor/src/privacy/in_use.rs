//! Whom events name at a moment: the pseudonyms in use, and the keys that will replace theirs.

use std::sync::Arc;

use vigie_config::ConfigErrors;
use vigie_privacy::{Period, PeriodKeys, PeriodLength, Pseudonyms};

use super::period_keys;
use crate::settings::{self, Loaded};

/// What a configuration says about naming clients.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    keys: Option<Arc<PeriodKeys>>,
    current: Option<Arc<Pseudonyms>>,
    warning_period: Option<PeriodLength>,
}

/// Pseudonyms have another key from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The period of the key before; none at the beginning.
    pub from: Option<Period>,
    /// The period of the new key.
    pub to: Period,
}

impl Privacy {
    /// That of a configuration.
    ///
    /// # Errors
    /// The key of pseudonyms cannot be used.
    pub fn of(loaded: &Loaded) -> Result<Self, ConfigErrors> {
        let keys = period_keys(loaded)?.map(Arc::new);
        Ok(Self { keys, ..Self::without_pseudonyms(&loaded.settings.privacy) })
    }

    /// That of settings without pseudonyms.
    pub const fn without_pseudonyms(settings: &settings::Privacy) -> Self {
        Self { keys: None, current: None, warning_period: settings.warning_period() }
    }

    /// With these keys.
    pub fn with_keys(keys: PeriodKeys) -> Self {
        Self { keys: Some(Arc::new(keys)), ..Self::default() }
    }

    /// The keys; none without pseudonyms.
    pub fn keys(&self) -> Option<&PeriodKeys> {
        self.keys.as_deref()
    }

    /// The period in which a client's first finding names nobody; none if it names the client.
    pub const fn warning_period(&self) -> Option<PeriodLength> {
        self.warning_period
    }

    /// The pseudonyms in use; none without pseudonyms, or before the first packet.
    pub const fn pseudonyms(&self) -> Option<&Arc<Pseudonyms>> {
        self.current.as_ref()
    }

    /// Time has gone on to that of a packet. If its period has another key, that one is used from now on; never an older one
    /// again.
    pub fn pass_time(&mut self, time_ns: u64) -> Option<Rotation> {
        let keys = self.keys.as_ref()?;
        let (from, next) = match &self.current {
            Some(current) => (Some(current.period()), keys.rotated(current, time_ns)?),
            None => (None, Arc::clone(keys.at(time_ns))),
        };
        let to = next.period();
        self.current = Some(next);
        Some(Rotation { from, to })
    }

    /// Takes over keys that were read again. What is in use stays until a later period begins.
    pub fn use_keys_of(&mut self, newer: &Self) {
        self.keys.clone_from(&newer.keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        let first = text.parse::<Period>().unwrap().first_day().midnight().assume_utc();
        first.unix_timestamp_nanos() as u64
    }

    fn keys(periods: &[&str]) -> PeriodKeys {
        let text: String = periods.iter().map(|period| format!("{period} {}\n", "5a".repeat(32))).collect();
        PeriodKeys::parse(&text, PeriodLength::Month).unwrap()
    }

    #[test]
    fn a_key_is_used_until_a_later_period_has_one() {
        let mut privacy = Privacy::with_keys(keys(&["2026-11", "2026-12"]));
        assert!(privacy.pseudonyms().is_none());
        let [november, december] = ["2026-11", "2026-12"].map(|period| period.parse().unwrap());
        let first = privacy.pass_time(at("2026-11-05"));
        assert_eq!(first, Some(Rotation { from: None, to: november }));
        assert_eq!(privacy.pass_time(at("2026-12-01") - 1), None);
        let second = privacy.pass_time(at("2026-12-01"));
        assert_eq!(second, Some(Rotation { from: Some(november), to: december }));
        assert_eq!(privacy.pass_time(at("2026-11-30")), None, "a late packet brings no old key back");
        assert_eq!(privacy.pass_time(at("2027-01-01")), None, "January has no key yet");
        privacy.use_keys_of(&Privacy::with_keys(keys(&["2026-12", "2027-01"])));
        assert_eq!(privacy.pass_time(at("2027-01-01")).unwrap().to.to_string(), "2027-01");
        assert_eq!(privacy.pseudonyms().unwrap().period().to_string(), "2027-01");
    }

    #[test]
    fn without_keys_nothing_rotates() {
        let mut privacy = Privacy::default();
        assert_eq!(privacy.pass_time(at("2026-11-05")), None);
        assert!(privacy.pseudonyms().is_none() && privacy.keys().is_none() && privacy.warning_period().is_none());
    }
}
