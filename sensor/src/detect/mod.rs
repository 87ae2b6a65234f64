//! Signature matching: the rule that matches a host name or a server address. Names match on label boundaries only,
//! addresses by known prefixes. Each rule says itself whether it may raise an alert alone.

use std::sync::Arc;

use vigie_signatures::{Bundle, Name, Rule, normalise};

use vigie_decode::Address;
pub use vigie_handshake::Evidence;

/// A rule that matched a flow.
#[derive(Clone, Debug)]
pub struct Match {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What it matched on.
    pub evidence: Evidence,
    /// The name that matched, normalised; `None` if the address matched.
    pub name: Option<String>,
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
        Name::Host(host) => match bundle.name(host) {
            Some(rule) => NameMatch::Matched(Match { rule: Arc::clone(rule), evidence, name: Some(host.to_owned()) }),
            None => NameMatch::Unmatched,
        },
        Name::IpLiteral(_) | Name::NotAHostName => NameMatch::NotAHostName,
    }
}

/// Matches the address of a server.
pub fn match_address(bundle: &Bundle, server: Address) -> Option<Match> {
    bundle.address(server.ip()).map(|rule| Match { rule: Arc::clone(rule), evidence: Evidence::Prefix, name: None })
}
