//! From what a handshake said to the facts of an event and the rule that answers. What costs (JA4, owned strings) is
//! made only for what will be written.

use vigie_signatures::{Bundle, Name, normalise};

use super::counters::{Counter, Counters, HelloCounters};
use crate::detect::{self, Evidence, Judged, Match};
use crate::event::{Ech, Hello, HelloTransport};
use vigie_handshake::quic::Chlo;
use vigie_handshake::tcp;
use vigie_handshake::tls::{self, ClientHello, Ja4Raw, Ja4Transport};

/// Which records are written besides alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTypes {
    /// Every hello over TCP and DTLS.
    pub tls: bool,
    /// Every hello over QUIC.
    pub quic: bool,
    /// Every DNS answer.
    pub dns: bool,
    /// Every flow, at its end.
    pub flows: bool,
}

/// What a hello or a name in clear text came to.
#[derive(Debug, Default)]
pub struct Told {
    /// The hello, if it will be written.
    pub hello: Option<Hello>,
    /// A record of the hello is wanted, alert or not.
    pub is_wanted: bool,
    /// The rule that answers; it may be one that does not alert.
    pub matched: Option<Match>,
    /// No name was told, or one that may hide another.
    pub hides_name: bool,
    /// The server's certificate may tell more.
    pub may_show_certificate: bool,
}

impl Told {
    /// What a ClientHello came to.
    pub fn hello(
        hello: &ClientHello<'_>,
        transport: HelloTransport,
        bundle: &Bundle,
        wanted: EventTypes,
        counters: &mut Counters,
    ) -> Self {
        let (evidence, is_wanted) = match transport {
            HelloTransport::Tcp => (Evidence::TlsSni, wanted.tls),
            HelloTransport::Dtls => (Evidence::DtlsSni, wanted.tls),
            HelloTransport::Quic(_) => (Evidence::QuicSni, wanted.quic),
        };
        let ech = hello.ech();
        counters.add(HelloCounters::of(transport).ech, u64::from(ech.is_some()));
        let mut told = Self::judge(hello.server_name(), hello.is_complete(), transport, evidence, bundle, counters);
        told.is_wanted = is_wanted;
        told.may_show_certificate =
            transport == HelloTransport::Tcp && told.hides_name && tcp::may_show_certificate(hello);
        if is_wanted || told.hides_name || told.will_alert() {
            told.hello = Some(Hello {
                transport,
                server_name: hello.server_name().map(printable_name),
                alpn: hello.alpn().map(|protocol| protocol.escape_ascii().to_string()).collect(),
                version: hello.highest_version(),
                ja4: ja4(hello, transport),
                ech: ech.map(|extension| match extension.judge() {
                    tls::Ech::Grease => Ech::Grease,
                    tls::Ech::Ambiguous => Ech::Ambiguous,
                    tls::Ech::Offered => Ech::Offered,
                }),
                partial: !hello.is_complete(),
                user_agent: None,
            });
        }
        told
    }

    /// What a hello of Google's own handshake came to.
    pub fn chlo(chlo: &Chlo<'_>, bundle: &Bundle, wanted: EventTypes, counters: &mut Counters) -> Self {
        let transport = HelloTransport::Quic(chlo.version());
        let mut told = Self::judge(chlo.sni(), chlo.complete(), transport, Evidence::QuicSni, bundle, counters);
        told.is_wanted = wanted.quic;
        if told.is_wanted || told.hides_name || told.will_alert() {
            told.hello = Some(Hello {
                transport,
                server_name: chlo.sni().map(printable_name),
                alpn: Vec::new(),
                version: 0,
                ja4: None,
                ech: None,
                partial: !chlo.complete(),
                user_agent: chlo.user_agent().map(|agent| agent.escape_ascii().to_string()),
            });
        }
        told
    }

    /// What a name in clear text came to.
    pub fn clear_text(evidence: Evidence, name: &[u8], bundle: &Bundle, counters: &mut Counters) -> Self {
        let counter = match evidence {
            Evidence::HttpConnect => Counter::HttpConnects,
            Evidence::Socks => Counter::SocksRequests,
            _ => Counter::HttpHosts,
        };
        counters.add(counter, 1);
        match detect::by_name(bundle, name, evidence) {
            Judged::Matched(matched) => Self { matched: Some(matched), ..Self::default() },
            Judged::Unmatched | Judged::NotAHostName => Self::default(),
        }
    }

    fn judge(
        name: Option<&[u8]>,
        is_complete: bool,
        transport: HelloTransport,
        evidence: Evidence,
        bundle: &Bundle,
        counters: &mut Counters,
    ) -> Self {
        let counted = HelloCounters::of(transport);
        counters.add(counted.seen, 1);
        counters.add(counted.partial, u64::from(!is_complete));
        if let Some(version) = counted.version {
            counters.add(version, 1);
        }
        let Some(name) = name else {
            counters.add(counted.nameless, 1);
            return Self { hides_name: true, ..Self::default() };
        };
        counters.add(counted.named, 1);
        match detect::by_name(bundle, name, evidence) {
            Judged::Matched(matched) => Self { matched: Some(matched), ..Self::default() },
            Judged::Unmatched => Self { hides_name: detect::hides_another(name), ..Self::default() },
            Judged::NotAHostName => {
                counters.add(counted.odd, 1);
                Self { hides_name: true, ..Self::default() }
            }
        }
    }

    /// Whether anything will be written of it.
    pub fn is_worth_telling(&self) -> bool {
        self.is_wanted || self.will_alert()
    }

    fn will_alert(&self) -> bool {
        self.matched.as_ref().is_some_and(|matched| matched.rule.raises_alert())
    }
}

/// A name as events show it: normalised if it is a host name, else with what is not printable escaped.
fn printable_name(raw: &[u8]) -> String {
    let mut buffer = [0; 256];
    match normalise(raw, &mut buffer) {
        Name::Host(host) => host.to_owned(),
        Name::IpLiteral(_) | Name::NotAHostName => raw.escape_ascii().to_string(),
    }
}

fn ja4(hello: &ClientHello<'_>, transport: HelloTransport) -> Option<Ja4Raw> {
    let transport = match transport {
        HelloTransport::Tcp => Ja4Transport::Tcp,
        HelloTransport::Dtls => Ja4Transport::Dtls,
        HelloTransport::Quic(_) => Ja4Transport::Quic,
    };
    Ja4Raw::of(hello, transport)
}
