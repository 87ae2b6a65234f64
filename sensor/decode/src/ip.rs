//! IPv4 and IPv6: lengths, options and extension headers, fragments, and what stands above.

use etherparse::err::{ipv4, ipv6};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use vigie_wire::Cursor;

use super::descent::Descent;
use super::fragments::Fragment;
use super::{Address, DecodeError, Decoded, transport, tunnel};

/// The two ends of an IP packet, and how much it says to carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub source: Address,
    pub destination: Address,
    pub v6: bool,
    /// Bytes of payload that the header announces; fewer may have been captured.
    pub announced: usize,
}

/// An IP packet whose version only its first nibble tells.
pub(super) fn any<'a>(bytes: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => v4(bytes, descent),
        Some(6) => v6(bytes, descent),
        Some(_) => Err(DecodeError::NotIp),
        None => Err(DecodeError::Ipv4Truncated),
    }
}

/// As [`any`], but where chance may have made the first nibble.
pub(super) fn any_surely<'a>(bytes: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
    descent.strict = true;
    any(bytes, descent)
}

/// An IPv4 packet (RFC 791).
#[inline]
pub(super) fn v4<'a>(bytes: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        ipv4::HeaderSliceError::Len(_) => DecodeError::Ipv4Truncated,
        ipv4::HeaderSliceError::Content(_) => DecodeError::Ipv4Malformed,
    })?;
    let header_length = header.slice().len();
    // Zero is what segmentation offload leaves in packets captured before the card cut them.
    let end = match usize::from(header.total_len()) {
        0 => bytes.len(),
        total => total,
    };
    if end < header_length || (descent.strict && !v4_surely(&header, end, bytes.len(), descent.cut)) {
        return Err(DecodeError::Ipv4Malformed);
    }
    let payload = bytes.get(header_length..end.min(bytes.len())).unwrap_or_default();
    let ends = Ends {
        source: Address::v4(header.source()),
        destination: Address::v4(v4_final_destination(&header).unwrap_or(header.destination())),
        v6: false,
        announced: end - header_length,
    };
    if header.is_fragmenting_payload() {
        return Ok(v4_fragment(&header, payload, &ends, descent));
    }
    upper(header.protocol().0, payload, &ends, descent)
}

#[inline]
fn v4_final_destination(header: &Ipv4HeaderSlice<'_>) -> Option<[u8; 4]> {
    if header.options().is_empty() { None } else { source_route_end(header.options()) }
}

/// Where a source-routed packet goes in the end: the last address of a route that is not used up (RFC 791 §3.1).
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

/// Whether chance did not make this header out of something else: it fills its place exactly, or its checksum is
/// right.
#[cold]
#[inline(never)]
fn v4_surely(header: &Ipv4HeaderSlice<'_>, total: usize, available: usize, cut: bool) -> bool {
    if (total == available && header.total_len() != 0) || (total > available && cut) {
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
pub(super) fn v6<'a>(bytes: &'a [u8], descent: &mut Descent<'_>) -> Result<Decoded<'a>, DecodeError> {
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
    if announced != rest.len() && descent.strict && !descent.cut {
        return Err(DecodeError::Ipv6Malformed);
    }
    let payload = rest.get(..announced).unwrap_or(rest);
    let ends = Ends {
        source: Address::v6(header.source()),
        destination: Address::v6(header.destination()),
        v6: true,
        announced,
    };
    upper(header.next_header().0, payload, &ends, descent)
}

/// What stands above IP, by protocol number.
#[inline]
pub(super) fn upper<'a>(
    protocol: u8,
    payload: &'a [u8],
    ends: &Ends,
    descent: &mut Descent<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    match protocol {
        transport::TCP => transport::tcp(payload, ends, descent),
        transport::UDP => transport::udp(payload, ends, descent),
        _ => rarer(protocol, payload, *ends, descent),
    }
}

/// Extension headers, one after the other, then tunnels and the transports that are not followed.
#[cold]
#[inline(never)]
fn rarer<'a>(
    mut protocol: u8,
    mut payload: &'a [u8],
    mut ends: Ends,
    descent: &mut Descent<'_>,
) -> Result<Decoded<'a>, DecodeError> {
    for _ in 0..=descent.limits.extension_headers_max {
        let length = match protocol {
            transport::TCP => return transport::tcp(payload, &ends, descent),
            transport::UDP => return transport::udp(payload, &ends, descent),
            // RFC 4302 §2.2: counted in words of four bytes, less two.
            AUTHENTICATION => extension_length(payload, 4, 2)?,
            HOP_BY_HOP | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 if ends.v6 => extension_length(payload, 8, 1)?,
            ROUTING if ends.v6 => {
                ends.destination = final_destination(payload).unwrap_or(ends.destination);
                extension_length(payload, 8, 1)?
            }
            FRAGMENT if ends.v6 => match v6_fragment(payload, &ends, descent)? {
                Some(fragment) => return Ok(fragment),
                None => FRAGMENT_HEADER_LENGTH,
            },
            other => return tunnel::by_protocol(other, payload, &ends, descent),
        };
        protocol = payload.first().copied().ok_or(DecodeError::ExtensionTruncated)?;
        payload = payload.get(length..).ok_or(DecodeError::ExtensionTruncated)?;
        ends.announced = ends.announced.saturating_sub(length);
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

/// Where a source-routed packet goes in the end, which is what its transport checksum covers (RFC 8200 §8.1).
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
fn v4_fragment<'a>(header: &Ipv4HeaderSlice<'_>, payload: &'a [u8], ends: &Ends, descent: &Descent<'_>) -> Decoded<'a> {
    Decoded::Fragment(Fragment {
        source: ends.source,
        destination: ends.destination,
        identification: u32::from(header.identification()),
        protocol: header.protocol().0,
        v6: false,
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
        cut: payload.len() < ends.announced,
        payload,
        encapsulation: descent.encapsulation(),
        depth: descent.depth,
    })
}

/// The fragment that `header` starts (RFC 8200 §4.5); `None` if it is whole in itself (an atomic fragment, RFC 6946).
fn v6_fragment<'a>(header: &'a [u8], ends: &Ends, descent: &Descent<'_>) -> Result<Option<Decoded<'a>>, DecodeError> {
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
        source: ends.source,
        destination: ends.destination,
        identification,
        protocol,
        v6: true,
        offset,
        more,
        cut: header.len() < ends.announced,
        payload: cursor.rest(),
        encapsulation: descent.encapsulation(),
        depth: descent.depth,
    })))
}
