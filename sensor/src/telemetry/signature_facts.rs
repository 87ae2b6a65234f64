//! What metrics and readiness tell of the signatures in use.

use time::{Date, OffsetDateTime};
use vigie_signatures::Bundle;

/// Facts about the signatures in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFacts {
    /// Short digest of all rules.
    pub digest: String,
    /// Number of rules.
    pub rules: u64,
    /// Number of services.
    pub services: u64,
    /// Day of the newest review, in seconds since the epoch; `None` if there is no rule.
    pub newest_review: Option<i64>,
    /// Day of the oldest review, in the same form.
    pub oldest_review: Option<i64>,
}

impl SignatureFacts {
    /// The facts of a bundle.
    pub fn of(bundle: &Bundle) -> Self {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for rule in bundle.rules() {
            let id = rule.signature_id.to_string();
            let (kind, role, confidence) = (rule.kind.as_str(), rule.role.as_str(), rule.confidence.as_str());
            for word in [id.as_str(), &rule.service, kind, role, confidence, &rule.text, &rule.reviewed] {
                digest.update(word.as_bytes());
                digest.update(b"\0");
            }
        }
        let digest = digest.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self {
            digest,
            rules: bundle.len() as u64,
            services: bundle.services().len() as u64,
            newest_review: bundle.rules().iter().map(|rule| rule.reviewed.as_str()).max().and_then(day),
            oldest_review: bundle.oldest_review().and_then(day),
        }
    }
}

/// Midnight of a day written `YYYY-MM-DD`, in seconds since the epoch.
fn day(text: &str) -> Option<i64> {
    let date = Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok()?;
    Some(OffsetDateTime::new_utc(date, time::Time::MIDNIGHT).unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_signatures_have_different_digests() {
        let facts = SignatureFacts::of(&Bundle::builtin());
        assert_eq!(facts, SignatureFacts::of(&Bundle::builtin()));
        assert_eq!(facts.digest.len(), 12);
        assert!(facts.rules > 100 && facts.services > 10 && facts.oldest_review <= facts.newest_review);
        assert!(facts.oldest_review.unwrap() > 1_700_000_000);
        let options = vigie_signatures::LoadOptions { builtin: false, ..Default::default() };
        let (none, _) = Bundle::from_texts(&[], options).unwrap();
        assert_ne!(SignatureFacts::of(&none).digest, facts.digest);
        assert_eq!(SignatureFacts::of(&none).newest_review, None);
    }
}
