//! DNS answers built by hand (RFC 1035 §4.1).

use std::net::{IpAddr, SocketAddr};

use crate::packets::udp;

/// Record types.
const A: u16 = 1;
const AAAA: u16 = 28;

/// A response: `name` has this address for `ttl_s` seconds.
pub fn answer(name: &str, address: IpAddr, ttl_s: u32) -> Vec<u8> {
    answer_with(name, &[address], ttl_s)
}

/// A response: `name` has these addresses, all of the same version, for `ttl_s` seconds.
pub fn answer_with(name: &str, addresses: &[IpAddr], ttl_s: u32) -> Vec<u8> {
    let kind = if addresses.iter().any(IpAddr::is_ipv6) { AAAA } else { A };
    let mut message = header(0x8180, addresses.len());
    message.extend(question(name, kind));
    for address in addresses {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The answer's name: a pointer to the question's.
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl_s.to_be_bytes());
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    message
}

/// A query for the IPv4 addresses of `name`.
pub fn query(name: &str) -> Vec<u8> {
    [header(0x0100, 0), question(name, A)].concat()
}

fn header(flags: u16, answers: usize) -> Vec<u8> {
    let mut header = vec![0x12, 0x34];
    for field in [flags, 1, u16::try_from(answers).unwrap(), 0, 0] {
        header.extend(field.to_be_bytes());
    }
    header
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut question = Vec::new();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(kind.to_be_bytes());
    question.extend([0, 1]);
    question
}

/// The frame with which a resolver tells `client` that `name` has this address.
pub fn told(client: IpAddr, name: &str, address: IpAddr) -> Vec<u8> {
    let resolver = match client {
        IpAddr::V4(_) => IpAddr::from([198, 51, 100, 53]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53]),
    };
    udp(SocketAddr::new(resolver, 53), SocketAddr::new(client, 54_321), &answer(name, address, 60))
}
