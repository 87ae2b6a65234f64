//! Signature matching: the rule that matches a host name or a server address. Names match on label boundaries only,
//! addresses by known prefixes. What is no host name is matched by what people read in it. Each rule says itself whether it may raise an alert alone.

mod odd_name;

use std::sync::Arc;

use vigie_signatures::{Bundle, Name, Rule, normalise};

use vigie_decode::Address;
pub use vigie_handshake::Evidence;

use crate::text::BoundedText;

/// Bytes of an odd name that are kept for its event.
const NAME_AS_SENT_BYTES_MAX: usize = 512;

/// A rule that matched a flow.
#[derive(Clone, Debug)]
pub struct Match {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What it matched on.
    pub evidence: Evidence,
    /// The name that matched, normalised; `None` if the address matched.
    pub name: Option<String>,
    /// What was sent, escaped, if it is no host name but reads as one.
    pub name_as_sent: Option<BoundedText>,
}

/// The result of matching a name.
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// A rule matches the name.
    Matched(Match),
    /// A host name that no rule matches.
    Unmatched,
    /// An address literal, or no valid host name. The true name stays as unknown as if none had been sent.
    NotAHostName,
}

/// Public names of providers, sent in clear text where the true name is encrypted (RFC 9849 §10.10.1).
const ECH_PUBLIC_NAMES: [&[u8]; 1] = [b"cloudflare-ech.com"];

/// Whether a server name is the public name of an ECH provider, so that the true name may be any other.
pub fn is_ech_public_name(name: &[u8]) -> bool {
    ECH_PUBLIC_NAMES.iter().any(|public| name.eq_ignore_ascii_case(public))
}

/// Matches a name that a flow showed.
pub fn match_name(bundle: &Bundle, raw: &[u8], evidence: Evidence) -> NameMatch {
    let mut buffer = [0; 256];
    match normalise(raw, &mut buffer) {
        Name::Host(host) => {
            let Some(rule) = bundle.name(host) else { return NameMatch::Unmatched };
            matched(rule, host.as_str(), evidence)
        }
        Name::IpLiteral(_) => NameMatch::NotAHostName,
        Name::NotAHostName => match_odd_name(bundle, raw, evidence),
    }
}

/// Matches a host name in normal form.
#[inline]
pub fn match_host(bundle: &Bundle, host: &str, evidence: Evidence) -> NameMatch {
    match bundle.name(host) {
        Some(rule) => matched(rule, host, evidence),
        None => NameMatch::Unmatched,
    }
}

#[cold]
fn matched(rule: &Arc<Rule>, host: &str, evidence: Evidence) -> NameMatch {
    let (rule, name) = (Arc::clone(rule), Some(host.to_owned()));
    NameMatch::Matched(Match { rule, evidence, name, name_as_sent: None })
}

/// Matches a name that is no host name by what people read in it.
#[cold]
fn match_odd_name(bundle: &Bundle, raw: &[u8], evidence: Evidence) -> NameMatch {
    let mut buffer = [0; 256];
    for name in odd_name::readings(raw) {
        if let Name::Host(host) = normalise(name.as_bytes(), &mut buffer)
            && let Some(rule) = bundle.name(host)
        {
            let (rule, name) = (Arc::clone(rule), Some(host.as_str().to_owned()));
            let name_as_sent = Some(BoundedText::escaped(raw, NAME_AS_SENT_BYTES_MAX));
            return NameMatch::Matched(Match { rule, evidence, name, name_as_sent });
        }
    }
    NameMatch::NotAHostName
}

/// Matches the address of a server.
pub fn match_address(bundle: &Bundle, server: Address) -> Option<Match> {
    bundle.address(server.ip()).map(|rule| Match {
        rule: Arc::clone(rule),
        evidence: Evidence::Prefix,
        name: None,
        name_as_sent: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigie_handshake::dns::{DnsName, Message};
    use vigie_signatures::{Name, normalise};

    fn label() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop::sample::select(vec![&b"xn--nxasmq6b"[..], b"XN--a", b"a b", b"a.b", b"1", b"10"]);
        let any = prop::collection::vec(any::<u8>(), 1..8);
        prop_oneof![4 => "[A-Za-z0-9_-]{1,20}".prop_map(String::into_bytes), 1 => odd.prop_map(<[u8]>::to_vec), 1 => any]
    }

    proptest! {
        #[test]
        fn a_plain_host_of_dns_is_in_normal_form(labels in prop::collection::vec(label(), 0..6)) {
            let mut message = vec![0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in &labels {
                message.push(label.len() as u8);
                message.extend(label);
            }
            message.extend([0, 0, 1, 0, 1]);
            let mut name = DnsName::new();
            Message::parse(&message).unwrap().question().unwrap().name.read(&mut name).unwrap();
            let mut buffer = [0; 256];
            let normal = normalise(name.as_str().as_bytes(), &mut buffer);
            if name.is_plain_host() {
                prop_assert!(matches!(normal, Name::Host(host) if host.as_str() == name.as_str()));
            }
            if labels.iter().all(|label| label.iter().all(u8::is_ascii_lowercase)) && !labels.is_empty() {
                prop_assert!(name.is_plain_host());
            }
        }
    }
}
