//! Links from an incident and its flows into other tools, such as Arkime, Stenographer or a SIEM, made from templates of the
//! operator. Every value is percent-encoded, and none can choose the host.

use jiff::Timestamp;

use crate::pages::encode;

/// Longest template, bytes.
const TEMPLATE_BYTES_MAX: usize = 2_000;

/// What stands between braces in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    From,
    Until,
    FromSeconds,
    UntilSeconds,
    FromMilliseconds,
    UntilMilliseconds,
    Incident,
    Service,
    Client,
    CommunityId,
    ClientPort,
    Server,
    ServerPort,
    Protocol,
    Name,
}

/// The words of templates, and whether only a flow has a value.
const PLACEHOLDERS: [(&str, Placeholder, bool); 15] = [
    ("from", Placeholder::From, false),
    ("until", Placeholder::Until, false),
    ("from_s", Placeholder::FromSeconds, false),
    ("until_s", Placeholder::UntilSeconds, false),
    ("from_ms", Placeholder::FromMilliseconds, false),
    ("until_ms", Placeholder::UntilMilliseconds, false),
    ("incident", Placeholder::Incident, false),
    ("service", Placeholder::Service, false),
    ("client", Placeholder::Client, false),
    ("community_id", Placeholder::CommunityId, true),
    ("client_port", Placeholder::ClientPort, true),
    ("server", Placeholder::Server, true),
    ("server_port", Placeholder::ServerPort, true),
    ("proto", Placeholder::Protocol, true),
    ("name", Placeholder::Name, true),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

/// A link that is made from an incident, or from one of its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    name: String,
    pieces: Vec<Piece>,
    /// Whether it needs what only a flow has.
    is_of_flow: bool,
}

/// What a link may tell. Texts that are empty are not known, and then there is no link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'v> {
    pub incident: &'v str,
    pub service: &'v str,
    pub client: &'v str,
    /// Begin and end, microseconds since 1970.
    pub span_us: (i64, i64),
    /// What only a flow has.
    pub flow: Option<FlowValues<'v>>,
}

/// What a link may tell of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowValues<'v> {
    pub community_id: &'v str,
    pub client_port: u16,
    pub server: &'v str,
    pub server_port: u16,
    pub proto: &'v str,
    pub name: &'v str,
}

/// A link, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub href: String,
}

/// Whether a text is a template, as the settings ask.
///
/// # Errors
/// What is wrong with it, and what mends it.
pub fn template(text: &str) -> Result<(), (String, String)> {
    Template::parse(text).map(drop)
}

impl Template {
    /// Reads a name and an address, such as `Arkime https://arkime.example/sessions?date={from_s}`.
    ///
    /// # Errors
    /// What is wrong with it, and what mends it.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let refuse = |what: &str, mend: &str| Err((what.to_owned(), mend.to_owned()));
        let example = "write \"Arkime https://arkime.example/?expression=communityId%3D%3D{community_id}\"";
        if text.len() > TEMPLATE_BYTES_MAX {
            return refuse("too long", "give at most 2000 bytes");
        }
        let Some((name, address)) = text.trim().rsplit_once(char::is_whitespace) else {
            return refuse("not a name and an address", example);
        };
        let is_allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '|');
        if !address.chars().all(is_allowed) {
            return refuse("the address has a character that no address has (RFC 3986)", "write it percent-encoded");
        }
        let lower = address.to_ascii_lowercase();
        let Some(scheme) = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme)) else {
            return refuse("the address begins neither with https:// nor with http://", example);
        };
        let rest = address.get(scheme.len()..).unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.contains(['{', '}', '@']) {
            return refuse("the address has no fixed host", "write the host itself, without user name and placeholder");
        }
        let pieces = pieces(address)?;
        let is_of_flow = pieces.iter().any(|piece| {
            PLACEHOLDERS.iter().any(|(_, known, is_of_flow)| *is_of_flow && *piece == Piece::Value(*known))
        });
        Ok(Self { name: name.trim().to_owned(), pieces, is_of_flow })
    }

    /// The link; none where a value is not known, or where this is about a flow and the template is not.
    pub fn link(&self, values: &Values<'_>) -> Option<Link> {
        if self.is_of_flow != values.flow.is_some() {
            return None;
        }
        let mut href = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => href.push_str(text),
                Piece::Value(placeholder) => href.push_str(&encode(&value(*placeholder, values)?)),
            }
        }
        Some(Link { name: self.name.clone(), href })
    }
}

fn pieces(address: &str) -> Result<Vec<Piece>, (String, String)> {
    let mut pieces = Vec::new();
    let mut rest = address;
    while let Some((text, more)) = rest.split_once('{') {
        let Some((word, behind)) = more.split_once('}') else {
            return Err(("a { without }".to_owned(), "close it, or write %7B for a brace".to_owned()));
        };
        let Some((_, known, _)) = PLACEHOLDERS.iter().find(|(name, ..)| *name == word) else {
            let known: Vec<String> = PLACEHOLDERS.iter().map(|(name, ..)| format!("{{{name}}}")).collect();
            return Err((format!("{{{word}}} is no placeholder"), format!("give one of {}", known.join(", "))));
        };
        pieces.extend([Piece::Text(text.to_owned()), Piece::Value(*known)]);
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    let has_brace = pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('}')));
    match has_brace {
        true => Err(("a } without {".to_owned(), "open it, or write %7D for a brace".to_owned())),
        false => Ok(pieces),
    }
}

/// A value; none where it is not known.
fn value(placeholder: Placeholder, values: &Values<'_>) -> Option<String> {
    let (from, until) = values.span_us;
    let time =
        |us: i64| Timestamp::from_microsecond(us).ok().map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let seconds = |us: i64| Some(us.div_euclid(1_000_000).to_string());
    let milliseconds = |us: i64| Some(us.div_euclid(1_000).to_string());
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let port = |port: u16| (port > 0).then(|| port.to_string());
    match placeholder {
        Placeholder::From => time(from),
        Placeholder::Until => time(until),
        Placeholder::FromSeconds => seconds(from),
        Placeholder::UntilSeconds => seconds(until),
        Placeholder::FromMilliseconds => milliseconds(from),
        Placeholder::UntilMilliseconds => milliseconds(until),
        Placeholder::Incident => known(values.incident),
        Placeholder::Service => known(values.service),
        Placeholder::Client => known(values.client),
        Placeholder::CommunityId => known(values.flow?.community_id),
        Placeholder::ClientPort => port(values.flow?.client_port),
        Placeholder::Server => known(values.flow?.server),
        Placeholder::ServerPort => port(values.flow?.server_port),
        Placeholder::Protocol => known(values.flow?.proto),
        Placeholder::Name => known(values.flow?.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: FlowValues<'_> = FlowValues {
        community_id: "1:abc/def+gh=",
        client_port: 50_123,
        server: "2001:db8::1",
        server_port: 443,
        proto: "TCP",
        name: "a\"b<c>.example/../?x=1&y",
    };

    fn values(flow: Option<FlowValues<'static>>) -> Values<'static> {
        let span_us = (1_795_805_894_123_456, 1_795_805_900_000_000);
        Values { incident: "k7q2m-4x9d0-f", service: "tiktok", client: "10.16.0.105", span_us, flow }
    }

    #[test]
    fn a_flow_is_found_again_by_community_id_and_time() {
        let template = Template::parse(
            "Our Arkime https://arkime.example:8005/sessions?expression=communityId%3D%3D%22{community_id}%22&startTime={from_s}&stopTime={until_s}",
        );
        let template = template.unwrap();
        let link = template.link(&values(Some(FLOW))).unwrap();
        assert_eq!(link.name, "Our Arkime");
        assert_eq!(
            link.href,
            "https://arkime.example:8005/sessions?expression=communityId%3D%3D%221%3Aabc%2Fdef%2Bgh%3D%22&startTime=1795805894&stopTime=1795805900"
        );
        assert_eq!(template.link(&values(None)), None, "an incident has no community id");
        // With pseudonyms there is none.
        assert_eq!(template.link(&values(Some(FlowValues { community_id: "", ..FLOW }))), None);
    }

    #[test]
    fn an_incident_is_found_by_client_and_time() {
        let template =
            Template::parse("SIEM HTTPS://siem.example/#/q?ip={client}&id={incident}&a={from}&b={until_ms}").unwrap();
        let link = template.link(&values(None)).unwrap();
        assert_eq!(
            link.href,
            "HTTPS://siem.example/#/q?ip=10.16.0.105&id=k7q2m-4x9d0-f&a=2026-11-27T18%3A58%3A14Z&b=1795805900000"
        );
        assert_eq!(template.link(&values(Some(FLOW))), None, "shown once, at the incident");
    }

    #[test]
    fn nothing_from_the_wire_leaves_its_place() {
        let template =
            Template::parse("x http://h.example/{name}?s={server}&p={server_port}&q={proto}&c={client_port}");
        let link = template.unwrap().link(&values(Some(FLOW))).unwrap();
        assert_eq!(
            link.href,
            "http://h.example/a%22b%3Cc%3E.example%2F..%2F%3Fx%3D1%26y?s=2001%3Adb8%3A%3A1&p=443&q=TCP&c=50123"
        );
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_mend() {
        for (text, what) in [
            ("https://arkime.example/", "not a name and an address"),
            ("", "not a name"),
            ("x javascript:alert(1)", "neither with https"),
            ("x data:text/html,{name}", "neither with https"),
            ("x //evil.example/", "neither with https"),
            ("x https://{server}/", "no fixed host"),
            ("x https://siem.example{name}/", "no fixed host"),
            ("x https://me@siem.example/", "no fixed host"),
            ("x https:///path", "no fixed host"),
            ("x https://siem.example/{src_ip}", "{src_ip} is no placeholder"),
            ("x https://siem.example/{client", "a { without }"),
            ("x https://siem.example/client}", "a } without {"),
            ("x https://siem.example/<b>", "no address has"),
            ("x https://siem.example/é", "no address has"),
        ] {
            let (told, mend) = Template::parse(text).unwrap_err();
            assert!(told.contains(what) && !mend.is_empty(), "{text}: {told}; {mend}");
        }
        assert!(template(&format!("x https://siem.example/{}", "a".repeat(3_000))).is_err());
    }
}
