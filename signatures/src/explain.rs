//! Why a name, an address or a fingerprint is recognised, and why not.
//!
//! For people: it looks further than the look-ups on the packet's way do, and allocates.

mod brands;

use std::fmt;
use std::sync::Arc;

pub(crate) use brands::Brands;

use crate::bundle::Bundle;
use crate::lookup::Near;
use crate::normalise::{Name, normalise};
use crate::parse::is_ja4;
use crate::rule::Rule;

/// Near misses told at most.
const NEAR_MAX: usize = 8;

/// What was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryKind {
    /// A host name.
    Host,
    /// An address.
    Address,
    /// A JA4 fingerprint.
    Ja4,
    /// None of these.
    NotAHostName,
}

impl QueryKind {
    /// The word as written in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Address => "address",
            Self::Ja4 => "ja4",
            Self::NotAHostName => "not-a-host-name",
        }
    }
}

impl fmt::Display for QueryKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The answer to a question about a name, an address or a fingerprint.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// As asked.
    pub query: String,
    /// In the form in which rules are written.
    pub normalised: String,
    /// What was asked about.
    pub kind: QueryKind,
    /// The rule that answers.
    pub rule: Option<Arc<Rule>>,
    /// Would the rule raise an alert by itself?
    pub alerts: bool,
    /// Why it would not.
    pub why: Option<String>,
    /// What the rule's author wrote beside it.
    pub note: Option<String>,
    /// Rules that nearly answer, or answer elsewhere, and what keeps them from it.
    pub near: Vec<(Arc<Rule>, String)>,
}

impl Bundle {
    /// Explains which rule answers, and what keeps others from it.
    pub fn explain(&self, query: &str) -> Explanation {
        let mut buffer = [0; 256];
        let trimmed = query.trim();
        let lower = trimmed.to_ascii_lowercase();
        if is_ja4(&lower) {
            let rule = self.ja4(&lower);
            return self.explanation(query, &lower, QueryKind::Ja4, rule, Vec::new());
        }
        match normalise(trimmed.as_bytes(), &mut buffer) {
            Name::Host(name) => self.explain_name(query, name.as_str()),
            Name::IpLiteral(address) => {
                self.explanation(query, &address.to_string(), QueryKind::Address, self.address(address), Vec::new())
            }
            Name::NotAHostName => self.explanation(query, trimmed, QueryKind::NotAHostName, None, Vec::new()),
        }
    }

    fn explain_name(&self, query: &str, name: &str) -> Explanation {
        let on_flow = self.name(name);
        let in_dns = self.dns_name(name);
        let mut near = Vec::new();
        match (on_flow, in_dns) {
            (Some(flow), Some(dns)) if !Arc::ptr_eq(flow, dns) => {
                near.push((Arc::clone(dns), "answers instead where the name stands in a DNS answer".to_owned()));
            }
            (None, None) => self.near_misses(name, &mut near),
            _ => {}
        }
        self.explanation(query, name, QueryKind::Host, on_flow.or(in_dns), near)
    }

    /// The service whose main name is resembled, rules that the name misses narrowly, or else the service whose word it
    /// contains.
    fn near_misses(&self, name: &str, near: &mut Vec<(Arc<Rule>, String)>) {
        let brands = self.brands.get_or_init(|| Brands::new(&self.rules));
        if let Some((likeness, rule)) = brands.find_similar(name)
            && let Some(rule) = self.rule(rule)
        {
            near.push((Arc::clone(rule), likeness.told(&rule.text)));
            return;
        }
        for (number, miss) in self.names.near(name).take(NEAR_MAX) {
            let Some(rule) = self.rule(number) else { continue };
            let told = match miss {
                Near::OffLabelBoundary => {
                    format!("the name ends in the text of {} {} but not on a label boundary", rule.kind, rule.text)
                }
                Near::BelowExact => format!("the name stands below {}, which is matched whole only", rule.text),
            };
            near.push((Arc::clone(rule), told));
        }
        if near.is_empty()
            && let Some((word, rule)) = brands.find(name)
            && let Some(rule) = self.rule(rule)
        {
            let told =
                format!("the name contains \"{word}\", yet no signature says that it belongs to {}", rule.service_name);
            near.push((Arc::clone(rule), told));
        }
    }

    fn explanation(
        &self,
        query: &str,
        normalised: &str,
        kind: QueryKind,
        rule: Option<&Arc<Rule>>,
        near: Vec<(Arc<Rule>, String)>,
    ) -> Explanation {
        let why = match (rule, kind) {
            (Some(rule), _) => rule.why_no_alert(),
            (None, QueryKind::NotAHostName) => Some("it is neither a host name nor an address nor a JA4 fingerprint"),
            (None, _) => Some("no signature answers for it"),
        };
        Explanation {
            query: query.to_owned(),
            normalised: normalised.to_owned(),
            kind,
            rule: rule.cloned(),
            alerts: rule.is_some() && why.is_none(),
            why: why.map(str::to_owned),
            note: rule.and_then(|rule| self.note(rule)).map(str::to_owned),
            near,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(explanation: &Explanation) -> Option<&str> {
        explanation.rule.as_ref().map(|rule| rule.text.as_str())
    }

    #[test]
    fn names_that_answer() {
        let bundle = Bundle::builtin();
        let told = bundle.explain(" WWW.TikTok.com. ");
        assert_eq!((told.normalised.as_str(), told.kind, told.alerts), ("www.tiktok.com", QueryKind::Host, true));
        assert_eq!((text_of(&told).is_some(), told.why.as_deref()), (true, None));
        let told = bundle.explain("tiktok.com");
        assert_eq!(text_of(&told), Some("tiktok.com"));
        assert!(told.note.is_some());
        let told = bundle.explain("fast.com");
        assert_eq!((told.alerts, told.why.as_deref()), (false, Some("its signature says alert = false")));
    }

    #[test]
    fn near_misses_are_told() {
        let bundle = Bundle::builtin();
        let told = bundle.explain("mytiktok.com");
        assert!(told.rule.is_none() && !told.alerts);
        assert!(told.near[0].1.contains("not on a label boundary"), "{:?}", told.near);
        let told = bundle.explain("tiktok-downloader.example");
        assert_eq!(told.near[0].0.service, "tiktok");
        assert!(told.near[0].1.contains("contains \"tiktok\""));
        for (query, likeness) in [
            ("www.tikток.com", "looks like tiktok.com, but has the letters т (U+0442), о (U+043E), к (U+043A)"),
            (&idna::domain_to_ascii("tikтok.com").unwrap(), "looks like tiktok.com, but has the letters т (U+0442)"),
            ("tikttok.com", "is spelled almost like tiktok.com"),
            ("tik-tok.com", "is spelled almost like tiktok.com"),
            ("www.tïktok.com", "is spelled almost like tiktok.com"),
        ] {
            let told = bundle.explain(query);
            assert!(told.rule.is_none() && told.near.len() == 1, "{query}: {:?}", told.near);
            assert!(told.near[0].1.contains(likeness), "{query}: {:?}", told.near);
            assert_eq!(told.near[0].0.text, "tiktok.com", "{query}");
        }
        let told = bundle.explain("example.org");
        assert_eq!((told.near.len(), told.why.as_deref()), (0, Some("no signature answers for it")));
    }

    #[test]
    fn names_of_dns_answers_do_not_alert() {
        let told = Bundle::builtin().explain("tiktok.com.edgekey.net");
        assert_eq!((text_of(&told), told.alerts), (Some("tiktok.com.edgekey.net"), false));
        assert!(told.why.is_some_and(|why| why.contains("DNS")));
    }

    #[test]
    fn addresses_fingerprints_and_rubbish() {
        let bundle = Bundle::builtin();
        let told = bundle.explain("34.102.215.99");
        assert_eq!((told.kind, told.alerts), (QueryKind::Address, false));
        assert_eq!(told.rule.map(|rule| rule.service.clone()).as_deref(), Some("bytedance-infra"));
        assert_eq!(bundle.explain("192.0.2.1").why.as_deref(), Some("no signature answers for it"));
        let told = bundle.explain("t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!((told.kind, told.alerts, told.rule.is_some()), (QueryKind::Ja4, false, true));
        let told = bundle.explain("T13D1516H2_8DAAF6152771_E5627EFA2AB1");
        assert_eq!((told.kind, told.rule.is_some()), (QueryKind::Ja4, true));
        for rubbish in ["", "https://tiktok.com/", "a b", "*.tiktok.com", "tiktok.com:443"] {
            assert_eq!(bundle.explain(rubbish).kind, QueryKind::NotAHostName, "{rubbish}");
        }
    }
}
