//! Keys: the master key, which never comes near a sensor, and the keys of periods, which sensors hold.
//!
//! A period's key is HKDF-SHA256 (RFC 5869) of the master key, with the salt `vigie period key` and the info site, a zero
//! byte, period. From a period's key nobody computes another period's.

use std::fmt;
use std::sync::Arc;

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use vigie_judgement::{Period, PeriodLength};

use crate::Pseudonyms;

const SALT: &[u8] = b"vigie period key";
/// Bytes of a period's key, and the least of a master key.
const KEY_BYTES: usize = 32;
/// Most bytes of a master key.
const MASTER_BYTES_MAX: usize = 256;
/// Most keys in a file.
const PERIODS_MAX: usize = 1_000;

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: it has at least 64 hexadecimal digits, such as 'openssl rand -hex 32' prints")]
pub struct NotAKey;

/// The key from which those of all sites and periods are derived.
pub struct MasterKey(Vec<u8>);

impl MasterKey {
    /// Reads the text of its file: hexadecimal digits, at least 64.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let bytes = unhex(text.trim()).ok_or(NotAKey)?;
        if (KEY_BYTES..=MASTER_BYTES_MAX).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(NotAKey) }
    }

    /// The key of a site for a period.
    pub fn period_key(&self, site: &str, period: Period) -> PeriodKey {
        let mut info = site.as_bytes().to_vec();
        info.push(0);
        info.extend(period.to_string().bytes());
        PeriodKey(expand(&Salt::new(HKDF_SHA256, SALT).extract(&self.0), &info))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKey")
    }
}

/// The key of a site for a period.
#[derive(Clone, PartialEq, Eq)]
pub struct PeriodKey([u8; KEY_BYTES]);

impl PeriodKey {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotAKey)
    }

    /// Its 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The key for one purpose.
    pub(crate) fn derive<const N: usize>(&self, purpose: &str) -> [u8; N] {
        expand(&Prk::new_less_safe(HKDF_SHA256, &self.0), purpose.as_bytes())
    }
}

impl fmt::Debug for PeriodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PeriodKey")
    }
}

/// HKDF-Expand (RFC 5869 §2.3).
fn expand<const N: usize>(key: &Prk, info: &[u8]) -> [u8; N] {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut out = [0; N];
    let info = [info];
    let filled = key.expand(&info, Length(N)).and_then(|output| output.fill(&mut out));
    debug_assert!(filled.is_ok(), "fewer than 255 blocks can always be had");
    out
}

/// The keys of a site that a sensor was given. The one of the packet's period is used, or the last before it.
#[derive(Clone, Debug)]
pub struct PeriodKeys {
    /// By period; at least one.
    keys: Vec<Arc<Pseudonyms>>,
    first: Arc<Pseudonyms>,
    length: PeriodLength,
}

/// What is wrong with a key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {mend}")]
pub struct KeyFileError {
    /// Line, from 1; 0 if it is about the whole file.
    pub line: u32,
    /// What is wrong.
    pub what: String,
    /// What would mend it.
    pub mend: String,
}

impl PeriodKeys {
    /// Reads a key file: on each line a period and its key, as `vigie privacy key` prints them; `#` begins a comment.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, length: PeriodLength) -> Result<Self, KeyFileError> {
        let mut keys: Vec<Arc<Pseudonyms>> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let wrong = |what: String, mend: &str| KeyFileError { line: number, what, mend: mend.to_owned() };
            let mut words = line.split_whitespace();
            let Some(word) = words.next() else { continue };
            let period: Period = word.parse().map_err(|_| {
                let what = "the line does not begin with a period".to_owned();
                wrong(what, "write a period and its key, as 'vigie privacy key' prints them")
            })?;
            let key = words.next().filter(|_| words.next().is_none()).map(PeriodKey::parse);
            let Some(Ok(key)) = key else {
                let what = format!("{period} has no key of 64 hexadecimal digits");
                return Err(wrong(what, "write the line as 'vigie privacy key' prints it"));
            };
            if period.length() != length {
                let what = format!("{period} is no {}, as privacy.period says", length.as_str());
                return Err(wrong(what, "derive a key of such a period, or change privacy.period"));
            }
            if keys.iter().any(|known| known.period() == period) {
                return Err(wrong(format!("{period} has two keys"), "keep one of them"));
            }
            if keys.len() >= PERIODS_MAX {
                return Err(wrong(format!("more than {PERIODS_MAX} keys"), "remove those of past periods"));
            }
            keys.push(Arc::new(Pseudonyms::new(period, &key)));
        }
        keys.sort_unstable_by_key(|pseudonyms| pseudonyms.period());
        let Some(first) = keys.first().map(Arc::clone) else {
            let mend = "derive one with 'vigie privacy key'".to_owned();
            return Err(KeyFileError { line: 0, what: "it has no key".to_owned(), mend });
        };
        Ok(Self { keys, first, length })
    }

    /// The pseudonyms at a time, nanoseconds since the Unix epoch. Without a key of its period they are those of the last
    /// period before it, or of the first one of all.
    pub fn at(&self, time_ns: u64) -> &Arc<Pseudonyms> {
        let period = self.length.at(time_ns);
        self.keys.iter().rev().find(|pseudonyms| pseudonyms.period() <= period).unwrap_or(&self.first)
    }

    /// The pseudonyms of a period, if its key is there.
    pub fn of(&self, period: Period) -> Option<&Arc<Pseudonyms>> {
        self.keys.iter().find(|pseudonyms| pseudonyms.period() == period)
    }

    /// The pseudonyms that replace others at a time, if that time lies in a later period which has a key.
    pub fn rotated(&self, used: &Pseudonyms, time_ns: u64) -> Option<Arc<Pseudonyms>> {
        let current = self.at(time_ns);
        (current.period() > used.period()).then(|| Arc::clone(current))
    }

    /// The period of a time, if it has no key.
    pub fn missing_at(&self, time_ns: u64) -> Option<Period> {
        let period = self.length.at(time_ns);
        self.of(period).is_none().then_some(period)
    }

    /// The periods that have keys, in order.
    pub fn periods(&self) -> impl Iterator<Item = Period> {
        self.keys.iter().map(|pseudonyms| pseudonyms.period())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the HMAC of Python's standard library.
    const OF_NOVEMBER: &str = "2a9efcb8c720a0b92a7f9292c651bf6f93159278c381915457f2002c9e01a75c";

    fn master() -> MasterKey {
        MasterKey::parse("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n").unwrap()
    }

    #[test]
    fn a_period_key_is_hkdf_of_master_site_and_period() {
        let november = "2026-11".parse().unwrap();
        let key = master().period_key("ministry", november);
        assert_eq!(key.hex(), OF_NOVEMBER);
        assert_eq!(PeriodKey::parse(OF_NOVEMBER), Ok(key.clone()));
        assert_eq!(hex(&key.derive::<16>("hardware addresses")), "723ac8960f941f4d1f612cb6fd768518");
        assert_ne!(master().period_key("ministry", november.next()), key);
        assert_ne!(master().period_key("ministr", november), key);
        assert_eq!(format!("{key:?} {:?}", master()), "PeriodKey MasterKey", "keys are not printed by accident");
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32), &"0".repeat(514)] {
            assert!(MasterKey::parse(text).is_err(), "{text}");
            assert!(PeriodKey::parse(text).is_err(), "{text}");
        }
        assert!(PeriodKey::parse(&"0".repeat(66)).is_err());
        assert!(MasterKey::parse(&"0".repeat(66)).is_ok());
    }

    fn keys(text: &str) -> Result<PeriodKeys, KeyFileError> {
        PeriodKeys::parse(text, PeriodLength::Month)
    }

    fn at(text: &str) -> u64 {
        let first = text.parse::<Period>().unwrap().first_day().midnight().assume_utc();
        first.unix_timestamp_nanos() as u64
    }

    #[test]
    fn the_key_of_the_period_is_used_or_the_last_before_it() {
        let other = "0".repeat(64);
        let file = format!("# site ministry\n\n2027-01 {other}  # next year\n2026-11 {OF_NOVEMBER}\n");
        let keys = keys(&file).unwrap();
        assert_eq!(keys.periods().map(|period| period.to_string()).collect::<Vec<_>>(), ["2026-11", "2027-01"]);
        for (time, used, missing) in [
            ("2026-11-01", "2026-11", false),
            ("2026-11-30", "2026-11", false),
            ("2026-12-01", "2026-11", true),
            ("2027-01-01", "2027-01", false),
            ("2030-01-01", "2027-01", true),
            ("1999-01-01", "2026-11", true),
        ] {
            assert_eq!(keys.at(at(time)).period().to_string(), used, "{time}");
            assert_eq!(keys.missing_at(at(time)).is_some(), missing, "{time}");
        }
        let november = keys.at(at("2026-11-30"));
        assert!(keys.rotated(november, at("2026-12-31")).is_none());
        let january = keys.rotated(november, at("2027-01-01")).unwrap();
        assert_eq!(january.period().to_string(), "2027-01");
        // A packet that comes late does not bring the old key back.
        assert!(keys.rotated(&january, at("2026-11-30")).is_none());
    }

    #[test]
    fn a_wrong_key_file_is_refused_with_its_line() {
        for (text, line, what) in [
            ("", 0, "it has no key; derive one with 'vigie privacy key'"),
            ("# none\n", 0, "it has no key"),
            (&format!("\n{OF_NOVEMBER}\n"), 2, "the line does not begin with a period; write a period and its key"),
            ("2026-11", 1, "2026-11 has no key of 64 hexadecimal digits"),
            (&format!("2026-11 {OF_NOVEMBER} x"), 1, "2026-11 has no key"),
            (&format!("2026-11 {OF_NOVEMBER}0"), 1, "2026-11 has no key"),
            (&format!("2026-11-27 {OF_NOVEMBER}"), 1, "2026-11-27 is no month, as privacy.period says"),
            (&format!("2026-11 {OF_NOVEMBER}\n2026-11 {OF_NOVEMBER}"), 2, "2026-11 has two keys; keep one of them"),
        ] {
            let error = keys(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.to_string().starts_with(what), "{error}");
            assert!(!error.to_string().contains(OF_NOVEMBER), "a key stands in no message");
        }
    }
}
