//! What the configuration says about pseudonyms: where the keys are, whether they may be used, and what is to be done about
//! them. The pseudonyms themselves are `vigie_privacy`.

mod in_use;
mod key_file;

use std::path::PathBuf;

use time::{Duration, OffsetDateTime};
use vigie_config::{ConfigErrors, Fault, Finding, Origin};
use vigie_privacy::PeriodKeys;

use crate::policy::resolve;
use crate::settings::Loaded;

pub use in_use::{Privacy, Rotation};
pub use key_file::{SecretError, read_secret};

/// Name of systemd's credential with the keys.
pub const CREDENTIAL: &str = "vigie-period-key";
/// Where systemd looks for credentials by their name.
const CREDENTIAL_STORE: &str = "/etc/credstore";
/// How many days before a period ends its successor's key should be there.
const NOTICE_DAYS: i64 = 7;

/// The file with the keys of pseudonyms; none without pseudonyms.
pub fn key_file(loaded: &Loaded) -> Option<PathBuf> {
    let privacy = &loaded.settings.privacy;
    privacy.pseudonyms.then(|| match &privacy.key_file {
        Some(path) => resolve(loaded, path),
        None => match credentials_folder() {
            Some(folder) => folder.join(CREDENTIAL),
            None => PathBuf::from(CREDENTIAL_STORE).join(CREDENTIAL),
        },
    })
}

/// The folder in which systemd puts the credentials of this service.
fn credentials_folder() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|folder| folder.is_absolute())
}

/// The keys of pseudonyms; none without pseudonyms.
///
/// # Errors
/// There is no key, it is wrong, or others than its owner can read it.
pub fn period_keys(loaded: &Loaded) -> Result<Option<PeriodKeys>, ConfigErrors> {
    let Some(path) = key_file(loaded) else { return Ok(None) };
    let user = &loaded.settings.privilege.user;
    let label = path.display().to_string();
    let refused = |origin, key, fault| ConfigErrors(vec![Finding::error(origin, key, "", fault)]);
    let text = read_secret(&path, Some(user)).map_err(|error| {
        let key = match loaded.settings.privacy.key_file {
            Some(_) => "privacy.key_file",
            None => "privacy.pseudonyms",
        };
        let origin = loaded.origins.get(key).cloned().unwrap_or(Origin::Default);
        let what = format!("the key of pseudonyms, {label}, {}", error.what);
        refused(origin, key, Fault::new(what, error.mend))
    })?;
    let keys = PeriodKeys::parse(&text, loaded.settings.privacy.period.length());
    let keys = keys.map_err(|error| {
        refused(Origin::File(label, error.line), "privacy.key_file", Fault::new(error.what, error.mend))
    })?;
    Ok(Some(keys))
}

/// What is to be done about the keys: what is wrong, what would mend it, and whether it is so already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNotice {
    /// What is wrong.
    pub what: String,
    /// What would mend it.
    pub mend: String,
    /// The period has no key; else it will be so soon.
    pub is_overdue: bool,
}

/// What is to be done about the keys at a time.
pub fn key_notice(keys: &PeriodKeys, now: OffsetDateTime) -> Option<KeyNotice> {
    let at = |time: OffsetDateTime| u64::try_from(time.unix_timestamp_nanos()).unwrap_or_default();
    let mend = |period| format!("add its key: 'vigie privacy key --period {period}' prints it where the master key is");
    if let Some(period) = keys.missing_at(at(now)) {
        let used = keys.at(at(now)).period();
        let what = format!("there is no key of {period}: pseudonyms are those of {used}");
        return Some(KeyNotice { what, mend: mend(period), is_overdue: true });
    }
    let next = keys.at(at(now)).period().next();
    let is_near = next.first_day() - now.date() <= Duration::days(NOTICE_DAYS);
    (is_near && keys.of(next).is_none()).then(|| KeyNotice {
        what: format!("{next} begins on {} and has no key", next.first_day()),
        mend: mend(next),
        is_overdue: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use time::macros::datetime;
    use vigie_config::{Layers, Machine, Source};
    use vigie_privacy::PeriodLength;

    fn load(folder: &std::path::Path, text: &str) -> Loaded {
        let path = folder.join("vigie.toml");
        fs::write(&path, text).unwrap();
        let (source, machine) = (Source::Path(path), Machine::detect());
        crate::policy::load_settings(Layers { source, environment: Vec::new(), flags: Vec::new(), machine }).unwrap()
    }

    fn keys_of(folder: &std::path::Path, text: &str) -> Result<Option<PeriodKeys>, String> {
        period_keys(&load(folder, text)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_key_is_read_if_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("period-key");
        fs::write(&file, format!("2026-11 {}\n", "5a".repeat(32))).unwrap();
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o400);
        assert!(keys_of(folder.path(), "").unwrap().is_none());
        let text = "[privacy]\npseudonyms = true\nkey_file = \"period-key\"\n";
        let keys = keys_of(folder.path(), text).unwrap().unwrap();
        assert_eq!(keys.periods().map(|period| period.to_string()).collect::<Vec<_>>(), ["2026-11"]);
        for wide in [0o644, 0o440, 0o420, 0o404] {
            mode(wide);
            let error = keys_of(folder.path(), text).unwrap_err();
            assert!(error.contains("vigie.toml:3: privacy.key_file") && error.contains("can be read"), "{error}");
            assert!(error.contains("; let only its owner read it") && !error.contains("5a5a"), "{error}");
        }
    }

    #[test]
    fn a_wrong_key_has_one_error_with_place_and_mend() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("period-key");
        let text = "[privacy]\npseudonyms = true\nkey_file = \"period-key\"\n";
        let error = keys_of(folder.path(), text).unwrap_err();
        assert!(error.contains("vigie.toml:3") && error.contains("does not exist"), "{error}");
        fs::write(&file, "\n2026-11 nonsense\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let error = keys_of(folder.path(), text).unwrap_err();
        assert!(error.contains("period-key:2: privacy.key_file: 2026-11 has no key"), "{error}");
        let text = "[privacy]\npseudonyms = true\n";
        let error = keys_of(folder.path(), text).unwrap_err();
        assert!(
            error.contains("vigie.toml:2: privacy.pseudonyms") && error.contains("set privacy.key_file"),
            "{error}"
        );
    }

    #[test]
    fn a_key_that_is_missing_or_will_be_is_told() {
        let text = format!("2026-11 {}\n", "5a".repeat(32));
        let keys = PeriodKeys::parse(&text, PeriodLength::Month).unwrap();
        let notice = |now| key_notice(&keys, now);
        assert_eq!(notice(datetime!(2026-11-23 23:59 UTC)), None);
        let soon = notice(datetime!(2026-11-24 00:00 UTC)).unwrap();
        assert_eq!(soon.what, "2026-12 begins on 2026-12-01 and has no key");
        assert!(!soon.is_overdue && soon.mend.contains("'vigie privacy key --period 2026-12'"), "{soon:?}");
        let overdue = notice(datetime!(2026-12-01 00:00 UTC)).unwrap();
        assert_eq!(overdue.what, "there is no key of 2026-12: pseudonyms are those of 2026-11");
        assert!(overdue.is_overdue);
        let both = format!("{text}2026-12 {}\n", "5b".repeat(32));
        let keys = PeriodKeys::parse(&both, PeriodLength::Month).unwrap();
        assert_eq!(key_notice(&keys, datetime!(2026-11-30 23:59 UTC)), None);
    }
}
