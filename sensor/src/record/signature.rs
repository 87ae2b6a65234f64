//! A rule as the journal writes it, and the text of its signature.

use vigie_journal::record;
use vigie_signatures::{MatchKind, Rule, Signal};

/// The rule as the journal writes it; `text` is its [`signature_text`].
pub fn record<'a>(rule: &'a Rule, text: &'a str) -> record::Signature<'a> {
    record::Signature {
        id: rule.signature_id,
        text,
        severity: rule.severity(),
        service: &rule.service,
        service_name: &rule.service_name,
        role: rule.role.as_str(),
        signal: rule.signal.as_str(),
        verdict: rule.verdict().as_str(),
        confidence: rule.confidence.as_str(),
        match_kind: rule.kind.as_str(),
        rule: &rule.text,
        sources: &rule.sources,
        reviewed: &rule.reviewed,
    }
}

/// The text of a signature. Like the signature id it depends on the service, the signal and on whether a name, an
/// address or a fingerprint matched, and on nothing else.
pub fn signature_text(rule: &Rule) -> String {
    signature_parts(rule).concat()
}

fn signature_parts(rule: &Rule) -> [&str; 5] {
    let service = rule.service_name.as_str();
    match rule.kind {
        MatchKind::Exact | MatchKind::Pattern | MatchKind::Suffix => {
            ["vigie ", service, ": ", name_phrase(rule.signal), ""]
        }
        MatchKind::Prefix => match rule.signal {
            Signal::Unknown => ["vigie ", service, ": server address contacted", "", ""],
            signal => ["vigie ", service, ": server address contacted (", signal.as_str(), ")"],
        },
        MatchKind::Ja4 => ["vigie ", service, ": client fingerprint", "", ""],
    }
}

/// What contacting a name means, for the reader of an alert.
const fn name_phrase(signal: Signal) -> &'static str {
    match signal {
        Signal::AppOnly => "app in use",
        Signal::AppLikely => "app probably in use",
        Signal::Shared => "app in use or site visited",
        Signal::AppOrWebPlayback => "media played in app or browser",
        Signal::Web => "site visited",
        Signal::Embed => "embedded in another page",
        Signal::ThirdPartySdk => "SDK inside another app",
        Signal::ThirdPartyCloud => "cloud used by a third party",
        Signal::AdsPortal => "advertiser or seller portal",
        Signal::Ads => "advertising",
        Signal::Corporate => "company's own staff or tests",
        Signal::DnsCname => "name seen in a DNS chain",
        Signal::Unknown => "contacted, use unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::rule;
    use vigie_signatures::{Confidence, Role};

    #[test]
    fn each_signature_has_a_text_of_its_own() {
        let text = |kind, signal| signature_text(&Rule { kind, signal, ..rule() });
        let texts: std::collections::BTreeSet<_> = [MatchKind::Suffix, MatchKind::Prefix]
            .into_iter()
            .flat_map(|kind| Signal::ALL.iter().map(move |&signal| text(kind, signal)))
            .chain([text(MatchKind::Ja4, Signal::AppOnly)])
            .collect();
        assert_eq!(texts.len(), 2 * Signal::ALL.len() + 1);
        assert_eq!(text(MatchKind::Prefix, Signal::AppOnly), "vigie TikTok: server address contacted (app-only)");
        // Role, confidence and what matched do not enter: they differ between alerts of one signature id.
        let other = Rule { role: Role::Cdn, confidence: Confidence::Low, text: "x".to_owned(), ..rule() };
        assert_eq!(signature_text(&other), signature_text(&rule()));
        assert_eq!(text(MatchKind::Exact, Signal::Web), text(MatchKind::Pattern, Signal::Web));
    }
}
