//! What one rule is worth alone: its verdict, its severity, and whether it may raise an alert.
//!
//! Verdicts over sets of names, scopes, derogations and bans are judged elsewhere.

use crate::id;
use crate::rule::Rule;
use crate::words::{Confidence, MatchKind, Role, Verdict};

impl Rule {
    /// What a match says about the device, seen alone.
    pub const fn verdict(&self) -> Verdict {
        match self.kind {
            MatchKind::Prefix | MatchKind::Ja4 => Verdict::Undetermined,
            MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => self.place().verdict,
        }
    }

    /// Severity as Suricata counts it: 1 is high, 3 is low.
    pub const fn severity(&self) -> u8 {
        if matches!(self.kind, MatchKind::Prefix | MatchKind::Ja4) || !self.raises_alert() {
            return 3;
        }
        match (self.place().number, self.confidence) {
            (id::APP_ONLY, _) | (id::APP_LIKELY, Confidence::High) => 1,
            (id::EMBED | id::SDK | id::UNKNOWN.., _) => 3,
            _ => 2,
        }
    }

    /// May a match raise an alert with nothing else beside it?
    pub const fn raises_alert(&self) -> bool {
        self.why_no_alert().is_none()
    }

    /// Why a match raises no alert by itself, if it does not.
    pub const fn why_no_alert(&self) -> Option<&'static str> {
        if self.is_silent() {
            return Some("its signature says alert = false");
        }
        if !self.alone {
            return Some("it only supports other names: its signature says alone = false");
        }
        if matches!(self.kind, MatchKind::Ja4) {
            return Some("unrelated programs share a fingerprint: it only supports a name or an address");
        }
        if matches!(self.confidence, Confidence::Low) {
            return Some("confidence is low: ownership is not verified");
        }
        match self.place().number {
            id::CLOUD => return Some("a public cloud's customers stand behind it"),
            id::CORP => return Some("it serves the company's staff and tests"),
            id::CNAME => return Some("it only appears in DNS answers"),
            id::ADVERTISING => return Some("it only serves advertisements"),
            id::PORTAL => return Some("whoever reads help or news does not use the service"),
            id::LINK => return Some("a short link alone may be a messenger's preview"),
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
    use crate::words::Class;

    fn rule(kind: MatchKind, role: Role, class: Class, confidence: Confidence) -> Rule {
        at_place(kind, role, class, id::default_place(class), confidence, true)
    }

    fn at_place(kind: MatchKind, role: Role, class: Class, place: u32, confidence: Confidence, alert: bool) -> Rule {
        Rule {
            signature_id: 7_100_100 + id::offset(kind, place, alert),
            service: "tiktok".into(),
            service_name: "TikTok".into(),
            role,
            class,
            family: class.default_family().into(),
            traits: Vec::new(),
            alone: true,
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
    fn a_silent_rule_raises_nothing() {
        for kind in MatchKind::ALL {
            for class in Class::ALL {
                let place = id::default_place(*class);
                let silent = at_place(*kind, Role::AppApi, *class, place, Confidence::High, false);
                assert!(!silent.raises_alert());
            }
        }
    }

    #[test]
    fn a_rule_that_only_supports_others_raises_nothing() {
        let rule = rule(MatchKind::Suffix, Role::AppApi, Class::Native, Confidence::High);
        assert!(rule.raises_alert());
        assert!(!Rule { alone: false, ..rule }.raises_alert());
    }

    #[test]
    fn classes_give_their_verdicts() {
        let judged = |role, class, confidence| {
            let rule = rule(MatchKind::Suffix, role, class, confidence);
            (rule.verdict(), rule.severity(), rule.raises_alert())
        };
        use Confidence::{High, Low, Medium};
        assert_eq!(judged(Role::AppApi, Class::Native, Medium), (Verdict::App, 1, true));
        assert_eq!(judged(Role::AppApi, Class::NativeLikely, High), (Verdict::App, 1, true));
        assert_eq!(judged(Role::AppApi, Class::NativeLikely, Medium), (Verdict::App, 2, true));
        assert_eq!(judged(Role::Web, Class::Page, High), (Verdict::Undetermined, 3, true));
        assert_eq!(judged(Role::Cdn, Class::Media, High), (Verdict::Undetermined, 2, true));
        assert_eq!(judged(Role::Web, Class::Site, High), (Verdict::Web, 2, true));
        assert_eq!(judged(Role::Web, Class::Console, High), (Verdict::Web, 2, true));
        assert_eq!(judged(Role::Embed, Class::Pixel, High), (Verdict::Embed, 3, true));
        assert_eq!(judged(Role::AdsSdk, Class::Sdk, High), (Verdict::Embed, 3, true));
        assert_eq!(judged(Role::Web, Class::Infra, Medium), (Verdict::Undetermined, 3, true));
        assert_eq!(judged(Role::Infra, Class::Infra, High), (Verdict::Undetermined, 3, false));
        assert_eq!(judged(Role::AppApi, Class::Native, Low), (Verdict::App, 3, false));
        assert_eq!(judged(Role::Web, Class::Portal, High), (Verdict::Web, 3, false));
        assert_eq!(judged(Role::Web, Class::Link, High), (Verdict::Embed, 3, false));
        for class in [Class::Cloud, Class::Corp, Class::Cname] {
            assert_eq!(judged(Role::Cdn, class, High), (Verdict::Undetermined, 3, false));
        }
        for role in [Role::Infra, Role::Dev, Role::Corporate] {
            assert!(!judged(role, Class::Site, High).2);
        }
    }

    #[test]
    fn a_rule_that_keeps_an_older_place_says_what_that_place_says() {
        let judged = |class, place| {
            let rule = at_place(MatchKind::Suffix, Role::Web, class, place, Confidence::High, true);
            (rule.verdict(), rule.severity(), rule.raises_alert())
        };
        assert_eq!(judged(Class::Site, id::SHARED), (Verdict::Undetermined, 2, true));
        assert_eq!(judged(Class::Site, id::UNKNOWN), (Verdict::Undetermined, 3, true));
        assert_eq!(judged(Class::Page, id::EMBED), (Verdict::Embed, 3, true));
        assert_eq!(judged(Class::Pixel, id::ADVERTISING), (Verdict::Undetermined, 3, false));
    }

    #[test]
    fn an_own_network_is_weak_evidence() {
        let of = |role, class, confidence| rule(MatchKind::Prefix, role, class, confidence);
        for class in [Class::Infra, Class::Resolver] {
            let own = of(Role::Infra, class, Confidence::High);
            assert_eq!((own.verdict(), own.severity(), own.raises_alert()), (Verdict::Undetermined, 3, true));
        }
        assert!(!of(Role::Infra, Class::Infra, Confidence::Medium).raises_alert());
        assert!(!of(Role::Infra, Class::Cloud, Confidence::High).raises_alert());
        assert!(!rule(MatchKind::Ja4, Role::AppApi, Class::Native, Confidence::High).raises_alert());
    }
}
