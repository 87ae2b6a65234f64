//! DNS queries and answers (RFC 1035 §4).

use std::net::IpAddr;

/// A query for the address of `name`, or its answer, through an alias in front of the address if `alias` names one.
pub(super) fn message(id: u16, name: &str, address: IpAddr, answer: Option<Option<&str>>) -> Vec<u8> {
    let kind: u16 = if address.is_ipv4() { 1 } else { 28 };
    let aliases = u16::from(matches!(answer, Some(Some(_))));
    let mut message = Vec::with_capacity(256);
    message.extend(id.to_be_bytes());
    message.extend(if answer.is_some() { [0x81, 0x80] } else { [0x01, 0x00] });
    message.extend([0, 1]);
    message.extend(answer.map_or(0, |_| 1 + aliases).to_be_bytes());
    message.extend([0, 0, 0, 0]);
    push_name(&mut message, name);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    let Some(alias) = answer else { return message };
    // The owner of each record is a pointer to a name that stood before (§4.1.4).
    let mut owner = [0xc0, 12];
    if let Some(alias) = alias {
        message.extend(owner);
        message.extend([0, 5, 0, 1, 0, 0, 1, 44]);
        message.extend((alias.len() as u16 + 2).to_be_bytes());
        owner = (message.len() as u16 | 0xc000).to_be_bytes();
        push_name(&mut message, alias);
    }
    message.extend(owner);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 60]);
    match address {
        IpAddr::V4(v4) => {
            message.extend([0, 4]);
            message.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            message.extend([0, 16]);
            message.extend(v6.octets());
        }
    }
    message
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_handshake::dns::Message;

    #[test]
    fn answers_are_read_as_they_were_meant() {
        for address in ["198.18.1.2", "2001:2::7"].map(|text| text.parse::<IpAddr>().unwrap()) {
            let query = message(7, "www.example.com", address, None);
            assert!(!Message::parse(&query).unwrap().is_response());
            for alias in [None, Some("edge.example.net")] {
                let answer = message(7, "www.example.com", address, Some(alias));
                let answer = Message::parse(&answer).unwrap();
                let mut told = Vec::new();
                answer.addresses(|name, address, _| told.push((name.to_owned(), address)));
                assert_eq!(told, [("www.example.com".to_owned(), address)]);
            }
        }
    }
}
