//! From an address to its rule: the most specific prefix answers.
//!
//! The prefixes are flattened into disjoint ranges when the bundle is read, so a look-up is one binary search.
//! A prefix that is less sure than the wider one of the same service around it lets that one answer: a doubtful
//! detail must not hide what is certain.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::words::Confidence;

/// Widest prefixes that make sense in a signature.
const PREFIX_BITS_MIN: (u8, u8) = (8, 16);

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// First and last address as numbers; IPv4 stands where it is mapped into IPv6 (RFC 4291 §2.5.5.2).
    fn bounds(self) -> (u128, u128) {
        let (first, width) = match self.address {
            IpAddr::V4(address) => (number(address.into()), 32 - u32::from(self.bits.min(32))),
            IpAddr::V6(address) => (number(address.into()), 128 - u32::from(self.bits.min(128))),
        };
        let hosts = 1_u128.checked_shl(width).map_or(u128::MAX, |size| size - 1);
        (first & !hosts, first | hosts)
    }
}

impl FromStr for Network {
    type Err = String;

    /// Reads `192.0.2.0/24`; a bare address is a prefix of full length.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| format!("\"{text}\" is not an address or prefix"))?;
        let (full, least) = match address {
            IpAddr::V4(_) => (32, PREFIX_BITS_MIN.0),
            IpAddr::V6(_) => (128, PREFIX_BITS_MIN.1),
        };
        let bits = match bits.map(str::parse::<u8>) {
            None => full,
            Some(Ok(bits)) if bits <= full => bits,
            Some(_) => return Err(format!("\"{text}\" has a bad prefix length")),
        };
        if bits < least {
            return Err(format!("\"{text}\" is wider than /{least}"));
        }
        let network = Self { address, bits };
        if network.bounds().0 != number(address) {
            return Err(format!("\"{text}\" has bits set behind its prefix length"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

/// One rule as the table needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) network: Network,
    /// Number given back by look-ups.
    pub(crate) rule: u32,
    pub(crate) asn: Option<u32>,
    /// Equal for rules of one service.
    pub(crate) service: u32,
    pub(crate) confidence: Confidence,
    /// Which directory it comes from; later ones override.
    pub(crate) layer: u32,
    pub(crate) silent: bool,
}

/// What a range of addresses answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    rule: u32,
    asn: Option<u32>,
}

/// The table: where each range starts, and what it answers up to the next.
#[derive(Debug, Default)]
pub(crate) struct AddressTable {
    starts: Vec<u128>,
    answers: Vec<Option<Answer>>,
}

/// A prefix that the sweep stands in.
struct Open {
    last: u128,
    entry: Entry,
    answer: Answer,
}

impl AddressTable {
    /// Flattens the prefixes. Of equal ones the latest layer answers, then the surest, then the first.
    pub(crate) fn build(entries: &[Entry]) -> Self {
        let mut sorted: Vec<(u128, u128, &Entry)> = entries
            .iter()
            .map(|entry| {
                let (first, last) = entry.network.bounds();
                (first, last, entry)
            })
            .collect();
        // Wide before narrow; of equal ones the best last, for the last one opened answers.
        sorted.sort_by_key(|(first, last, entry)| {
            (*first, u128::MAX - *last, entry.layer, entry.confidence, u32::MAX - entry.rule)
        });
        let mut table = Self::default();
        let mut open: Vec<Open> = Vec::new();
        for (first, last, entry) in sorted {
            table.close(&mut open, Some(first));
            let answer = answer_within(open.last(), entry);
            open.push(Open { last, entry: *entry, answer });
            table.mark(first, Some(answer));
        }
        table.close(&mut open, None);
        table
    }

    /// Closes what ends before `until`.
    fn close(&mut self, open: &mut Vec<Open>, until: Option<u128>) {
        while let Some(done) = open.pop_if(|inner| until.is_none_or(|until| inner.last < until)) {
            if let Some(next) = done.last.checked_add(1) {
                self.mark(next, open.last().map(|outer| outer.answer));
            }
        }
    }

    fn mark(&mut self, start: u128, answer: Option<Answer>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.answers.pop();
        }
        if self.answers.last().copied().flatten() != answer {
            self.starts.push(start);
            self.answers.push(answer);
        }
    }

    fn answer(&self, address: IpAddr) -> Option<Answer> {
        let wanted = number(address);
        let after = self.starts.partition_point(|start| *start <= wanted);
        self.answers.get(after.checked_sub(1)?).copied().flatten()
    }

    /// The rule that answers for an address.
    pub(crate) fn find(&self, address: IpAddr) -> Option<u32> {
        self.answer(address).map(|answer| answer.rule)
    }

    /// The autonomous system that an address is known to be in.
    pub(crate) fn asn(&self, address: IpAddr) -> Option<u32> {
        self.answer(address)?.asn
    }
}

/// What a prefix answers, given the one around it.
fn answer_within(outer: Option<&Open>, entry: &Entry) -> Answer {
    let own = Answer { rule: entry.rule, asn: entry.asn.or(outer.and_then(|outer| outer.answer.asn)) };
    match outer {
        Some(outer)
            if outer.entry.service == entry.service
                && outer.entry.layer == entry.layer
                && outer.entry.confidence > entry.confidence
                && outer.answer.rule == outer.entry.rule
                && !entry.silent =>
        {
            outer.answer
        }
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(rule: u32, network: &str, service: u32, confidence: Confidence) -> Entry {
        let network = network.parse().unwrap();
        Entry { network, rule, asn: Some(rule + 64_500), service, confidence, layer: 0, silent: false }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_are_read_and_refused() {
        assert_eq!("192.0.2.7".parse::<Network>().unwrap().to_string(), "192.0.2.7/32");
        assert_eq!("2001:db8::/32".parse::<Network>().unwrap().to_string(), "2001:db8::/32");
        for bad in ["", "192.0.2.0/33", "192.0.2.1/24", "0.0.0.0/0", "::/0", "2001:db8::1/64", "192.0.2.0/x", "a.b"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_most_specific_prefix_answers() {
        let table = AddressTable::build(&[
            entry(0, "198.51.0.0/16", 1, Confidence::High),
            entry(1, "198.51.100.0/24", 2, Confidence::Low),
            entry(2, "198.51.100.128/25", 1, Confidence::High),
            entry(3, "2001:db8::/32", 1, Confidence::High),
        ]);
        assert_eq!(table.find(ip("198.51.0.0")), Some(0));
        assert_eq!(table.find(ip("198.51.100.1")), Some(1));
        assert_eq!(table.find(ip("198.51.100.200")), Some(2));
        assert_eq!(table.find(ip("198.51.101.0")), Some(0));
        assert_eq!(table.find(ip("198.51.255.255")), Some(0));
        assert_eq!(table.find(ip("198.52.0.0")), None);
        assert_eq!(table.find(ip("198.50.255.255")), None);
        assert_eq!(table.find(ip("2001:db8:ffff::1")), Some(3));
        assert_eq!(table.find(ip("2001:db9::")), None);
        assert_eq!(table.find(ip("::ffff:198.51.100.1")), Some(1));
        assert_eq!(table.asn(ip("198.51.100.1")), Some(64_501));
    }

    #[test]
    fn doubt_does_not_hide_what_is_certain() {
        let table = AddressTable::build(&[
            entry(0, "198.51.0.0/16", 1, Confidence::High),
            entry(1, "198.51.100.0/24", 1, Confidence::Low),
            Entry { silent: true, ..entry(2, "198.51.101.0/24", 1, Confidence::Low) },
            entry(3, "203.0.113.0/24", 1, Confidence::Low),
            entry(4, "203.0.113.0/24", 2, Confidence::High),
            Entry { asn: None, ..entry(5, "203.0.113.7", 3, Confidence::High) },
        ]);
        assert_eq!(table.find(ip("198.51.100.1")), Some(0));
        assert_eq!(table.find(ip("198.51.101.1")), Some(2));
        assert_eq!(table.find(ip("203.0.113.1")), Some(4));
        assert_eq!(table.find(ip("203.0.113.7")), Some(5));
        assert_eq!(table.asn(ip("203.0.113.7")), Some(64_504));
    }

    #[test]
    fn the_ends_of_the_address_space() {
        let table = AddressTable::build(&[
            entry(0, "ff00::/16", 1, Confidence::High),
            entry(1, "ffff::/16", 1, Confidence::High),
        ]);
        assert_eq!(table.find(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), Some(1));
        assert_eq!(table.find(ip("::")), None);
    }

    proptest! {
        #[test]
        fn equals_the_longest_prefix(
            drafts in proptest::collection::vec((any::<u16>(), 20_u8..=32), 0..40),
            asked in proptest::collection::vec(any::<u16>(), 1..60),
        ) {
            let entries: Vec<Entry> = drafts.iter().enumerate().map(|(rule, (low, bits))| {
                let address = (0x0a00_0000 | u32::from(*low)) & (u32::MAX << (32 - bits));
                let text = format!("{}/{bits}", std::net::Ipv4Addr::from_bits(address));
                entry(rule as u32, &text, rule as u32, Confidence::High)
            }).collect();
            let table = AddressTable::build(&entries);
            for low in asked {
                let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 | u32::from(low)));
                let best = entries.iter().filter(|entry| {
                    let (first, last) = entry.network.bounds();
                    (first..=last).contains(&number(address))
                }).max_by_key(|entry| (entry.network.bits, u32::MAX - entry.rule));
                prop_assert_eq!(table.find(address), best.map(|entry| entry.rule));
            }
        }
    }
}
