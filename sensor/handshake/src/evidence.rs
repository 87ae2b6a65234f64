//! The kinds of message that disclose a name.

/// How a name was seen on a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Evidence {
    TlsSni,
    QuicSni,
    DtlsSni,
    HttpHost,
    HttpConnect,
    Socks,
    /// A load balancer wrote it into a PROXY header: the server name of the hello that it received.
    ProxyAuthority,
    TlsCertificate,
    /// A DNS answer had named the server's address.
    Dns,
    /// The server's address alone.
    Prefix,
}

impl Evidence {
    /// The name written in events.
    #[rustfmt::skip]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TlsSni => "tls-sni", Self::QuicSni => "quic-sni", Self::DtlsSni => "dtls-sni",
            Self::HttpHost => "http-host", Self::HttpConnect => "http-connect", Self::Socks => "socks",
            Self::ProxyAuthority => "proxy-authority",
            Self::TlsCertificate => "tls-cert", Self::Dns => "dns", Self::Prefix => "prefix",
        }
    }
}
