//! Prefixes of addresses, and tables in which the longest prefix answers.
//!
//! A table is flattened into disjoint ranges when it is built, so a look-up is one binary search and a million prefixes
//! need at most 40 MB.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Refusal;

/// Says that a range has no value.
const NONE: u32 = u32::MAX;

/// A range of addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    first: IpAddr,
    bits: u8,
}

impl Prefix {
    /// How many bits are common.
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// Whether an address begins with it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::around(address, self.bits) == Some(self)
    }

    /// The prefix of so many bits around an address; none if the address is shorter.
    pub(super) fn around(address: IpAddr, bits: u8) -> Option<Self> {
        let first = match address.to_canonical() {
            IpAddr::V4(address) if bits <= 32 => IpAddr::V4(Ipv4Addr::from_bits(first_v4(address.to_bits(), bits))),
            IpAddr::V6(address) if bits <= 128 => IpAddr::V6(Ipv6Addr::from_bits(first_v6(address.to_bits(), bits))),
            _ => return None,
        };
        Some(Self { first, bits })
    }
}

/// The bits of an address.
const fn full_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

const fn first_v4(address: u32, bits: u8) -> u32 {
    address & !low_v4(bits)
}

const fn first_v6(address: u128, bits: u8) -> u128 {
    address & !low_v6(bits)
}

/// The bits that are not common, all set.
const fn low_v4(bits: u8) -> u32 {
    match u32::MAX.checked_shr(bits as u32) {
        Some(low) => low,
        None => 0,
    }
}

const fn low_v6(bits: u8) -> u128 {
    match u128::MAX.checked_shr(bits as u32) {
        Some(low) => low,
        None => 0,
    }
}

impl FromStr for Prefix {
    type Err = Refusal;

    /// Reads `192.0.2.0/24`; a bare address is a prefix of full length.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let no_prefix = || Refusal::new("not an address or prefix", "write one such as 10.20.0.0/16 or 2001:db8::/48");
        let address: IpAddr = address.parse().map_err(|_| no_prefix())?;
        let address = address.to_canonical();
        let most = full_bits(address);
        let bits = match bits.map(str::parse::<u8>) {
            None => most,
            Some(Ok(bits)) if bits <= most => bits,
            Some(_) => {
                let what = format!("a prefix has 0 to {most} bits");
                return Err(Refusal::new(what, format!("write {address}/N with N up to {most}")));
            }
        };
        let prefix = Self::around(address, bits).ok_or_else(no_prefix)?;
        if prefix.first != address {
            return Err(Refusal::new("bits are set behind the prefix length", format!("write {prefix}")));
        }
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == full_bits(self.first) {
            true => write!(formatter, "{}", self.first),
            false => write!(formatter, "{}/{}", self.first, self.bits),
        }
    }
}

/// An address as a number.
trait Number: Copy + Ord {
    fn last(self, bits: u8) -> Self;
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn last(self, bits: u8) -> Self {
        self | low_v4(bits)
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn last(self, bits: u8) -> Self {
        self | low_v6(bits)
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// Where each range starts, and its value up to the next.
#[derive(Debug)]
struct Ranges<N> {
    starts: Vec<N>,
    values: Vec<u32>,
}

impl<N> Default for Ranges<N> {
    fn default() -> Self {
        Self { starts: Vec::new(), values: Vec::new() }
    }
}

impl<N: Number> Ranges<N> {
    /// Flattens prefixes that are sorted, wide ones before those within them, each once.
    fn flatten(prefixes: &[(N, u8, u32)]) -> Self {
        let mut ranges = Self::default();
        ranges.starts.reserve(prefixes.len() + 1);
        ranges.values.reserve(prefixes.len() + 1);
        let mut open: Vec<(N, u32)> = Vec::new();
        for (first, bits, value) in prefixes {
            ranges.close(&mut open, Some(*first));
            open.push((first.last(*bits), *value));
            ranges.mark(*first, *value);
        }
        ranges.close(&mut open, None);
        ranges.starts.shrink_to_fit();
        ranges.values.shrink_to_fit();
        ranges
    }

    /// Ends the prefixes that end before `until`.
    fn close(&mut self, open: &mut Vec<(N, u32)>, until: Option<N>) {
        while let Some((last, _)) = open.pop_if(|(last, _)| until.is_none_or(|until| *last < until)) {
            if let Some(next) = last.next() {
                self.mark(next, open.last().map_or(NONE, |(_, outer)| *outer));
            }
        }
    }

    fn mark(&mut self, start: N, value: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn find(&self, number: N) -> Option<u32> {
        let after = self.starts.partition_point(|start| *start <= number);
        self.values.get(after.checked_sub(1)?).copied().filter(|value| *value != NONE)
    }
}

/// A table of prefixes with a value each.
#[derive(Debug, Default)]
pub(super) struct PrefixTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl PrefixTable {
    /// The value of the longest prefix that an address begins with.
    pub(super) fn find(&self, address: IpAddr) -> Option<u32> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

/// The prefixes of a table that is being built.
#[derive(Debug, Default)]
pub(super) struct PrefixTableBuilder {
    v4: Vec<(u32, u8, u32)>,
    v6: Vec<(u128, u8, u32)>,
}

impl PrefixTableBuilder {
    /// Adds a prefix; `value` must not be [`u32::MAX`].
    pub(super) fn add(&mut self, prefix: Prefix, value: u32) {
        match prefix.first {
            IpAddr::V4(first) => self.v4.push((first.to_bits(), prefix.bits, value)),
            IpAddr::V6(first) => self.v6.push((first.to_bits(), prefix.bits, value)),
        }
    }

    /// The table, or the two values of a prefix that was added twice, the earlier first.
    pub(super) fn build(mut self) -> Result<PrefixTable, (u32, u32)> {
        self.v4.sort_unstable();
        self.v6.sort_unstable();
        twice(&self.v4).or_else(|| twice(&self.v6)).map_or(Ok(()), Err)?;
        // One list is freed before the next is flattened.
        let v4 = Ranges::flatten(&std::mem::take(&mut self.v4));
        Ok(PrefixTable { v4, v6: Ranges::flatten(&self.v6) })
    }
}

/// The values of the first prefix that stands twice in a sorted list.
fn twice<N: Number>(prefixes: &[(N, u8, u32)]) -> Option<(u32, u32)> {
    prefixes.windows(2).find_map(|pair| match pair {
        [(first, bits, one), (other, more, two)] if first == other && bits == more => Some((*one, *two)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(prefixes: &[&str]) -> Result<PrefixTable, (u32, u32)> {
        let mut builder = PrefixTableBuilder::default();
        prefixes.iter().zip(0..).for_each(|(prefix, value)| builder.add(prefix.parse().unwrap(), value));
        builder.build()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_are_read_and_written() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), written);
        }
        for (text, expected) in [
            ("10.0.0.0/33", "a prefix has 0 to 32 bits; write 10.0.0.0/N with N up to 32"),
            ("2001:db8::/129", "a prefix has 0 to 128 bits; write 2001:db8::/N with N up to 128"),
            ("10.1.2.3/16", "bits are set behind the prefix length; write 10.1.0.0/16"),
            ("10.1", "not an address or prefix; write one such as 10.20.0.0/16 or 2001:db8::/48"),
            ("", "not an address or prefix; write one such as 10.20.0.0/16 or 2001:db8::/48"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_longest_prefix_answers() {
        let table = table(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "2001:db8:0:1::/64"]).unwrap();
        for (address, value) in [
            ("10.0.0.0", Some(0)),
            ("10.255.255.255", Some(0)),
            ("10.1.255.255", Some(1)),
            ("10.1.2.2", Some(1)),
            ("10.1.2.3", Some(2)),
            ("10.1.2.4", Some(1)),
            ("10.2.0.0", Some(0)),
            ("11.0.0.0", None),
            ("9.255.255.255", None),
            ("2001:db8::1", Some(3)),
            ("2001:db8:0:1:ffff::", Some(4)),
            ("2001:db8:0:2::", Some(3)),
            ("2001:db9::", None),
            ("::ffff:10.1.2.3", Some(2)),
        ] {
            assert_eq!(table.find(ip(address)), value, "{address}");
        }
    }

    #[test]
    fn a_prefix_within_the_end_of_another_is_found() {
        let prefixes: Vec<String> =
            (0..16).flat_map(|four| [format!("10.0.0.{}/31", four * 4), format!("10.0.0.{}", four * 4 + 1)]).collect();
        let table = table(&prefixes.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for low in 0..64 {
            let value = [Some(low / 4 * 2), Some(low / 4 * 2 + 1), None, None][low as usize % 4];
            assert_eq!(table.find(ip(&format!("10.0.0.{low}"))), value, "10.0.0.{low}");
        }
    }

    #[test]
    fn no_prefix_is_longer_than_an_address() {
        assert!(Prefix::around(ip("10.0.0.1"), 32).is_some() && Prefix::around(ip("10.0.0.1"), 33).is_none());
        assert!(Prefix::around(ip("2001:db8::"), 128).is_some() && Prefix::around(ip("2001:db8::"), 129).is_none());
    }

    #[test]
    fn the_whole_space_and_its_ends() {
        let table = table(&["0.0.0.0/0", "255.255.255.255", "::/0", "ffff::/16"]).unwrap();
        assert_eq!((table.find(ip("0.0.0.0")), table.find(ip("255.255.255.254"))), (Some(0), Some(0)));
        assert_eq!(table.find(ip("255.255.255.255")), Some(1));
        assert_eq!(table.find(ip("::")), Some(2));
        assert_eq!(table.find(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), Some(3));
        assert_eq!(PrefixTable::default().find(ip("10.0.0.1")), None);
    }

    #[test]
    fn a_prefix_that_is_added_twice_is_refused() {
        assert_eq!(table(&["10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/8"]).unwrap_err(), (0, 2));
        assert_eq!(table(&["2001:db8::/32", "2001:db8::/32"]).unwrap_err(), (0, 1));
    }

    proptest! {
        #[test]
        fn ranges_answer_as_the_prefixes_do(
            drafts in proptest::collection::btree_map((any::<u8>(), 20_u8..=32), any::<bool>(), 0..40),
            asked in proptest::collection::vec(any::<u16>(), 1..60),
        ) {
            let mut builder = PrefixTableBuilder::default();
            let mut prefixes = std::collections::BTreeMap::new();
            for (low, bits) in drafts.keys() {
                let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | u32::from(*low) << 4));
                let prefix = Prefix::around(address, *bits).unwrap();
                let value = prefixes.len() as u32;
                prefixes.entry(prefix).or_insert_with(|| { builder.add(prefix, value); value });
            }
            let table = builder.build().unwrap();
            for low in asked {
                let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | u32::from(low)));
                let longest = prefixes.iter().filter(|(prefix, _)| prefix.contains(address));
                let longest = longest.max_by_key(|(prefix, _)| prefix.bits()).map(|(_, value)| *value);
                prop_assert_eq!(table.find(address), longest);
            }
        }
    }
}
