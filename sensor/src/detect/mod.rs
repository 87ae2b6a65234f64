//! From what a flow said to the rule that answers for it. Only names on label boundaries and known prefixes count;
//! whether a rule may alert by itself is the rule's own word.

use std::sync::Arc;

use vigie_signatures::{Bundle, Name, Rule, normalise};

use vigie_decode::Address;
pub use vigie_handshake::Evidence;

/// A rule that answers for a flow.
#[derive(Clone, Debug)]
pub struct Match {
    /// The rule.
    pub rule: Arc<Rule>,
    /// By what.
    pub evidence: Evidence,
    /// The name that matched, normalised; `None` for an address.
    pub name: Option<String>,
}

/// What a name says.
#[derive(Clone, Debug)]
pub enum Judged {
    /// A rule answers.
    Matched(Match),
    /// A host name that no rule answers for.
    Unmatched,
    /// An address literal, or nothing that could be a host name: it hides the name as much as its absence would.
    NotAHostName,
}

/// Public names of providers that stand in clear where the true name is encrypted (RFC 9849 §10.10.1).
const ECH_PUBLIC_NAMES: [&[u8]; 1] = [b"cloudflare-ech.com"];

/// Whether a server name is one behind which any other may be hidden.
pub fn hides_another(name: &[u8]) -> bool {
    ECH_PUBLIC_NAMES.iter().any(|public| name.eq_ignore_ascii_case(public))
}

/// The rule that answers for a name seen on a flow.
pub fn by_name(bundle: &Bundle, raw: &[u8], evidence: Evidence) -> Judged {
    let mut buffer = [0; 256];
    match normalise(raw, &mut buffer) {
        Name::Host(host) => match bundle.name(host) {
            Some(rule) => Judged::Matched(Match { rule: Arc::clone(rule), evidence, name: Some(host.to_owned()) }),
            None => Judged::Unmatched,
        },
        Name::IpLiteral(_) | Name::NotAHostName => Judged::NotAHostName,
    }
}

/// The rule that answers for a server's address.
pub fn by_address(bundle: &Bundle, server: Address) -> Option<Match> {
    bundle.address(server.ip()).map(|rule| Match { rule: Arc::clone(rule), evidence: Evidence::Prefix, name: None })
}
