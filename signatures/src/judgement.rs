//! What a rule is worth: its verdict, its severity, and whether it may raise an alert by itself.
//!
//! Judges one rule alone; scopes, derogations and bans are judged elsewhere.

use crate::rule::{Confidence, MatchKind, Role, Rule, Signal, Verdict};

/// Ids of one service: `base` to `base + 99`.
pub const SERVICE_IDS: u32 = 100;
/// Where the ids of address rules begin within a service's ids.
const PREFIX_PLACES: u32 = 20;
/// The one place of fingerprints.
const JA4_PLACE: u32 = 40;
/// Added to the place of a rule that says `alert = false`.
const SILENT_PLACES: u32 = 50;

/// Place of a rule among its service's ids, as documented in README.md; never to be changed.
pub(crate) const fn place(kind: MatchKind, signal: Signal, alert: bool) -> u32 {
    let place = match kind {
        MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => signal_place(signal),
        MatchKind::Prefix => PREFIX_PLACES + signal_place(signal),
        MatchKind::Ja4 => JA4_PLACE,
    };
    if alert { place } else { place + SILENT_PLACES }
}

const fn signal_place(signal: Signal) -> u32 {
    match signal {
        Signal::AppOnly => 1,
        Signal::AppLikely => 2,
        Signal::Shared => 3,
        Signal::AppOrWebPlayback => 4,
        Signal::Web => 5,
        Signal::Embed => 6,
        Signal::ThirdPartySdk => 7,
        Signal::ThirdPartyCloud => 8,
        Signal::AdsPortal => 9,
        Signal::Ads => 10,
        Signal::Corporate => 11,
        Signal::DnsCname => 12,
        Signal::Unknown => 13,
    }
}

impl Rule {
    /// What a match says about the device.
    pub const fn verdict(&self) -> Verdict {
        if matches!(self.kind, MatchKind::Prefix | MatchKind::Ja4) {
            return Verdict::Undetermined;
        }
        match self.signal {
            Signal::AppOnly | Signal::AppLikely => Verdict::App,
            Signal::Web | Signal::AdsPortal => Verdict::Web,
            Signal::Embed | Signal::ThirdPartySdk => Verdict::Embed,
            Signal::Shared
            | Signal::AppOrWebPlayback
            | Signal::ThirdPartyCloud
            | Signal::Ads
            | Signal::Corporate
            | Signal::DnsCname
            | Signal::Unknown => Verdict::Undetermined,
        }
    }

    /// Severity as Suricata counts it: 1 is high, 3 is low.
    pub const fn severity(&self) -> u8 {
        if matches!(self.kind, MatchKind::Prefix | MatchKind::Ja4) || !self.raises_alert() {
            return 3;
        }
        match (self.signal, self.confidence) {
            (Signal::AppOnly, _) | (Signal::AppLikely, Confidence::High) => 1,
            (Signal::Embed | Signal::ThirdPartySdk | Signal::Unknown, _) => 3,
            _ => 2,
        }
    }

    /// May a match raise an alert with nothing else beside it?
    pub const fn raises_alert(&self) -> bool {
        self.why_no_alert().is_none()
    }

    /// Did the file say `alert = false`? It stands in the id, so that events and exports tell it too.
    pub const fn is_silent(&self) -> bool {
        self.signature_id % SERVICE_IDS >= SILENT_PLACES
    }

    /// Why a match raises no alert by itself, if it does not.
    pub const fn why_no_alert(&self) -> Option<&'static str> {
        if self.is_silent() {
            return Some("its signature says alert = false");
        }
        if matches!(self.kind, MatchKind::Ja4) {
            return Some("unrelated programs share a fingerprint: it only supports a name or an address");
        }
        if matches!(self.confidence, Confidence::Low) {
            return Some("confidence is low: ownership is not verified");
        }
        match self.signal {
            Signal::ThirdPartyCloud => return Some("a public cloud's customers stand behind it"),
            Signal::Corporate => return Some("it serves the company's staff and tests"),
            Signal::DnsCname => return Some("it only appears in DNS answers"),
            Signal::Ads => return Some("it only serves advertisements"),
            _ => {}
        }
        if matches!(self.kind, MatchKind::Prefix) {
            return match self.confidence {
                Confidence::High => None,
                _ => Some("an address range needs high confidence to raise an alert"),
            };
        }
        match self.role {
            Role::Infra => Some("infrastructure that services share never raises an alert by itself"),
            Role::Dev => Some("it is for developers"),
            Role::Corporate => Some("it is the company's own site"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: MatchKind, role: Role, signal: Signal, confidence: Confidence, alert: bool) -> Rule {
        Rule {
            signature_id: 7_100_100 + place(kind, signal, alert),
            service: "tiktok".into(),
            service_name: "TikTok".into(),
            role,
            signal,
            confidence,
            kind,
            text: "tiktok.com".into(),
            asn: None,
            sources: vec!["test".into()],
            reviewed: "2026-11-21".into(),
            file: "test.toml".into(),
            line: 1,
        }
    }

    #[test]
    fn ids_are_stable_and_apart() {
        assert_eq!(place(MatchKind::Suffix, Signal::AppOnly, true), 1);
        assert_eq!(place(MatchKind::Exact, Signal::Unknown, true), 13);
        assert_eq!(place(MatchKind::Prefix, Signal::Unknown, true), 33);
        assert_eq!(place(MatchKind::Ja4, Signal::AppLikely, true), 40);
        let mut seen = std::collections::HashSet::new();
        for kind in [MatchKind::Suffix, MatchKind::Prefix] {
            for signal in Signal::ALL {
                for alert in [true, false] {
                    let place = place(kind, *signal, alert);
                    assert!(place < SERVICE_IDS && seen.insert(place), "{kind} {signal} {alert}");
                }
            }
        }
    }

    #[test]
    fn a_silent_rule_raises_nothing() {
        for kind in MatchKind::ALL {
            for signal in Signal::ALL {
                assert!(!rule(*kind, Role::AppApi, *signal, Confidence::High, false).raises_alert());
            }
        }
    }

    #[test]
    fn signals_give_their_verdicts() {
        let judged = |role, signal, confidence| {
            let rule = rule(MatchKind::Suffix, role, signal, confidence, true);
            (rule.verdict(), rule.severity(), rule.raises_alert())
        };
        use Confidence::{High, Low, Medium};
        assert_eq!(judged(Role::AppApi, Signal::AppOnly, Medium), (Verdict::App, 1, true));
        assert_eq!(judged(Role::AppApi, Signal::AppLikely, High), (Verdict::App, 1, true));
        assert_eq!(judged(Role::AppApi, Signal::AppLikely, Medium), (Verdict::App, 2, true));
        assert_eq!(judged(Role::Web, Signal::Shared, High), (Verdict::Undetermined, 2, true));
        assert_eq!(judged(Role::Cdn, Signal::AppOrWebPlayback, High), (Verdict::Undetermined, 2, true));
        assert_eq!(judged(Role::Web, Signal::Web, High), (Verdict::Web, 2, true));
        assert_eq!(judged(Role::Web, Signal::AdsPortal, High), (Verdict::Web, 2, true));
        assert_eq!(judged(Role::Embed, Signal::Embed, High), (Verdict::Embed, 3, true));
        assert_eq!(judged(Role::AdsSdk, Signal::ThirdPartySdk, High), (Verdict::Embed, 3, true));
        assert_eq!(judged(Role::Web, Signal::Unknown, Medium), (Verdict::Undetermined, 3, true));
        assert_eq!(judged(Role::Infra, Signal::Unknown, High), (Verdict::Undetermined, 3, false));
        assert_eq!(judged(Role::AppApi, Signal::AppOnly, Low), (Verdict::App, 3, false));
        for signal in [Signal::ThirdPartyCloud, Signal::Corporate, Signal::DnsCname, Signal::Ads] {
            assert_eq!(judged(Role::Cdn, signal, High), (Verdict::Undetermined, 3, false));
        }
        for role in [Role::Infra, Role::Dev, Role::Corporate] {
            assert!(!judged(role, Signal::Web, High).2);
        }
    }

    #[test]
    fn an_own_network_is_weak_evidence() {
        let own = rule(MatchKind::Prefix, Role::Infra, Signal::Unknown, Confidence::High, true);
        assert_eq!((own.verdict(), own.severity(), own.raises_alert()), (Verdict::Undetermined, 3, true));
        assert!(!rule(MatchKind::Prefix, Role::Infra, Signal::Unknown, Confidence::Medium, true).raises_alert());
        assert!(!rule(MatchKind::Prefix, Role::Infra, Signal::ThirdPartyCloud, Confidence::High, true).raises_alert());
        assert!(!rule(MatchKind::Ja4, Role::AppApi, Signal::AppOnly, Confidence::High, true).raises_alert());
    }
}
