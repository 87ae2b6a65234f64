//! Community ID v1: the same string for a flow in every sensor that sees it, whichever side it sees first.
//! The seed is 0. Of nested packets the innermost addresses count; VLANs and tunnels do not.
//!
//! Specification: github.com/corelight/community-id-spec.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Length of the identifier: `1:` and twenty bytes in base64.
pub const LENGTH: usize = 30;

pub(crate) const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
pub(crate) const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// One end of a flow: address and port. For ICMP the source's port is the message type; the destination's is the type that
/// answers, or the code if none does.
pub type Endpoint = (IpAddr, u16);

/// The identifier of the flow between `source` and `destination`, as ASCII bytes.
pub fn community_id(protocol: u8, source: Endpoint, destination: Endpoint) -> [u8; LENGTH] {
    let tuple = Tuple::new(protocol, source, destination);
    let mut hash = Sha1::new();
    hash.update([0, 0]); // the seed
    for address in [tuple.first.0, tuple.second.0] {
        match address {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
    }
    hash.update([protocol, 0]);
    if tuple.has_ports {
        hash.update(tuple.first.1.to_be_bytes());
        hash.update(tuple.second.1.to_be_bytes());
    }
    let mut id = [b'='; LENGTH];
    if let Some((version, digest)) = id.split_at_mut_checked(2) {
        version.copy_from_slice(b"1:");
        // Twenty bytes are always twenty-eight characters: it fits.
        let _ = STANDARD.encode_slice(hash.finalize(), digest);
    }
    id
}

/// What is hashed, the smaller end first.
struct Tuple {
    first: Endpoint,
    second: Endpoint,
    has_ports: bool,
}

impl Tuple {
    fn new(protocol: u8, source: Endpoint, destination: Endpoint) -> Self {
        let (mut first, mut second) = (source, destination);
        let mut one_way = false;
        if let ICMP | ICMP6 = protocol {
            match counterpart(protocol, source.1) {
                Some(answer) => second.1 = answer,
                None => one_way = true,
            }
        }
        // A message that has no answer keeps its direction.
        if !one_way && order(first, second) == Ordering::Greater {
            (first, second) = (second, first);
        }
        Self { first, second, has_ports: matches!(protocol, TCP | UDP | SCTP | ICMP | ICMP6) }
    }
}

fn order(left: Endpoint, right: Endpoint) -> Ordering {
    match (left.0, right.0) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.cmp(&b),
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets().cmp(&b.octets()),
        (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
        (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
    }
    .then(left.1.cmp(&right.1))
}

/// Type and code of the ICMP message that opened a flow, from what its ends have in place of ports. A message that has an answer
/// has code 0.
pub(crate) const fn icmp_message(protocol: u8, source: u16, destination: u16) -> Option<(u8, u8)> {
    if protocol != ICMP && protocol != ICMP6 {
        return None;
    }
    let has_answer = counterpart(protocol, source).is_some();
    Some((source as u8, if has_answer { 0 } else { destination as u8 }))
}

/// The message type that answers, or is answered by, another (RFC 792, RFC 950, RFC 1256; RFC 4443, RFC 4861, RFC 2710,
/// RFC 4620, RFC 6275).
const fn counterpart(protocol: u8, message_type: u16) -> Option<u16> {
    Some(match (protocol, message_type) {
        (ICMP, 0) => 8,
        (ICMP, 8) => 0,
        (ICMP, 9) => 10,
        (ICMP, 10) => 9,
        (ICMP, 13) => 14,
        (ICMP, 14) => 13,
        (ICMP, 15) => 16,
        (ICMP, 16) => 15,
        (ICMP, 17) => 18,
        (ICMP, 18) => 17,
        (ICMP6, 128) => 129,
        (ICMP6, 129) => 128,
        (ICMP6, 130) => 131,
        (ICMP6, 131) => 130,
        (ICMP6, 133) => 134,
        (ICMP6, 134) => 133,
        (ICMP6, 135) => 136,
        (ICMP6, 136) => 135,
        (ICMP6, 139) => 140,
        (ICMP6, 140) => 139,
        (ICMP6, 144) => 145,
        (ICMP6, 145) => 144,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(protocol: u8, source: &str, destination: &str, ports: (u16, u16)) -> String {
        let id = community_id(protocol, (source.parse().unwrap(), ports.0), (destination.parse().unwrap(), ports.1));
        String::from_utf8(id.to_vec()).unwrap()
    }

    /// The rows of `baseline/baseline_deflt.json` of the specification's repository.
    #[test]
    fn answers_the_baseline_of_the_specification() {
        for (protocol, source, destination, ports, expected) in [
            (
                ICMP6,
                "fe80::200:86ff:fe05:80da",
                "fe80::260:97ff:fe07:69ea",
                (135, 136),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                ICMP6,
                "fe80::260:97ff:fe07:69ea",
                "fe80::200:86ff:fe05:80da",
                (136, 135),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                ICMP6,
                "fe80::260:97ff:fe07:69ea",
                "fe80::200:86ff:fe05:80da",
                (135, 136),
                "1:zavyT/cezQr1fmImYCwYnMXbgck=",
            ),
            (
                ICMP6,
                "fe80::200:86ff:fe05:80da",
                "fe80::260:97ff:fe07:69ea",
                (136, 135),
                "1:zavyT/cezQr1fmImYCwYnMXbgck=",
            ),
            (
                ICMP6,
                "3ffe:501:1800:2345::2",
                "3ffe:507:0:1:200:86ff:fe05:80da",
                (3, 0),
                "1:2ObVBgIn28oZvibYZhZMBgh7WdQ=",
            ),
            (
                ICMP6,
                "3ffe:501:410:0:2c0:dfff:fe47:33e",
                "3ffe:507:0:1:200:86ff:fe05:80da",
                (1, 4),
                "1:hLZd0XGWojozrvxqE0dWB1iM6R0=",
            ),
            (
                ICMP6,
                "3ffe:507:0:1:200:86ff:fe05:80da",
                "3ffe:501:0:1001::2",
                (128, 129),
                "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=",
            ),
            (
                ICMP6,
                "3ffe:501:0:1001::2",
                "3ffe:507:0:1:200:86ff:fe05:80da",
                (129, 128),
                "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=",
            ),
            (ICMP6, "fe80::200:86ff:fe05:80da", "ff02::2", (133, 134), "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0="),
            (ICMP6, "fe80::260:97ff:fe07:69ea", "ff02::1", (134, 133), "1:pkvHqCL88/tg1k4cPigmZXUtL00="),
            (ICMP, "192.168.0.89", "192.168.0.1", (8, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
            (ICMP, "192.168.0.1", "192.168.0.89", (0, 8), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
            (ICMP, "10.0.0.1", "10.0.0.2", (11, 0), "1:YHxtAirCG//0OzkcVAukqKQN9xM="),
            (
                TCP,
                "2001:470:e5bf:dead:4957:2174:e82c:4887",
                "2607:f8b0:400c:c03::1a",
                (63943, 25),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (
                TCP,
                "2607:f8b0:400c:c03::1a",
                "2001:470:e5bf:dead:4957:2174:e82c:4887",
                (25, 63943),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (SCTP, "192.168.170.8", "192.168.170.56", (7, 7), "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
            (SCTP, "192.168.170.56", "192.168.170.8", (7, 7), "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
            (TCP, "128.232.110.120", "66.35.250.204", (34855, 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (TCP, "66.35.250.204", "128.232.110.120", (80, 34855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (UDP, "192.168.1.52", "8.8.8.8", (54585, 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (UDP, "8.8.8.8", "192.168.1.52", (53, 54585), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (46, "10.1.12.1", "10.1.12.2", (0, 0), "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
            (46, "10.1.12.2", "10.1.12.1", (0, 0), "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
        ] {
            assert_eq!(id(protocol, source, destination, ports), expected, "{protocol} {source} {destination}");
        }
    }

    #[test]
    fn equal_addresses_are_ordered_by_port() {
        assert_eq!(id(TCP, "127.0.0.1", "127.0.0.1", (443, 50000)), id(TCP, "127.0.0.1", "127.0.0.1", (50000, 443)));
        assert_ne!(id(TCP, "127.0.0.1", "127.0.0.1", (443, 50000)), id(UDP, "127.0.0.1", "127.0.0.1", (443, 50000)));
    }
}
