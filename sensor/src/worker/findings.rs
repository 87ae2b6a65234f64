//! Step 5: match what a handshake showed against the signatures. What is costly (JA4, owned strings) is made only for
//! hellos that an event will show.

use std::net::IpAddr;

use vigie_signatures::{Bundle, Name, normalise};

use super::counters::{Counter, Counters, HelloCounters, HelloSeen};
use crate::detect::{self, Evidence, Match, NameMatch};
use crate::event::{CutTexts, Ech, Hello, HelloTransport, HttpRequest};
use crate::text::{BoundedText, TextLimits, escaped_list};
use vigie_handshake::http::RequestedHost;
use vigie_handshake::opening::Desync;
use vigie_handshake::quic::Chlo;
use vigie_handshake::tcp;
use vigie_handshake::tls::{self, ClientHello, Ja4Raw, Ja4Transport};

/// The events to emit besides sightings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTypes {
    /// Every hello over TCP and DTLS.
    pub tls: bool,
    /// Every hello over QUIC.
    pub quic: bool,
    /// Every host that an HTTP request names.
    pub http: bool,
    /// Every DNS answer.
    pub dns: bool,
    /// The time, every few seconds.
    pub clock: bool,
    /// Every client, when one of its flows ends.
    pub clients: bool,
    /// Every hello to a known prefix that names a host which no signature knows.
    pub candidates: bool,
    /// Every flow, at its end.
    pub flows: bool,
    /// How long their texts may be.
    pub texts: TextLimits,
}

/// What a hello or a name in clear text showed, and the rule that matches it.
#[derive(Debug, Default)]
pub struct HandshakeFinding {
    /// The hello that was read and is not counted yet.
    pub seen: Option<HelloSeen>,
    /// The hello, if an event may show it.
    pub hello: Option<Box<Hello>>,
    /// Hellos of this kind are reported, alert or not.
    pub reports_hello: bool,
    /// The HTTP request, if requests are reported.
    pub request: Option<HttpRequest>,
    /// The name is another one than a request of the flow named before.
    pub is_other_name: bool,
    /// The rule that matches; it may be one that raises no alert.
    pub matched: Option<Match>,
    /// The hello has no name, or one that may hide the true name.
    pub hides_name: bool,
    /// The server's certificate may show the name.
    pub may_show_certificate: bool,
    /// Why other bytes of the connection contradict these.
    pub desync: Desync,
}

impl HandshakeFinding {
    /// The finding of a ClientHello.
    pub fn from_hello(
        hello: &ClientHello<'_>,
        transport: HelloTransport,
        bundle: &Bundle,
        event_types: EventTypes,
        counters: &mut Counters,
    ) -> Self {
        let (evidence, reports_hello) = match transport {
            HelloTransport::Tcp => (Evidence::TlsSni, event_types.tls),
            HelloTransport::Dtls => (Evidence::DtlsSni, event_types.tls),
            HelloTransport::Quic(_) => (Evidence::QuicSni, event_types.quic),
        };
        let ech = hello.ech();
        counters.add(HelloCounters::of(transport).ech, u64::from(ech.is_some()));
        let mut finding =
            Self::from_server_name(hello.server_name(), hello.is_complete(), transport, evidence, bundle, counters);
        finding.seen = Some(HelloSeen { has_name: hello.server_name().is_some(), has_ech: ech.is_some() });
        finding.reports_hello = reports_hello;
        finding.may_show_certificate =
            transport == HelloTransport::Tcp && finding.hides_name && tcp::may_show_certificate(hello);
        if finding.emits_event() || finding.hides_name || event_types.candidates {
            let mut cut = CutTexts::default();
            let (alpn, alpn_is_cut) = escaped_list(hello.alpn(), event_types.texts.alpn_bytes_max);
            cut.alpn = alpn_is_cut;
            finding.hello = Some(Box::new(Hello {
                transport,
                server_name: printable_name(hello.server_name(), &event_types.texts, &mut cut),
                alpn,
                version: hello.highest_version(),
                ja4: ja4(hello, transport),
                ech: ech.map(|extension| match extension.judge() {
                    tls::Ech::Grease => Ech::Grease,
                    tls::Ech::Ambiguous => Ech::Ambiguous,
                    tls::Ech::Offered => Ech::Offered,
                }),
                partial: !hello.is_complete(),
                user_agent: None,
                cut,
            }));
            count_cut(cut, counters);
        }
        finding
    }

    /// The finding of a CHLO, the hello of Google's QUIC.
    pub fn from_chlo(chlo: &Chlo<'_>, bundle: &Bundle, event_types: EventTypes, counters: &mut Counters) -> Self {
        let transport = HelloTransport::Quic(chlo.version());
        let mut finding =
            Self::from_server_name(chlo.sni(), chlo.complete(), transport, Evidence::QuicSni, bundle, counters);
        finding.seen = Some(HelloSeen { has_name: chlo.sni().is_some(), has_ech: false });
        finding.reports_hello = event_types.quic;
        if finding.emits_event() || finding.hides_name {
            let mut cut = CutTexts::default();
            let user_agent = chlo.user_agent().map(|agent| {
                let agent = BoundedText::escaped(agent, event_types.texts.user_agent_bytes_max);
                cut.user_agent = agent.is_cut;
                agent.text
            });
            finding.hello = Some(Box::new(Hello {
                transport,
                server_name: printable_name(chlo.sni(), &event_types.texts, &mut cut),
                alpn: Vec::new(),
                version: 0,
                ja4: None,
                ech: None,
                partial: !chlo.complete(),
                user_agent,
                cut,
            }));
            count_cut(cut, counters);
        }
        finding
    }

    /// The finding of a name in clear text: HTTP, SOCKS or a PROXY header.
    pub fn from_clear_text(
        evidence: Evidence,
        name: &[u8],
        bundle: &Bundle,
        event_types: EventTypes,
        counters: &mut Counters,
    ) -> Self {
        let is_http = matches!(evidence, Evidence::HttpHost | Evidence::HttpConnect);
        let method = (evidence == Evidence::HttpConnect).then(|| "CONNECT".to_owned());
        let request = (event_types.http && is_http).then(|| HttpRequest { host: printable_host(name), method });
        let counter = match evidence {
            Evidence::HttpConnect => Counter::HttpConnects,
            Evidence::Socks => Counter::SocksRequests,
            Evidence::ProxyAuthority => Counter::ProxyAuthorities,
            _ => Counter::HttpHosts,
        };
        counters.add(counter, 1);
        match detect::match_name(bundle, name, evidence) {
            NameMatch::Matched(matched) => Self { matched: Some(matched), request, ..Self::default() },
            NameMatch::Unmatched | NameMatch::NotAHostName => Self { request, ..Self::default() },
        }
    }

    /// The finding of a host that an HTTP request names behind the first one.
    pub fn from_request(
        host: &RequestedHost<'_>,
        bundle: &Bundle,
        event_types: EventTypes,
        counters: &mut Counters,
    ) -> Self {
        let evidence = if host.is_connect { Evidence::HttpConnect } else { Evidence::HttpHost };
        let mut finding = Self::from_clear_text(evidence, host.name, bundle, event_types, counters);
        if let Some(request) = &mut finding.request {
            request.method = Some(host.method.to_owned());
        }
        let is_address = std::str::from_utf8(host.name).is_ok_and(|name| name.parse::<IpAddr>().is_ok());
        Self { is_other_name: true, hides_name: is_address, desync: host.desync, ..finding }
    }

    /// Matches the server name of a hello, and counts the hello.
    // What it returns is too big to be copied from call to call.
    #[inline(always)]
    fn from_server_name(
        name: Option<&[u8]>,
        is_complete: bool,
        transport: HelloTransport,
        evidence: Evidence,
        bundle: &Bundle,
        counters: &mut Counters,
    ) -> Self {
        let hello_counters = HelloCounters::of(transport);
        counters.add(hello_counters.all, 1);
        counters.add(hello_counters.incomplete, u64::from(!is_complete));
        if let Some(version) = hello_counters.version {
            counters.add(version, 1);
        }
        let Some(name) = name else {
            counters.add(hello_counters.without_name, 1);
            return Self { hides_name: true, ..Self::default() };
        };
        counters.add(hello_counters.with_name, 1);
        match detect::match_name(bundle, name, evidence) {
            NameMatch::Matched(matched) => {
                counters.add(hello_counters.not_a_host_name, u64::from(matched.name_as_sent.is_some()));
                Self { matched: Some(matched), ..Self::default() }
            }
            NameMatch::Unmatched => Self { hides_name: detect::is_ech_public_name(name), ..Self::default() },
            NameMatch::NotAHostName => {
                counters.add(hello_counters.not_a_host_name, 1);
                Self { hides_name: true, ..Self::default() }
            }
        }
    }

    /// The finding with more reasons why bytes contradict each other.
    pub fn with_desync(mut self, more: Desync) -> Self {
        self.desync.add(more);
        self
    }

    /// The hello without a usable name, for what the server shows later. A copy of it, if an event shows it now.
    pub fn nameless_hello(&mut self) -> Option<Box<Hello>> {
        match self.hides_name {
            true if self.emits_event() => self.hello.clone(),
            true => self.hello.take(),
            false => None,
        }
    }

    /// Whether the finding leads to an event.
    pub fn emits_event(&self) -> bool {
        self.reports_hello || self.request.is_some() || self.is_sighting()
    }

    /// Whether the client's link-layer address is of use: it may stand for the device, or join its addresses.
    pub fn needs_client_mac(&self) -> bool {
        self.hides_name || self.is_sighting()
    }

    /// Whether it matches a rule that is not silenced.
    fn is_sighting(&self) -> bool {
        self.matched.as_ref().is_some_and(|matched| !matched.rule.is_silent())
    }
}

/// A server name as events show it: a host name is normalised; anything else is escaped, and cut if it is too long.
fn printable_name(raw: Option<&[u8]>, limits: &TextLimits, cut: &mut CutTexts) -> Option<String> {
    let raw = raw?;
    let mut buffer = [0; 256];
    if let Name::Host(host) = normalise(raw, &mut buffer) {
        return Some(host.as_str().to_owned());
    }
    let BoundedText { text, is_cut } = BoundedText::escaped(raw, limits.name_bytes_max);
    cut.server_name = is_cut;
    Some(text)
}

/// The same for a host of HTTP or SOCKS, which has 255 bytes at most.
fn printable_host(raw: &[u8]) -> String {
    let mut buffer = [0; 256];
    match normalise(raw, &mut buffer) {
        Name::Host(host) => host.as_str().to_owned(),
        _ => raw.escape_ascii().to_string(),
    }
}

fn count_cut(cut: CutTexts, counters: &mut Counters) {
    counters.add(Counter::NamesCut, u64::from(cut.server_name));
    counters.add(Counter::AlpnCut, u64::from(cut.alpn));
    counters.add(Counter::UserAgentsCut, u64::from(cut.user_agent));
}

fn ja4(hello: &ClientHello<'_>, transport: HelloTransport) -> Option<Ja4Raw> {
    let transport = match transport {
        HelloTransport::Tcp => Ja4Transport::Tcp,
        HelloTransport::Dtls => Ja4Transport::Dtls,
        HelloTransport::Quic(_) => Ja4Transport::Quic,
    };
    Ja4Raw::of(hello, transport)
}
