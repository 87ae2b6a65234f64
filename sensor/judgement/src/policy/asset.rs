//! The asset list: devices and networks by prefix or MAC, with label, site, ministry and kind of scope.
//!
//! Compact, since a state has a million devices: an entry is eight bytes and its label, and words that repeat stand once.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use foldhash::fast::FixedState;

use super::prefix::{Prefix, PrefixTable, PrefixTableBuilder};
use super::{Refusal, ScopeKind};

/// Most entries of a list.
pub const ASSETS_MAX: usize = 4_194_304;
/// Longest label, site or ministry.
pub const ASSET_TEXT_BYTES_MAX: usize = 255;

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = Refusal;

    /// Reads six bytes in hexadecimal digits, with colons or hyphens between them.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let refusal = || Refusal::new("not a MAC address", "write one such as 02:00:5e:10:00:01");
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(refusal)?;
            // `from_str_radix` takes a sign, too.
            let is_hex = part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| is_hex).ok_or_else(refusal)?;
        }
        parts.next().map_or(Ok(Self(bytes)), |_| Err(refusal()))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// What an entry of the list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetKey {
    /// An address or a network.
    Prefix(Prefix),
    /// A device.
    Mac(Mac),
}

impl FromStr for AssetKey {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Ok(mac) = text.parse() {
            return Ok(Self::Mac(mac));
        }
        text.parse().map(Self::Prefix).map_err(|refusal: Refusal| match refusal.what.as_str() {
            "not an address or prefix" => {
                let mend = "write one such as 10.20.0.7, 10.20.0.0/16 or 02:00:5e:10:00:01";
                Refusal::new("not an address, prefix or MAC address", mend)
            }
            _ => refusal,
        })
    }
}

/// What the list says about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset<'a> {
    /// Number of the entry, from 0.
    pub number: u32,
    /// Name of the device; empty if the list has none.
    pub label: &'a str,
    /// Where it is; empty if the list does not say.
    pub site: &'a str,
    /// Whose it is; empty if the list does not say.
    pub ministry: &'a str,
    /// What kind of device; none if its network tells.
    pub kind: Option<ScopeKind>,
}

/// What entries share: numbers of site and ministry, and the kind.
type Place = (u32, u32, Option<ScopeKind>);

/// An entry; its label begins where that of the one before ends.
#[derive(Clone, Copy, Debug)]
struct Entry {
    label_end: u32,
    place: u32,
}

/// The asset list, ready to answer. Of prefixes the longest answers.
#[derive(Debug, Default)]
pub struct Assets {
    entries: Vec<Entry>,
    labels: String,
    texts: Vec<Box<str>>,
    places: Vec<Place>,
    prefixes: PrefixTable,
    macs: Vec<(Mac, u32)>,
}

impl Assets {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a MAC address.
    pub fn by_mac(&self, mac: Mac) -> Option<Asset<'_>> {
        let at = self.macs.binary_search_by_key(&mac, |(known, _)| *known).ok()?;
        self.asset(self.macs.get(at)?.1)
    }

    /// The entry of the longest prefix that an address begins with.
    pub fn by_address(&self, address: IpAddr) -> Option<Asset<'_>> {
        self.asset(self.prefixes.find(address)?)
    }

    /// The kinds of scope that entries name.
    pub fn kinds(&self) -> impl Iterator<Item = ScopeKind> {
        self.places.iter().filter_map(|(_, _, kind)| *kind)
    }

    /// Whether bans can cover entries: of those that name no scope, too.
    pub fn has_devices(&self) -> bool {
        self.places.iter().any(|(_, _, kind)| kind.is_none_or(|kind| !kind.is_out()))
    }

    /// Whether entries name hardware addresses.
    pub const fn has_macs(&self) -> bool {
        !self.macs.is_empty()
    }

    fn asset(&self, number: u32) -> Option<Asset<'_>> {
        let entry = self.entries.get(number as usize)?;
        let before = number.checked_sub(1).and_then(|before| self.entries.get(before as usize));
        let label_start = before.map_or(0, |before| before.label_end);
        let label = self.labels.get(label_start as usize..entry.label_end as usize)?;
        let (site, ministry, kind) = self.places.get(entry.place as usize)?;
        let text = |number: &u32| self.texts.get(*number as usize).map_or("", |text| text);
        Some(Asset { number, label, site: text(site), ministry: text(ministry), kind: *kind })
    }
}

/// An asset list that is being read.
#[derive(Debug, Default)]
pub struct AssetsBuilder {
    assets: Assets,
    prefixes: PrefixTableBuilder,
    text_numbers: HashMap<Box<str>, u32, FixedState>,
    place_numbers: HashMap<Place, u32, FixedState>,
}

impl AssetsBuilder {
    /// Adds an entry.
    ///
    /// # Errors
    /// A text is too long, or the list is.
    pub fn add(
        &mut self,
        key: AssetKey,
        label: &str,
        site: &str,
        ministry: &str,
        kind: Option<ScopeKind>,
    ) -> Result<(), Refusal> {
        let number = self.assets.entries.len();
        if number >= ASSETS_MAX {
            let what = format!("more than {ASSETS_MAX} assets");
            return Err(Refusal::new(what, "list networks by their prefix instead of single addresses"));
        }
        for text in [label, site, ministry] {
            if text.len() > ASSET_TEXT_BYTES_MAX {
                let what = format!("a text of {} bytes", text.len());
                return Err(Refusal::new(what, format!("give at most {ASSET_TEXT_BYTES_MAX}")));
            }
        }
        self.assets.labels.push_str(label);
        // At most ASSETS_MAX labels of 255 bytes: it fits.
        let label_end = self.assets.labels.len() as u32;
        let place = (self.text(site), self.text(ministry), kind);
        let places = &mut self.assets.places;
        let place = *self.place_numbers.entry(place).or_insert_with(|| {
            places.push(place);
            places.len() as u32 - 1
        });
        self.assets.entries.push(Entry { label_end, place });
        match key {
            AssetKey::Prefix(prefix) => self.prefixes.add(prefix, number as u32),
            AssetKey::Mac(mac) => self.assets.macs.push((mac, number as u32)),
        }
        Ok(())
    }

    /// The number of a text that may repeat.
    fn text(&mut self, text: &str) -> u32 {
        if let Some(number) = self.text_numbers.get(text) {
            return *number;
        }
        let number = self.assets.texts.len() as u32;
        self.assets.texts.push(text.into());
        self.text_numbers.insert(text.into(), number);
        number
    }

    /// The list.
    ///
    /// # Errors
    /// Two entries are about the same prefix or MAC: their numbers, the earlier first.
    pub fn build(self) -> Result<Assets, (usize, usize)> {
        let Self { mut assets, prefixes, .. } = self;
        assets.prefixes = prefixes.build().map_err(|(one, other)| (one as usize, other as usize))?;
        assets.macs.sort_unstable();
        assets.macs.shrink_to_fit();
        assets.labels.shrink_to_fit();
        assets.entries.shrink_to_fit();
        let twice = assets.macs.windows(2).find_map(|pair| match pair {
            [(mac, one), (other, two)] if mac == other => Some((*one as usize, *two as usize)),
            _ => None,
        });
        twice.map_or(Ok(assets), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[(&str, &str, &str, Option<ScopeKind>)]) -> Result<Assets, (usize, usize)> {
        let mut builder = AssetsBuilder::default();
        for (key, label, site, kind) in rows {
            builder.add(key.parse().unwrap(), label, site, "", *kind).unwrap();
        }
        builder.build()
    }

    #[test]
    fn macs_are_read_and_written() {
        for text in ["02:00:5e:10:00:01", "02-00-5E-10-00-01"] {
            assert_eq!(text.parse::<Mac>().unwrap().to_string(), "02:00:5e:10:00:01");
        }
        for bad in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "02:00:5e:10:00:+1", "2:0:5e:10:0:1", "02-00:5e-10-00-01"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn entries_answer_with_their_own_words() {
        let assets = list(&[
            ("10.0.0.0/8", "", "everywhere", None),
            ("10.1.0.0/16", "lan", "Paris", Some(ScopeKind::Official)),
            ("02:00:5e:10:00:01", "phone-1", "Lyon", Some(ScopeKind::Sensitive)),
            ("10.1.2.3", "phone-2", "Paris", None),
            ("2001:db8::/48", "six", "", None),
        ])
        .unwrap();
        let of = |address: &str| assets.by_address(address.parse().unwrap()).map(|asset| (asset.label, asset.site));
        assert_eq!(of("10.9.9.9"), Some(("", "everywhere")));
        assert_eq!(of("10.1.9.9"), Some(("lan", "Paris")));
        assert_eq!(of("10.1.2.3"), Some(("phone-2", "Paris")));
        assert_eq!(of("2001:db8::7"), Some(("six", "")));
        assert_eq!(of("192.0.2.1"), None);
        let phone = assets.by_mac("02:00:5e:10:00:01".parse().unwrap()).unwrap();
        assert_eq!((phone.label, phone.site, phone.kind), ("phone-1", "Lyon", Some(ScopeKind::Sensitive)));
        assert_eq!(assets.by_mac(Mac([2, 0, 0x5e, 0x10, 0, 2])), None);
        assert_eq!((assets.len(), assets.kinds().count()), (5, 2));
    }

    #[test]
    fn entries_that_stand_twice_are_refused() {
        assert_eq!(list(&[("10.0.0.1", "a", "", None), ("10.0.0.1/32", "b", "", None)]).unwrap_err(), (0, 1));
        let mac = "02:00:5e:10:00:01";
        assert_eq!(
            list(&[("10.0.0.1", "a", "", None), (mac, "b", "", None), (mac, "c", "", None)]).unwrap_err(),
            (1, 2)
        );
        let other = list(&[("02:00:5e:10:00:02", "a", "", None), (mac, "b", "", None)]).unwrap();
        assert!(other.len() == 2 && !other.is_empty() && list(&[]).unwrap().is_empty());
        let mut builder = AssetsBuilder::default();
        builder.add("10.0.0.2".parse().unwrap(), &"x".repeat(255), "", "", None).unwrap();
        let refusal = builder.add("10.0.0.1".parse().unwrap(), &"x".repeat(256), "", "", None).unwrap_err();
        assert_eq!(refusal.to_string(), "a text of 256 bytes; give at most 255");
        let refusal = "phone".parse::<AssetKey>().unwrap_err();
        assert!(refusal.what.contains("prefix or MAC") && refusal.mend.contains("02:00:5e"), "{refusal}");
        assert!("10.1.2.3/8".parse::<AssetKey>().unwrap_err().mend.contains("10.0.0.0/8"));
    }
}
