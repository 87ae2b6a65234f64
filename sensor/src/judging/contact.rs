//! From a worker's event to a contact with a service.

use std::sync::Arc;

use vigie_handshake::tls::Ja4Raw;
use vigie_judgement::{Answered, Client, Contact as Kind, Origin, Recogniser, Stack};

use crate::event::{Evidence, Flow, Sighting};
use crate::judge::line::{Contact, FlowBytes, What};

/// Bytes of a packet's headers at most, as an estimate: Ethernet with a VLAN, IPv6, TCP with options.
const HEADER_BYTES: u64 = 90;
/// A server that sends less payload than this has not answered: it refused, or sent a TLS alert.
const ANSWER_BYTES_MIN: u64 = 32;

/// The contact of a flow that matched a signature; none if that says nothing of a service.
pub fn of_flow(recogniser: &Recogniser, sighting: &Sighting, interfaces: &[String], time_ns: u64) -> Option<What> {
    let contact = contact(recogniser, sighting, Kind::Flow, interfaces, time_ns)?;
    let ja4 = sighting.hello.as_ref().and_then(|hello| hello.ja4.as_ref()).map(Ja4Raw::fingerprint);
    let ja4 = ja4.as_ref().map(|ja4| ja4.as_str()).unwrap_or_default();
    let flow = &sighting.flow;
    Some(What::Contact(Box::new(Contact {
        stack: recogniser.stack(ja4, &contact.attribution.service, time_ns),
        bytes_to_client: flow.bytes_to_client,
        bytes_to_server: flow.bytes_to_server,
        is_cleartext: matches!(sighting.evidence, Evidence::HttpHost),
        flow: Some(flow.id.into()),
        ..contact
    })))
}

/// The contact of a name that a client asked of DNS.
pub fn of_question(recogniser: &Recogniser, question: &Sighting, interfaces: &[String], time_ns: u64) -> Option<What> {
    let contact = contact(recogniser, question, Kind::DnsQuestion, interfaces, time_ns)?;
    Some(What::Contact(Box::new(contact)))
}

/// Bytes of a flow, until its end or while it goes on.
pub fn bytes(flow: &Flow, time_ns: u64, is_end: bool) -> FlowBytes {
    let payload = flow.bytes_to_client.saturating_sub(flow.packets_to_client * HEADER_BYTES);
    let answered = match payload {
        ANSWER_BYTES_MIN.. => Answered::Yes,
        _ if is_end => Answered::No,
        _ => Answered::Unknown,
    };
    FlowBytes {
        flow: flow.id.into(),
        time_ns,
        bytes_to_client: flow.bytes_to_client,
        bytes_to_server: flow.bytes_to_server,
        answered,
        is_end,
    }
}

/// Where a flow's client is.
pub fn origin(flow: &Flow, mac: Option<[u8; 6]>, interfaces: &[String]) -> Origin {
    let interface = interfaces.get(usize::from(flow.interface)).filter(|name| !name.is_empty());
    Origin {
        address: Some(flow.client.ip()),
        mac,
        vlan: flow.encapsulation.innermost_vlan(),
        interface: interface.map(|name| Arc::from(name.as_str())),
    }
}

fn contact(
    recogniser: &Recogniser,
    sighting: &Sighting,
    kind: Kind,
    interfaces: &[String],
    time_ns: u64,
) -> Option<Contact> {
    let attribution = recogniser.attribute(&sighting.rule)?.clone();
    let flow = &sighting.flow;
    Some(Contact {
        time_ns,
        client: Client::Address(flow.client.ip()),
        origin: origin(flow, sighting.client_mac, interfaces),
        server: Some(flow.server.ip()),
        rule: Arc::clone(&sighting.rule),
        attribution,
        name: sighting.name.as_deref().unwrap_or_default().into(),
        kind,
        stack: Stack::Other,
        answered: Answered::Unknown,
        bytes_to_client: 0,
        bytes_to_server: 0,
        is_cleartext: false,
        flow: None,
    })
}
