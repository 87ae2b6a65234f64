//! A host's IPv4 and IPv6 addresses as one client: what DNS told it under one address counts for a flow from another.
//!
//! DNS answers tell which link-layer address their client has ([`Neighbours`](vigie_handshake::neighbours::Neighbours),
//! shared by all workers). A flow without a name is joined to it if a packet of its client came from that address without a
//! router in between, which its hop limit tells. Only Ethernet without a tunnel shows link-layer addresses.

use std::sync::Arc;

use vigie_decode::{Address, Transport};
use vigie_flow::{Side, Slot};
use vigie_handshake::neighbours::{MacAddress, is_initial_hop_limit, is_of_one_host};

use super::findings::HandshakeFinding;
use super::flows::client_of;
use super::packet::{EncapsulationSource, FlowPacket};
use super::{Counter, Worker};
use vigie_wire::LinkType;

/// Clients whose link-layer address a worker remembers between their hello and the end of its inspection.
const CLIENTS_MAX: usize = 256;

/// The link-layer addresses of clients that lately sent a hello without a name. A later client takes an earlier one's place.
#[derive(Debug, Default)]
pub(super) struct ClientMacs {
    /// Empty until the first is added.
    clients: Vec<Option<(Address, MacAddress)>>,
}

impl ClientMacs {
    fn insert(&mut self, client: Address, mac: MacAddress) {
        if self.clients.is_empty() {
            self.clients = vec![None; CLIENTS_MAX];
        }
        if let Some(place) = self.clients.get_mut(place(client)) {
            *place = Some((client, mac));
        }
    }

    pub(super) fn get(&self, client: Address) -> Option<MacAddress> {
        let (known, mac) = (*self.clients.get(place(client))?)?;
        (known == client).then_some(mac)
    }
}

const fn place(client: Address) -> usize {
    let folded = client.0 as u64 ^ (client.0 >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % CLIENTS_MAX
}

impl FlowPacket<'_> {
    /// Destination and source address of the frame, where they are the packet's own: not in a tunnel.
    fn mac_addresses(&self) -> Option<(MacAddress, MacAddress)> {
        let frame = match self.encapsulation {
            EncapsulationSource::Frame(frame) => frame,
            EncapsulationSource::DecodedFrame(frame, encapsulation)
                if frame.link_type == LinkType::ETHERNET && encapsulation.tunnel_depth == 0 =>
            {
                frame
            }
            _ => return None,
        };
        let (destination, rest) = frame.data.split_first_chunk::<6>()?;
        Some((*destination, *rest.first_chunk::<6>()?))
    }

    /// The link-layer address of the client to whom an answer of DNS goes.
    pub(super) fn client_mac_of_answer(&self) -> Option<MacAddress> {
        self.mac_addresses().map(|(mac, _)| mac).filter(|&mac| is_of_one_host(mac))
    }

    /// The link-layer address of the sender, if the packet came from it without a router in between.
    fn sender_mac(&self) -> Option<MacAddress> {
        let (_, source) = self.mac_addresses()?;
        let network = match &self.transport {
            Transport::Tcp(segment) => segment.network(),
            Transport::Udp(datagram) => datagram.network(),
            Transport::Other => return None,
        };
        network.hop_limit().is_some_and(is_initial_hop_limit).then_some(source).filter(|&mac| is_of_one_host(mac))
    }
}

impl Worker {
    /// Notes which link-layer address the client of a DNS answer has.
    pub(super) fn note_dns_client(&mut self, answer: &FlowPacket<'_>) {
        if let Some(mac) = answer.client_mac_of_answer() {
            let has_evicted = self.names.neighbours().insert(mac, answer.destination(), answer.frame.timestamp_ns);
            self.counters.add(Counter::NeighboursEvicted, u64::from(has_evicted));
        }
    }

    /// Notes the link-layer address of a hello's client, if somebody will ask for it.
    #[inline]
    pub(super) fn note_mac_of_hello(&mut self, packet: &FlowPacket<'_>, slot: Slot, finding: &HandshakeFinding) {
        if finding.needs_client_mac() {
            self.note_client_mac(packet, slot);
        }
        if self.hello_scope.is_some()
            && let Some((client, mac)) = self.client_mac_of(packet, slot)
        {
            self.scope_macs.insert(client, mac);
        }
    }

    /// Notes the link-layer address of a flow's client, if the packet is the client's.
    #[cold]
    pub(super) fn note_client_mac(&mut self, packet: &FlowPacket<'_>, slot: Slot) {
        if let Some((client, mac)) = self.client_mac_of(packet, slot) {
            self.client_macs.insert(client, mac);
        }
    }

    /// A flow's client and its link-layer address, if the packet is the client's.
    fn client_mac_of(&self, packet: &FlowPacket<'_>, slot: Slot) -> Option<(Address, MacAddress)> {
        let mac = packet.sender_mac()?;
        let side = client_of(self.table.get(slot)?.marks);
        let client = if side == Side::High { packet.key.high } else { packet.key.low };
        (side == packet.side).then_some((client, mac))
    }

    /// The name under which DNS told a server's address to another address of the client's host.
    pub(super) fn name_told_to_host(
        &self,
        client: Address,
        mac: MacAddress,
        server: Address,
        now_ns: u64,
    ) -> Option<Arc<str>> {
        let others = self.names.neighbours().others(mac, client, now_ns);
        others.into_iter().find_map(|other| self.names.lookup(Some(other), server, now_ns))
    }
}
