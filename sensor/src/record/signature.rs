//! A rule as the journal writes it, and the text of its signature.

use vigie_journal::record;
use vigie_signatures::Rule;

/// The rule as the journal writes it; `text` is its [`signature_text`].
pub fn record<'a>(rule: &'a Rule, text: &'a str) -> record::Signature<'a> {
    record::Signature {
        id: rule.signature_id,
        text,
        severity: rule.severity(),
        service: &rule.service,
        service_name: &rule.service_name,
        role: rule.role.as_str(),
        class: rule.class.as_str(),
        family: &rule.family,
        verdict: rule.verdict().as_str(),
        confidence: rule.confidence.as_str(),
        match_kind: rule.kind.as_str(),
        rule: &rule.text,
        sources: &rule.sources,
        reviewed: &rule.reviewed,
    }
}

/// The text of a signature. It depends on the signature id and on nothing else.
pub fn signature_text(rule: &Rule) -> String {
    ["vigie ", rule.service_name.as_str(), ": ", rule.phrase()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::rule;
    use vigie_signatures::{Class, Confidence, MatchKind, Role, signature_id};

    #[test]
    fn each_signature_has_a_text_of_its_own() {
        let text = |kind, class| {
            signature_text(&Rule { kind, signature_id: signature_id(8_100_000, kind, class), class, ..rule() })
        };
        let texts: std::collections::BTreeSet<_> = [MatchKind::Suffix, MatchKind::Prefix]
            .into_iter()
            .flat_map(|kind| Class::ALL.iter().map(move |&class| text(kind, class)))
            .chain([text(MatchKind::Ja4, Class::Native)])
            .collect();
        assert_eq!(texts.len(), 2 * Class::ALL.len() + 1);
        assert_eq!(text(MatchKind::Prefix, Class::Native), "vigie TikTok: server address contacted (app-only)");
        assert_eq!(text(MatchKind::Prefix, Class::Infra), "vigie TikTok: server address contacted");
        // Role, confidence and what matched do not enter: they differ between alerts of one signature id.
        let other = Rule { role: Role::Cdn, confidence: Confidence::Low, text: "x".to_owned(), ..rule() };
        assert_eq!(signature_text(&other), signature_text(&rule()));
        assert_eq!(text(MatchKind::Exact, Class::Site), text(MatchKind::Pattern, Class::Site));
    }
}
