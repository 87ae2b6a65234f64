//! DNS answers built by hand (RFC 1035 §4.1).

use std::net::{IpAddr, SocketAddr};

use crate::packets::udp;

/// A response: `name` has this address for `ttl_s` seconds.
pub fn answer(name: &str, address: IpAddr, ttl_s: u32) -> Vec<u8> {
    let (kind, data) = match address {
        IpAddr::V4(address) => (1_u16, address.octets().to_vec()),
        IpAddr::V6(address) => (28, address.octets().to_vec()),
    };
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    // The answer's name: a pointer to the question's.
    message.extend([0xc0, 12]);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message.extend(ttl_s.to_be_bytes());
    message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    message.extend(data);
    message
}

/// The frame with which a resolver tells `client` that `name` has this address.
pub fn told(client: IpAddr, name: &str, address: IpAddr) -> Vec<u8> {
    let resolver = match client {
        IpAddr::V4(_) => IpAddr::from([198, 51, 100, 53]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53]),
    };
    udp(SocketAddr::new(resolver, 53), SocketAddr::new(client, 54_321), &answer(name, address, 60))
}
