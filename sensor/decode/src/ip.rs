//! IPv4 and IPv6: lengths, options and extension headers, fragments, and what stands above.

use etherparse::err::{ipv4, ipv6};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use vigie_wire::Cursor;

use super::fragments::{Carried, Fragment};
use super::state::DecodeState;
use super::{Address, DecodeError, Decoded, NetworkHeader, transport, tunnel};

/// What the layers above need of an IP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpHeader<'a> {
    pub source: Address,
    pub destination: Address,
    pub is_v6: bool,
    /// Payload length by the header; fewer bytes may have been captured.
    pub payload_length: usize,
    /// The header itself; empty if it does not name the final destination.
    pub network: NetworkHeader<'a>,
}

impl IpHeader<'_> {
    /// An IP header of which only this is known.
    pub fn without_bytes(source: Address, destination: Address, is_v6: bool, payload_length: usize) -> Self {
        Self { source, destination, is_v6, payload_length, network: NetworkHeader::default() }
    }
}

/// An IP packet of either version, by its first nibble.
pub(super) fn any<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => v4(bytes, state),
        Some(6) => v6(bytes, state),
        Some(_) => Err(DecodeError::NotIp),
        None => Err(DecodeError::Ipv4Truncated),
    }
}

/// As [`any`], where the first nibble may be something else by chance: the packet has to be plausible.
pub(super) fn any_if_plausible<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    state.strict = true;
    any(bytes, state)
}

/// An IPv4 packet (RFC 791).
#[inline]
pub(super) fn v4<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        ipv4::HeaderSliceError::Len(_) => DecodeError::Ipv4Truncated,
        ipv4::HeaderSliceError::Content(_) => DecodeError::Ipv4Malformed,
    })?;
    let header_length = header.slice().len();
    // Segmentation offload leaves 0 in packets that were captured before the card segmented them.
    let end = match usize::from(header.total_len()) {
        0 => bytes.len(),
        total => total,
    };
    if end < header_length || (state.strict && !v4_is_plausible(&header, end, bytes.len(), state.truncated)) {
        return Err(DecodeError::Ipv4Malformed);
    }
    let payload = bytes.get(header_length..end.min(bytes.len())).unwrap_or_default();
    let mut ip_header = IpHeader {
        source: Address::v4(header.source()),
        destination: Address::v4(header.destination()),
        is_v6: false,
        payload_length: end - header_length,
        network: NetworkHeader::new(header.slice()),
    };
    if let Some(destination) = v4_final_destination(&header) {
        (ip_header.destination, ip_header.network) = (Address::v4(destination), NetworkHeader::default());
    }
    if header.is_fragmenting_payload() {
        return Ok(v4_fragment(&header, payload, &ip_header, state));
    }
    upper(header.protocol().0, payload, &ip_header, state)
}

#[inline]
fn v4_final_destination(header: &Ipv4HeaderSlice<'_>) -> Option<[u8; 4]> {
    if header.options().is_empty() { None } else { source_route_end(header.options()) }
}

/// Final destination of a source-routed packet: the last address of a route that is not used up (RFC 791 §3.1).
#[cold]
#[inline(never)]
fn source_route_end(options: &[u8]) -> Option<[u8; 4]> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    let mut cursor = Cursor::new(options);
    loop {
        match cursor.u8()? {
            END => return None,
            NO_OPERATION => {}
            kind => {
                let length = cursor.u8()?;
                let mut content = Cursor::new(cursor.take(usize::from(length).checked_sub(2)?)?);
                if matches!(kind, LOOSE_ROUTE | STRICT_ROUTE) {
                    let used_up = content.u8()? > length;
                    return if used_up { None } else { content.rest().last_chunk().copied() };
                }
            }
        }
    }
}

/// Whether this is an IPv4 header and not other bytes by chance: it fills its place exactly, or its checksum is right.
#[cold]
#[inline(never)]
fn v4_is_plausible(header: &Ipv4HeaderSlice<'_>, total: usize, available: usize, truncated: bool) -> bool {
    if (total == available && header.total_len() != 0) || (total > available && truncated) {
        return true;
    }
    let sum = header.slice().chunks_exact(2).fold(0_u32, |sum, pair| match *pair {
        [high, low] => sum + u32::from(u16::from_be_bytes([high, low])),
        _ => sum,
    });
    total <= available && (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// An IPv6 packet (RFC 8200).
#[inline]
pub(super) fn v6<'a>(bytes: &'a [u8], state: &mut DecodeState) -> Result<Decoded<'a>, DecodeError> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|error| match error {
        ipv6::HeaderSliceError::Len(_) => DecodeError::Ipv6Truncated,
        ipv6::HeaderSliceError::Content(_) => DecodeError::Ipv6Malformed,
    })?;
    let rest = bytes.get(header.slice().len()..).unwrap_or_default();
    // Zero: a jumbogram (RFC 2675), segmentation offload, or nothing but headers.
    let announced = match usize::from(header.payload_length()) {
        0 => rest.len(),
        length => length,
    };
    if announced != rest.len() && state.strict && !state.truncated {
        return Err(DecodeError::Ipv6Malformed);
    }
    let payload = rest.get(..announced).unwrap_or(rest);
    let ip_header = IpHeader {
        source: Address::v6(header.source()),
        destination: Address::v6(header.destination()),
        is_v6: true,
        payload_length: announced,
        network: NetworkHeader::new(header.slice()),
    };
    upper(header.next_header().0, payload, &ip_header, state)
}

/// The protocol above IP, by its number.
#[inline]
pub(super) fn upper<'a>(
    protocol: u8,
    payload: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    match protocol {
        transport::TCP => transport::tcp(payload, ip_header, state),
        transport::UDP => transport::udp(payload, ip_header, state),
        _ => other_protocols(protocol, payload, *ip_header, state),
    }
}

/// Extension headers, one after the other, then tunnels and the transports that are not decoded.
#[cold]
#[inline(never)]
fn other_protocols<'a>(
    mut protocol: u8,
    mut payload: &'a [u8],
    mut ip_header: IpHeader<'a>,
    state: &mut DecodeState,
) -> Result<Decoded<'a>, DecodeError> {
    for _ in 0..=state.limits.extension_headers_max {
        let length = match protocol {
            transport::TCP => return transport::tcp(payload, &ip_header, state),
            transport::UDP => return transport::udp(payload, &ip_header, state),
            // RFC 4302 §2.2: counted in words of four bytes, less two.
            AUTHENTICATION => extension_length(payload, 4, 2)?,
            HOP_BY_HOP | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 if ip_header.is_v6 => {
                extension_length(payload, 8, 1)?
            }
            ROUTING if ip_header.is_v6 => {
                if let Some(destination) = final_destination(payload) {
                    (ip_header.destination, ip_header.network) = (destination, NetworkHeader::default());
                }
                extension_length(payload, 8, 1)?
            }
            FRAGMENT if ip_header.is_v6 => match v6_fragment(payload, &ip_header, state)? {
                Some(fragment) => return Ok(fragment),
                None => FRAGMENT_HEADER_LENGTH,
            },
            other => return tunnel::by_protocol(other, payload, &ip_header, state),
        };
        protocol = payload.first().copied().ok_or(DecodeError::ExtensionTruncated)?;
        payload = payload.get(length..).ok_or(DecodeError::ExtensionTruncated)?;
        ip_header.payload_length = ip_header.payload_length.saturating_sub(length);
    }
    Err(DecodeError::TooDeep)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

const FRAGMENT_HEADER_LENGTH: usize = 8;

fn extension_length(header: &[u8], unit: usize, extra: usize) -> Result<usize, DecodeError> {
    let units = header.get(1).copied().ok_or(DecodeError::ExtensionTruncated)?;
    Ok((usize::from(units) + extra) * unit)
}

/// Final destination of a source-routed packet, which is what the transport checksum covers (RFC 8200 §8.1).
fn final_destination(header: &[u8]) -> Option<Address> {
    let &[_, units, kind, segments_left, ..] = header else {
        return None;
    };
    if segments_left == 0 {
        return None;
    }
    let start = match kind {
        // RFC 8200 §4.4: the list's last address. Each address is two units.
        0 => usize::from(units / 2).checked_sub(1)? * 16 + 8,
        // RFC 6275 §6.4.1 has one address; RFC 8754 §2 lists them last first.
        2 | 4 => 8,
        _ => return None,
    };
    let address = header.get(start..)?.first_chunk::<16>()?;
    Some(Address::v6(*address))
}

#[cold]
#[inline(never)]
fn v4_fragment<'a>(
    header: &Ipv4HeaderSlice<'_>,
    payload: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &DecodeState,
) -> Decoded<'a> {
    Decoded::Fragment(Fragment {
        source: ip_header.source,
        destination: ip_header.destination,
        identification: u32::from(header.identification()),
        carried: Carried::Ip { protocol: header.protocol().0, is_v6: false },
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
        truncated: payload.len() < ip_header.payload_length,
        payload,
        network: ip_header.network,
        encapsulation: state.encapsulation(),
        depth: state.depth,
    })
}

/// The fragment that `header` starts (RFC 8200 §4.5); `None` if it is whole in itself (an atomic fragment, RFC 6946).
fn v6_fragment<'a>(
    header: &'a [u8],
    ip_header: &IpHeader<'a>,
    state: &DecodeState,
) -> Result<Option<Decoded<'a>>, DecodeError> {
    let mut cursor = Cursor::new(header);
    let (Some(protocol), Some(_), Some(place), Some(identification)) =
        (cursor.u8(), cursor.u8(), cursor.u16(), cursor.u32())
    else {
        return Err(DecodeError::ExtensionTruncated);
    };
    let (offset, more) = (u32::from(place & !7), place & 1 == 1);
    if offset == 0 && !more {
        return Ok(None);
    }
    Ok(Some(Decoded::Fragment(Fragment {
        source: ip_header.source,
        destination: ip_header.destination,
        identification,
        carried: Carried::Ip { protocol, is_v6: true },
        offset,
        more,
        truncated: header.len() < ip_header.payload_length,
        payload: cursor.rest(),
        network: ip_header.network,
        encapsulation: state.encapsulation(),
        depth: state.depth,
    })))
}
