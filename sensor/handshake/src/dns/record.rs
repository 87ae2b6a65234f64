//! Resource records (RFC 1035 §4.1.3) and the data of those kinds that tell where a name leads: A, AAAA, CNAME,
//! HTTPS and SVCB (RFC 9460). All others are stepped over.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::NameAt;
use vigie_wire::Cursor;

/// Numbers of record types.
pub mod record_type {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const AAAA: u16 = 28;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    /// Incremental zone transfer, a question only.
    pub const IXFR: u16 = 251;
    /// Zone transfer, a question only.
    pub const AXFR: u16 = 252;
}

/// One resource record; its data is looked at when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Whose record it is.
    pub owner: NameAt<'a>,
    /// Type number.
    pub record_type: u16,
    /// Class number; 1 is the Internet.
    pub class: u16,
    /// Time to live, seconds.
    pub ttl_s: u32,
    message: &'a [u8],
    data_start: usize,
    data_end: usize,
}

impl<'a> Record<'a> {
    /// The record at `offset` of `message`, and where the next one begins.
    pub(super) fn new(message: &'a [u8], offset: usize) -> Option<(Self, usize)> {
        let (owner, fixed) = NameAt::new(message, offset)?;
        let mut cursor = Cursor::new(message.get(fixed..)?);
        let (record_type, class, ttl) = (cursor.u16()?, cursor.u16()?, cursor.u32()?);
        let data = cursor.vector16()?;
        let data_end = message.len() - cursor.remaining();
        let record = Self {
            owner,
            record_type,
            class,
            // RFC 2181 §8: a value with the top bit set is zero.
            ttl_s: if ttl >> 31 == 0 { ttl } else { 0 },
            message,
            data_start: data_end - data.len(),
            data_end,
        };
        Some((record, data_end))
    }

    /// What the record says; [`Data::Other`] too if its data does not fit its type.
    pub fn data(&self) -> Data<'a> {
        let bytes = self.message.get(self.data_start..self.data_end).unwrap_or_default();
        let known = match self.record_type {
            record_type::A => bytes.try_into().ok().map(|octets: [u8; 4]| Data::A(octets.into())),
            record_type::AAAA => bytes.try_into().ok().map(|octets: [u8; 16]| Data::Aaaa(octets.into())),
            record_type::CNAME => self.name_at(self.data_start).map(|(name, _)| Data::Cname(name)),
            record_type::HTTPS | record_type::SVCB => self.service().map(Data::Service),
            _ => None,
        };
        known.unwrap_or(Data::Other(bytes))
    }

    /// A name that ends inside the record's data.
    fn name_at(&self, offset: usize) -> Option<(NameAt<'a>, usize)> {
        NameAt::new(self.message, offset).filter(|&(_, end)| end <= self.data_end)
    }

    fn service(&self) -> Option<Service<'a>> {
        let priority = Cursor::new(self.message.get(self.data_start..self.data_end)?).u16()?;
        let (target, parameters) = self.name_at(self.data_start + 2)?;
        Some(Service { priority, target, parameters: self.message.get(parameters..self.data_end)? })
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The canonical name of which the owner is an alias.
    Cname(NameAt<'a>),
    /// An HTTPS or SVCB record.
    Service(Service<'a>),
    /// Not looked into.
    Other(&'a [u8]),
}

/// The data of an HTTPS or SVCB record (RFC 9460 §2.2).
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// Zero makes the record an alias for its target (§2.4.2).
    pub priority: u16,
    /// Who serves; the root stands for the owner itself (§2.5).
    pub target: NameAt<'a>,
    parameters: &'a [u8],
}

impl<'a> Service<'a> {
    /// Number of the parameter with protocols (RFC 9460 §14.3.2).
    const ALPN: u16 = 1;
    /// Number of the parameter with IPv4 addresses.
    const IPV4_HINT: u16 = 4;
    /// Number of the parameter with the keys of Encrypted Client Hello.
    const ECH: u16 = 5;
    /// Number of the parameter with IPv6 addresses.
    const IPV6_HINT: u16 = 6;

    /// Parameters as number and value, up to the first malformed one.
    pub fn parameters(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.parameters);
        std::iter::from_fn(move || Some((cursor.u16()?, cursor.vector16()?)))
    }

    /// IPv4 addresses at which the service is said to be.
    pub fn ipv4_hints(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        self.parameter(Self::IPV4_HINT)
            .chunks_exact(4)
            .filter_map(|octets| <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from))
    }

    /// IPv6 addresses at which the service is said to be.
    pub fn ipv6_hints(&self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        self.parameter(Self::IPV6_HINT)
            .chunks_exact(16)
            .filter_map(|octets| <[u8; 16]>::try_from(octets).ok().map(Ipv6Addr::from))
    }

    /// Protocols that the service speaks.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut cursor = Cursor::new(self.parameter(Self::ALPN));
        std::iter::from_fn(move || cursor.vector8())
    }

    /// Whether keys for Encrypted Client Hello are published.
    pub fn has_ech(&self) -> bool {
        self.parameters().any(|(number, _)| number == Self::ECH)
    }

    fn parameter(&self, wanted: u16) -> &'a [u8] {
        self.parameters().find(|&(number, _)| number == wanted).map(|(_, value)| value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of the root with this data.
    fn record(record_type: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&record_type.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
        bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn service(bytes: &[u8]) -> Service<'_> {
        match Record::new(bytes, 0).unwrap().0.data() {
            Data::Service(service) => service,
            other => panic!("{other:?}"),
        }
    }

    fn target(service: &Service<'_>) -> String {
        service.target.name().unwrap().as_str().to_owned()
    }

    /// RFC 9460 appendix D.1, figure 2.
    #[test]
    fn reads_the_alias_of_rfc_9460() {
        let bytes = record(record_type::HTTPS, b"\0\0\x03foo\x07example\x03com\0");
        let service = service(&bytes);
        assert_eq!((service.priority, target(&service).as_str()), (0, "foo.example.com"));
        assert!(!service.has_ech() && service.parameters().next().is_none());
    }

    /// RFC 9460 appendix D.2, figures 3 (root target), 7 (IPv6 hints) and 9 (unsorted keys, as sorted on the wire).
    #[test]
    fn reads_the_services_of_rfc_9460() {
        let bytes = record(record_type::SVCB, b"\0\x01\0");
        assert_eq!(target(&service(&bytes)), "");

        let hints = b"\0\x01\x03foo\x07example\x03com\0\0\x06\0\x20\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\x53\0\x01";
        let bytes = record(record_type::SVCB, hints);
        let addresses: Vec<Ipv6Addr> = service(&bytes).ipv6_hints().collect();
        assert_eq!(addresses, ["2001:db8::1".parse::<Ipv6Addr>().unwrap(), "2001:db8::53:1".parse().unwrap()]);

        let several = b"\0\x10\x03foo\x07example\x03org\0\0\0\0\x04\0\x01\0\x04\0\x01\0\x09\x02h2\x05h3-19\
            \0\x04\0\x04\xc0\0\x02\x01";
        let bytes = record(record_type::SVCB, several);
        let service = service(&bytes);
        assert_eq!(service.priority, 16);
        assert_eq!(service.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"h3-19"]);
        assert_eq!(service.ipv4_hints().collect::<Vec<_>>(), [Ipv4Addr::new(192, 0, 2, 1)]);
    }

    #[test]
    fn sees_ech_and_stops_at_a_cut_parameter() {
        let bytes = record(record_type::HTTPS, b"\0\x01\0\0\x05\0\x02\xfe\x0d\0\x04\0\x08\x01\x02\x03\x04");
        assert!(service(&bytes).has_ech());
        assert_eq!(service(&bytes).ipv4_hints().count(), 0);
    }

    #[test]
    fn data_that_does_not_fit_its_type_is_other() {
        for (kind, data) in [
            (record_type::A, &b"\x01\x02\x03"[..]),
            (record_type::AAAA, b"\x01\x02\x03\x04"),
            (record_type::CNAME, b"\x03com"),
            (record_type::HTTPS, b"\0\x01\x03com"),
            (record_type::HTTPS, b"\0"),
        ] {
            // What follows the record must not serve as its data.
            let bytes = [record(kind, data), vec![0; 40]].concat();
            let (record, end) = Record::new(&bytes, 0).unwrap();
            assert!(matches!(record.data(), Data::Other(rest) if rest == data), "{kind}");
            assert_eq!(end, bytes.len() - 40);
        }
    }

    #[test]
    fn a_negative_time_to_live_is_zero() {
        let mut bytes = record(record_type::A, &[1, 2, 3, 4]);
        assert_eq!(Record::new(&bytes, 0).unwrap().0.ttl_s, 300);
        bytes[5] = 0x80;
        assert_eq!(Record::new(&bytes, 0).unwrap().0.ttl_s, 0);
        assert!(Record::new(&bytes[..bytes.len() - 1], 0).is_none());
    }
}
