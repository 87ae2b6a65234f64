//! What a starting or reloading sensor warns of: its policy on this day, and what the law asks of its operator.

use time::OffsetDateTime;

use crate::policy::{LoadedPolicy, zone};
use crate::privacy::{KeyNotice, Privacy, key_notice};
use crate::settings::Settings;

/// All of it, a line each.
pub(super) fn warnings(
    settings: &Settings,
    loaded: &LoadedPolicy,
    privacy: &Privacy,
    now: OffsetDateTime,
) -> Vec<String> {
    let today = zone(&loaded.policy).day_at(u64::try_from(now.unix_timestamp_nanos()).unwrap_or_default());
    let mut lines: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    lines.extend(loaded.policy.notices(today).iter().map(ToString::to_string));
    let notice = privacy.keys().and_then(|keys| key_notice(keys, now));
    lines.extend(notice.map(|KeyNotice { what, mend, .. }| format!("{what}; {mend}")));
    let missing = settings.privacy.missing();
    if !missing.is_empty() {
        lines.push(format!("not set: {}; the sensor observes people: set them when it is done", missing.join(", ")));
    }
    let refused = settings.records_refused(now.date());
    if !refused.is_empty() {
        let words: Vec<&str> = refused.iter().map(|record| record.as_str()).collect();
        let mend = "remove them from events.types, or set privacy.debug_until to a day to come";
        lines.push(format!("{} are not written, since they record the traffic of everybody; {mend}", words.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Record;
    use time::macros::{date, datetime};
    use vigie_config::Day;
    use vigie_judgement::policy::Policy;

    #[test]
    fn it_warns_until_the_law_is_met_and_debugging_has_ended() {
        let policy = LoadedPolicy { policy: Policy::builtin(), warnings: Vec::new() };
        let mut settings = Settings::default();
        settings.events.types = vec![Record::Tls, Record::Stats, Record::Flow];
        settings.privacy.debug_until = Some(Day(date!(2026 - 11 - 27)));
        settings.privacy.notice_date = Some(Day(date!(2026 - 01 - 01)));
        let lines = |settings: &Settings, now| warnings(settings, &policy, &Privacy::default(), now);
        let at_end = lines(&settings, datetime!(2026-11-27 23:59 UTC));
        assert_eq!(at_end.len(), 1);
        assert!(at_end[0].contains("privacy.dpia_reference, privacy.staff_consultation_date"), "{at_end:?}");
        settings.privacy.dpia_reference = Some("DPIA-7".to_owned());
        settings.privacy.staff_consultation_date = Some(Day(date!(2026 - 01 - 02)));
        assert_eq!(lines(&settings, datetime!(2026-11-27 23:59 UTC)), [""; 0]);
        let past = lines(&settings, datetime!(2026-11-28 00:00 UTC));
        assert!(past.len() == 1 && past[0].starts_with("tls, flow are not written"), "{past:?}");
    }
}
