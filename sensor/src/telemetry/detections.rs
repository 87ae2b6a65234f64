//! What was found: alerts and incidents that were written, bytes of services, and how full judgement is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vigie_judgement::{IncidentChange, Step};
use vigie_signatures::{Bundle, MatchKind, Role, Rule, Verdict};

use super::shared::{Shared, locked};
use crate::detect::Evidence;

/// Series of [`MATCHES`](super::families::MATCHES); further services are counted as `other`.
pub const MATCH_SERIES_MAX: usize = 4_096;
/// Series that are shown before their first alert. The rest of [`MATCH_SERIES_MAX`] is left for alerts.
pub const EXPECTED_SERIES_MAX: usize = MATCH_SERIES_MAX / 2;
/// How a name can be seen, the most frequent first.
const NAME_EVIDENCE: [Evidence; 9] = [
    Evidence::TlsSni,
    Evidence::QuicSni,
    Evidence::Dns,
    Evidence::HttpHost,
    Evidence::TlsCertificate,
    Evidence::HttpConnect,
    Evidence::Socks,
    Evidence::DtlsSni,
    Evidence::ProxyAuthority,
];

/// What was found, as a scrape exports it.
#[derive(Debug, Default)]
pub(super) struct Detections {
    pub(super) matches: BTreeMap<MatchKey, u64>,
    pub(super) alerts: BTreeMap<(u8, Verdict), u64>,
    pub(super) incidents: BTreeMap<(u8, vigie_judgement::Verdict), u64>,
    /// In the order of [`INCIDENT_STATES`].
    pub(super) incident_records: [u64; 4],
    pub(super) incidents_open: usize,
    /// Devices of the asset list, and those of them that were seen this month.
    pub(super) assets: (usize, usize),
    /// By the setting of the limit.
    pub(super) judgement_limits: BTreeMap<&'static str, u64>,
    /// To clients and to servers, by service and region.
    pub(super) service_bytes: BTreeMap<(Arc<str>, &'static str), [u64; 2]>,
}

/// The limits of judgement, by their settings.
pub const LIMIT_SETTINGS: [&str; 6] = [
    "judgement.episodes_max",
    "judgement.incidents_max",
    "judgement.flows_max",
    "judgement.ordering_bytes_max",
    "judgement.waiting_bytes_max",
    "judgement.warned_max",
];

impl Detections {
    /// Nothing was found yet. Counters are there before their first event: else Prometheus sees no increase in it.
    pub fn at_0() -> Self {
        let verdicts = [vigie_judgement::Verdict::App, vigie_judgement::Verdict::Web];
        Self {
            incidents: (1..=3).flat_map(|severity| verdicts.map(|verdict| ((severity, verdict), 0))).collect(),
            judgement_limits: LIMIT_SETTINGS.map(|limit| (limit, 0)).into(),
            ..Self::default()
        }
    }
}

/// What becomes of incidents.
pub(super) const INCIDENT_STATES: [&str; 4] = ["opened", "risen", "continues", "closed"];

/// The labels of [`MATCHES`](super::families::MATCHES).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MatchKey {
    pub(super) service: String,
    pub(super) role: Role,
    pub(super) evidence: Evidence,
}

impl Shared {
    /// Alerts that were written.
    pub fn alerts_written_total(&self) -> u64 {
        locked(&self.detections).alerts.values().sum()
    }

    /// An incident changed.
    pub fn incident_changed(&self, change: &IncidentChange<'_>) {
        let mut detections = locked(&self.detections);
        let state = change.step.as_str();
        if let Some(place) = INCIDENT_STATES.iter().position(|known| *known == state)
            && let Some(count) = detections.incident_records.get_mut(place)
        {
            *count += 1;
        }
        if change.step == Step::Opened {
            let key = (change.incident.severity, change.incident.judgement.verdict());
            *detections.incidents.entry(key).or_default() += 1;
        }
    }

    /// What judgement holds, and how often its limits were reached, in the order of [`LIMIT_SETTINGS`].
    pub fn judgement(&self, incidents_open: usize, assets: (usize, usize), limits: [u64; LIMIT_SETTINGS.len()]) {
        let mut detections = locked(&self.detections);
        detections.incidents_open = incidents_open;
        detections.assets = assets;
        detections.judgement_limits.extend(LIMIT_SETTINGS.into_iter().zip(limits));
    }

    /// Bytes were exchanged with a service under a ban.
    pub fn service_bytes(&self, service: &Arc<str>, region: &'static str, to_client: u64, to_server: u64) {
        let mut detections = locked(&self.detections);
        let [all_to_client, all_to_server] = detections.service_bytes.entry((Arc::clone(service), region)).or_default();
        *all_to_client = all_to_client.saturating_add(to_client);
        *all_to_server = all_to_server.saturating_add(to_server);
    }

    /// An alert of this rule was written. `latency` is the time since its packet; `None` if packets do not have the time
    /// of the clock.
    pub fn alert_written(&self, rule: &Rule, evidence: Evidence, latency: Option<Duration>) {
        let mut detections = locked(&self.detections);
        *detections.alerts.entry((rule.severity(), rule.verdict())).or_default() += 1;
        let mut key = MatchKey { service: rule.service.clone(), role: rule.role, evidence };
        if detections.matches.len() >= MATCH_SERIES_MAX && !detections.matches.contains_key(&key) {
            "other".clone_into(&mut key.service);
        }
        *detections.matches.entry(key).or_default() += 1;
        drop(detections);
        if let Some(latency) = latency {
            self.latency.observe(latency.as_secs_f64());
        }
    }

    /// Shows the counts of the alerts that these signatures may raise, at 0. Prometheus sees no increase in a counter that
    /// appears with its first count, and so would miss the first use of a service.
    pub fn expect_matches(&self, bundle: &Bundle) {
        let mut named = BTreeSet::new();
        let mut addressed = BTreeSet::new();
        for rule in bundle.rules().iter().filter(|rule| rule.raises_alert()) {
            match rule.kind {
                MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => named.insert((&rule.service, rule.role)),
                MatchKind::Prefix => addressed.insert((&rule.service, rule.role)),
                // A fingerprint supports a name, and is no evidence by itself.
                MatchKind::Ja4 => false,
            };
        }
        // By evidence first: a bundle too large for the limit loses the rare kinds of evidence, not services.
        let names = NAME_EVIDENCE.into_iter().flat_map(|evidence| named.iter().map(move |of| (of, evidence)));
        let all = names.chain(addressed.iter().map(|of| (of, Evidence::Prefix)));
        let mut detections = locked(&self.detections);
        for (&(service, role), evidence) in all {
            if detections.matches.len() >= EXPECTED_SERIES_MAX {
                break;
            }
            detections.matches.entry(MatchKey { service: service.clone(), role, evidence }).or_default();
        }
        for service in bundle.services().iter().filter(|service| service.enabled) {
            detections.service_bytes.entry((service.key.as_str().into(), "")).or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_that_may_alert_is_counted_from_0_on() {
        let shared = Shared::new("s", &[], 1).unwrap();
        let bundle = Bundle::builtin();
        shared.expect_matches(&bundle);
        let rule = bundle.rules().iter().find(|rule| rule.service == "tiktok" && rule.raises_alert()).unwrap();
        shared.alert_written(rule, Evidence::QuicSni, None);
        // A reload keeps the counts.
        shared.expect_matches(&bundle);
        let detections = locked(&shared.detections);
        for rule in bundle.rules().iter().filter(|rule| rule.raises_alert() && rule.kind == MatchKind::Suffix) {
            let key = MatchKey { service: rule.service.clone(), role: rule.role, evidence: Evidence::TlsSni };
            assert_eq!(detections.matches.get(&key), Some(&0), "{key:?}");
        }
        assert_eq!(detections.matches.values().sum::<u64>(), 1);
        assert!(detections.matches.len() < EXPECTED_SERIES_MAX, "{}", detections.matches.len());
        let silent = bundle.rules().iter().filter(|rule| !rule.raises_alert());
        let may_alert =
            |service: &str| bundle.rules().iter().any(|rule| rule.service == service && rule.raises_alert());
        for rule in silent.filter(|rule| !may_alert(&rule.service)) {
            assert!(detections.matches.keys().all(|key| key.service != rule.service), "{}", rule.service);
        }
    }

    #[test]
    fn series_before_their_first_alert_are_bounded() {
        let shared = Shared::new("s", &[], 1).unwrap();
        let bundle = Bundle::builtin();
        let mut rule = (**bundle.rules().first().unwrap()).clone();
        for number in 0..EXPECTED_SERIES_MAX - 10 {
            rule.service = format!("service-{number}");
            shared.alert_written(&rule, Evidence::TlsSni, None);
        }
        shared.expect_matches(&bundle);
        assert_eq!(locked(&shared.detections).matches.len(), EXPECTED_SERIES_MAX);
    }

    #[test]
    fn series_of_matches_are_bounded() {
        let shared = Shared::new("s", &[], 1).unwrap();
        let bundle = Bundle::builtin();
        let mut rule = (**bundle.rules().first().unwrap()).clone();
        for number in 0..MATCH_SERIES_MAX + 100 {
            rule.service = format!("service-{number}");
            shared.alert_written(&rule, Evidence::TlsSni, None);
        }
        let detections = locked(&shared.detections);
        assert_eq!(detections.matches.len(), MATCH_SERIES_MAX + 1);
        let key = MatchKey { service: "other".to_owned(), role: rule.role, evidence: Evidence::TlsSni };
        assert_eq!(detections.matches.get(&key), Some(&100));
    }
}
