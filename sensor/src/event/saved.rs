//! Sightings in the file that survives a restart: all that an alert is made of. A signature is saved by its id, what other
//! crates define by its words.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vigie_handshake::opening::Desync;
use vigie_signatures::Rule;

use super::{Event, Evidence, Fact, Flow, Hello, Order, Sighting};
use crate::text::BoundedText;

/// A sighting as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedSighting<'s> {
    timestamp_ns: u64,
    frame_number: u64,
    signature_id: u32,
    flow: Cow<'s, Flow>,
    client_mac: Option<[u8; 6]>,
    #[serde(with = "EvidenceWord")]
    evidence: Evidence,
    name: Option<Cow<'s, str>>,
    name_as_sent: Option<Cow<'s, BoundedText>>,
    hello: Option<Cow<'s, Hello>>,
    #[serde(with = "desync")]
    desync: Desync,
    summarised: u64,
}

impl<'s> SavedSighting<'s> {
    /// An event's sighting; none if it has none.
    pub fn of(event: &'s Event) -> Option<Self> {
        let Fact::Sighting(sighting) = &event.fact else { return None };
        let Sighting { flow, client_mac, evidence, name, name_as_sent, rule, hello, desync, summarised } = &**sighting;
        Some(Self {
            timestamp_ns: event.timestamp_ns,
            frame_number: event.frame_number,
            signature_id: rule.signature_id,
            flow: Cow::Borrowed(flow),
            client_mac: *client_mac,
            evidence: *evidence,
            name: name.as_deref().map(Cow::Borrowed),
            name_as_sent: name_as_sent.as_ref().map(Cow::Borrowed),
            hello: hello.as_ref().map(Cow::Borrowed),
            desync: *desync,
            summarised: *summarised,
        })
    }

    /// The id of its signature.
    pub const fn signature_id(&self) -> u32 {
        self.signature_id
    }

    /// The event, with the signature of that id.
    pub fn into_event(self, rule: Arc<Rule>) -> Event {
        let sighting = Sighting {
            flow: self.flow.into_owned(),
            client_mac: self.client_mac,
            evidence: self.evidence,
            name: self.name.map(Cow::into_owned),
            name_as_sent: self.name_as_sent.map(Cow::into_owned),
            rule,
            hello: self.hello.map(Cow::into_owned),
            desync: self.desync,
            summarised: self.summarised,
        };
        Event {
            timestamp_ns: self.timestamp_ns,
            frame_number: self.frame_number,
            order: Order::default(),
            fact: Fact::Sighting(Box::new(sighting)),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Evidence")]
enum EvidenceWord {
    TlsSni,
    QuicSni,
    DtlsSni,
    HttpHost,
    HttpConnect,
    Socks,
    ProxyAuthority,
    TlsCertificate,
    Dns,
    Prefix,
}

/// The reasons, by their words.
mod desync {
    use serde::{Deserialize, Deserializer, Serializer};
    use vigie_handshake::opening::Desync;

    pub fn serialize<S: Serializer>(desync: &Desync, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(desync.words())
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Desync, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        let mut desync = Desync::NONE;
        for (reason, _) in Desync::ALL.iter().filter(|(_, word)| words.iter().any(|known| known == word)) {
            desync.add(*reason);
        }
        Ok(desync)
    }
}

/// An address as text.
pub mod address {
    use std::net::IpAddr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vigie_decode::Address;

    pub fn serialize<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
        address.ip().serialize(serializer)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Address, D::Error> {
        IpAddr::deserialize(deserializer).map(Address::from)
    }
}

/// A fingerprint before it is hashed, as text.
pub mod ja4 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vigie_handshake::tls::Ja4Raw;

    pub fn serialize<S: Serializer>(ja4: &Option<Ja4Raw>, serializer: S) -> Result<S::Ok, S::Error> {
        let text = ja4.as_ref().map(|ja4| String::from_utf8_lossy(&ja4.text()).into_owned());
        text.serialize(serializer)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<Ja4Raw>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.map(|text| Ja4Raw::from_saved(text.into_bytes())))
    }
}

/// VLANs and tunnels.
pub mod encapsulation {
    use std::net::IpAddr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vigie_decode::{Address, Encapsulation, Tunnel, TunnelKind};

    #[derive(Serialize, Deserialize)]
    struct Saved {
        vlans: Vec<u16>,
        tunnel_depth: u8,
        tunnel: Option<SavedTunnel>,
        network: u32,
    }

    #[derive(Serialize, Deserialize)]
    struct SavedTunnel {
        #[serde(with = "KindWord")]
        kind: TunnelKind,
        source: Option<IpAddr>,
        destination: Option<IpAddr>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "TunnelKind")]
    #[rustfmt::skip]
    enum KindWord {
        Ipip, SixInFour, FourInSix, Gre, Erspan, Vxlan, VxlanGpe, Geneve, GtpU, Teredo, L2tp, Pppoe, Mpls, Pbb, EoIp, Nsh, Capwap, Wccp,
        Esp, EtherIp, Gue, Trill, Tzsp, Lisp, Ayiya, JMirror, HpErm,
    }

    pub fn serialize<S: Serializer>(encapsulation: &Encapsulation, serializer: S) -> Result<S::Ok, S::Error> {
        let Encapsulation { vlans, vlan_count, tunnel_depth, tunnel, network } = encapsulation;
        let tunnel = tunnel.map(|Tunnel { kind, source, destination }| SavedTunnel {
            kind,
            source: source.map(Address::ip),
            destination: destination.map(Address::ip),
        });
        let vlans = vlans.get(..usize::from(*vlan_count)).unwrap_or(vlans).to_vec();
        Saved { vlans, tunnel_depth: *tunnel_depth, tunnel, network: *network }.serialize(serializer)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Encapsulation, D::Error> {
        let Saved { vlans, tunnel_depth, tunnel, network } = Saved::deserialize(deserializer)?;
        let tunnel = tunnel.map(|SavedTunnel { kind, source, destination }| Tunnel {
            kind,
            source: source.map(Address::from),
            destination: destination.map(Address::from),
        });
        let mut encapsulation = Encapsulation { tunnel_depth, tunnel, network, ..Encapsulation::default() };
        for (place, vlan) in encapsulation.vlans.iter_mut().zip(vlans) {
            *place = vlan;
            encapsulation.vlan_count += 1;
        }
        Ok(encapsulation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_decode::{Address, Encapsulation, Tunnel, TunnelKind};
    use vigie_handshake::tls::Ja4Raw;
    use vigie_signatures::Bundle;

    use crate::event::{CutTexts, Ech, HelloTransport};

    fn saved_and_read(event: &Event) -> Event {
        let text = serde_json::to_string(&SavedSighting::of(event).unwrap()).unwrap();
        let saved: SavedSighting<'_> = serde_json::from_str(&text).unwrap();
        let Fact::Sighting(sighting) = &event.fact else { panic!() };
        assert_eq!(saved.signature_id(), sighting.rule.signature_id);
        saved.into_event(Arc::clone(&sighting.rule))
    }

    #[test]
    fn a_sighting_is_read_as_it_was_saved() {
        let name = "tnc16-normal-no1a.tiktokv.eu";
        let (mut vlans, mut desync) = (Encapsulation::default().vlans, Desync::MD5);
        (vlans[0], vlans[1]) = (7, 4_000);
        desync.add(Desync::HELLOS);
        let tunnel = Tunnel { kind: TunnelKind::GtpU, source: Some(Address::v4([198, 51, 100, 1])), destination: None };
        let flow = Flow {
            id: (1 << 53) - 1,
            client: Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            client_port: 50_000,
            server: Address::v4([192, 0, 2, 1]),
            server_port: 443,
            protocol: 6,
            encapsulation: Encapsulation { vlans, vlan_count: 2, tunnel_depth: 1, tunnel: Some(tunnel), network: 9 },
            interface: 3,
            first_seen_ns: 1,
            last_seen_ns: u64::MAX,
            packets_to_server: 2,
            packets_to_client: 3,
            bytes_to_server: 4,
            bytes_to_client: 5,
        };
        let hello = Hello {
            transport: HelloTransport::Quic(1),
            server_name: Some(name.to_owned()),
            alpn: vec!["h3".to_owned(), "\\xff".to_owned()],
            version: 0x0304,
            ja4: Some(Ja4Raw::from_saved(b"q13d0302h3_1301,1302,1303_000a,000d_0403".to_vec())),
            ech: Some(Ech::Offered),
            partial: true,
            user_agent: Some("a".to_owned()),
            cut: CutTexts { alpn: true, ..CutTexts::default() },
        };
        let whole = Sighting {
            flow: flow.clone(),
            client_mac: Some([2, 0, 0x5e, 0x10, 0, 1]),
            evidence: Evidence::QuicSni,
            name: Some(name.to_owned()),
            name_as_sent: Some(BoundedText { text: "TNC16".to_owned(), is_cut: true }),
            rule: Arc::clone(Bundle::builtin().name(name).unwrap()),
            hello: Some(hello),
            desync,
            summarised: 7,
        };
        let bare = Sighting {
            flow: Flow { encapsulation: Encapsulation::default(), ..flow },
            client_mac: None,
            evidence: Evidence::Prefix,
            name: None,
            name_as_sent: None,
            hello: None,
            desync: Desync::NONE,
            ..whole.clone()
        };
        for sighting in [whole, bare] {
            let fact = Fact::Sighting(Box::new(sighting));
            let event =
                Event { timestamp_ns: 1_795_766_400_123_456_789, frame_number: 8, order: Order::default(), fact };
            assert_eq!(format!("{:?}", saved_and_read(&event)), format!("{event:?}"));
        }
    }
}
