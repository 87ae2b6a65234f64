//! The register of derogations: the file that the sensor uses, and what the journal's audit tells of its changes.
//!
//! Not here: whether an entry may stand in the register. The sensor checks that before it judges by it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use jiff::civil::Date;
use serde::Deserialize;
use vigie_config::open_regular;

use crate::clock::parse_day;
use crate::query::audit::Audit;

/// Largest register that is read, as of the sensor.
const REGISTER_BYTES_MAX: u64 = 16 << 20;
/// Entries that are shown.
pub const ENTRIES_MAX: usize = 2_000;

/// Where an entry is known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KnownFrom {
    /// The register has it.
    #[default]
    Register,
    /// Only the audit has it, and no register is read.
    Audit,
    /// Only the audit has it, though a register is read: somebody removed it there.
    Removed,
}

/// An entry of the register. Days are `YYYY-MM-DD`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub id: String,
    pub who: Vec<String>,
    pub services: Vec<String>,
    pub bans: Vec<String>,
    pub from: String,
    pub until: String,
    /// Last day, if it was ended early.
    pub ended: String,
    pub added: String,
    pub reason: String,
    pub approver: String,
    pub reference: String,
    #[serde(skip)]
    pub known_from: KnownFrom,
}

/// Whether an entry excuses on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    NotBegun,
    /// It excuses, for so many more days after this one.
    Active(i32),
    Expired,
    EndedEarly,
    /// Its days cannot be read.
    Unknown,
}

impl Entry {
    /// The last day on which it excuses.
    pub fn last_day(&self) -> &str {
        if self.ended.is_empty() || self.ended > self.until { &self.until } else { &self.ended }
    }

    /// Whether it is about a device: its address, a network around it, or its label in the asset list. Of hardware addresses nothing is
    /// known here.
    pub fn is_about(&self, client: &str, label: &str) -> bool {
        let address = client.parse().ok();
        self.who.iter().any(|who| match who.strip_prefix("label:") {
            Some(wanted) => !label.is_empty() && wanted.trim() == label,
            None => who == client || address.is_some_and(|address| is_in(who, address)),
        })
    }

    /// Its state on a day.
    pub fn state_at(&self, day: Date) -> State {
        let (Some(from), Some(last)) = (parse_day(&self.from), parse_day(self.last_day())) else {
            return State::Unknown;
        };
        match (day > last, self.last_day() < self.until.as_str()) {
            (true, true) => State::EndedEarly,
            (true, false) => State::Expired,
            (false, _) if day < from => State::NotBegun,
            (false, _) => State::Active(day.until(last).map_or(0, |span| span.get_days())),
        }
    }
}

/// Whether an address is in a network such as `10.20.4.0/24`.
fn is_in(network: &str, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let ((base_bits, length_max), (address_bits, _)) = (bits(base), bits(address));
    let is_same_kind = base.is_ipv4() == address.is_ipv4() && length <= length_max;
    // All bits of an address that no prefix covers are ignored.
    is_same_kind && (base_bits ^ address_bits).checked_shr(128 - length).unwrap_or(0) == 0
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Register {
    derogation: Vec<Entry>,
}

/// Reads the register.
///
/// # Errors
/// Why it cannot be read.
pub fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let file = open_regular(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let length = file.take(REGISTER_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if length as u64 > REGISTER_BYTES_MAX {
        return Err("it is larger than 16 MiB".to_owned());
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    // The parser's own message shows the line, and with it whom the entry is about.
    let register: Result<Register, toml::de::Error> = toml::from_str(text);
    register.map(|register| register.derogation).map_err(|error| error.message().to_owned())
}

/// The entries of the register, if one is read, with those of which only the audit tells. `audit` has the oldest line first.
pub fn merged(register: Option<Vec<Entry>>, audit: &[Audit]) -> Vec<Entry> {
    let known_from = if register.is_some() { KnownFrom::Removed } else { KnownFrom::Audit };
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for line in audit {
        let id = line.fact("derogation");
        let entry = entries.entry(id.to_owned()).or_insert_with(|| Entry { known_from, ..Entry::default() });
        id.clone_into(&mut entry.id);
        if line.kind == "derogation-ended" {
            line.fact("until").clone_into(&mut entry.ended);
            continue;
        }
        entry.services = line.fact("services").split(',').map(|key| key.trim().to_owned()).collect();
        line.fact("from").clone_into(&mut entry.from);
        line.fact("until").clone_into(&mut entry.until);
        line.fact("approver").clone_into(&mut entry.approver);
        line.fact("reference").clone_into(&mut entry.reference);
    }
    for entry in register.into_iter().flatten() {
        entries.insert(entry.id.clone(), entry);
    }
    entries.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[derogation]]\nid = \"2026-001\"\nwho = [\"label:phone-17\"]\nservices = [\"tiktok\"]\n\
        from = \"2026-02-01\"\nuntil = \"2026-12-31\"\nadded = \"2026-01-28\"\nreason = \"account\"\napprover = \"SG\"\n\
        reference = \"SG-17\"\n";

    fn day(text: &str) -> Date {
        parse_day(text).unwrap()
    }

    fn line(kind: &str, facts: &[(&str, &str)]) -> Audit {
        let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        Audit {
            journal: "sensor".to_owned(),
            time_us: 0,
            kind: kind.to_owned(),
            incident: String::new(),
            by: String::new(),
            facts: facts.iter().map(owned).collect(),
        }
    }

    #[test]
    fn a_derogation_excuses_from_its_first_to_its_last_day() {
        let mut entry = parse(TEXT).unwrap().remove(0);
        for (today, state) in [
            ("2026-01-31", State::NotBegun),
            ("2026-02-01", State::Active(333)),
            ("2026-12-31", State::Active(0)),
            ("2027-01-01", State::Expired),
        ] {
            assert_eq!(entry.state_at(day(today)), state, "{today}");
        }
        entry.ended = "2026-06-30".to_owned();
        assert_eq!(entry.state_at(day("2026-06-30")), State::Active(0));
        assert_eq!(entry.state_at(day("2026-07-01")), State::EndedEarly);
        entry.until = "soon".to_owned();
        entry.ended = String::new();
        assert_eq!(entry.state_at(day("2026-07-01")), State::Unknown);
    }

    #[test]
    fn what_was_removed_from_the_register_still_stands_in_the_audit() {
        let audit = [
            line("derogation-added", &[("derogation", "2026-001"), ("from", "x"), ("until", "x")]),
            line(
                "derogation-added",
                &[
                    ("derogation", "2026-002"),
                    ("services", "tiktok, lemon8"),
                    ("from", "2026-03-01"),
                    ("until", "2026-04-01"),
                ],
            ),
            line("derogation-ended", &[("derogation", "2026-002"), ("until", "2026-03-10")]),
        ];
        let both = merged(Some(parse(TEXT).unwrap()), &audit);
        assert_eq!((both[0].known_from, both[0].from.as_str()), (KnownFrom::Register, "2026-02-01"));
        assert_eq!((both[1].known_from, both[1].last_day()), (KnownFrom::Removed, "2026-03-10"));
        assert_eq!(both[1].services, ["tiktok", "lemon8"]);
        assert!(merged(None, &audit).iter().all(|entry| entry.known_from == KnownFrom::Audit));
    }

    #[test]
    fn a_device_is_known_by_address_network_and_label() {
        let entry = |who: &str| Entry { who: vec![who.to_owned()], ..Entry::default() };
        for (who, is_about) in [
            ("10.20.4.7", true),
            ("10.20.4.0/24", true),
            ("10.20.4.7/32", true),
            ("0.0.0.0/0", true),
            ("10.20.5.0/24", false),
            ("10.20.4.0/33", false),
            ("::/0", false),
            ("2001:db8::/32", false),
            ("label:phone-17", true),
            ("label: phone-17", true),
            ("label:phone-1", false),
            ("02:00:5e:10:00:01", false),
        ] {
            assert_eq!(entry(who).is_about("10.20.4.7", "phone-17"), is_about, "{who}");
        }
        assert!(
            entry("2001:db8::/32").is_about("2001:db8:1::7", "") && !entry("2001:db8::/32").is_about("2001:db9::7", "")
        );
        assert!(!entry("label:").is_about("10.20.4.7", ""));
    }

    #[test]
    fn an_error_of_the_register_names_nobody() {
        let fault = parse("[[derogation]]\nwho = [\"10.20.0.7\"\nid = 1\n").unwrap_err();
        assert!(!fault.contains("10.20.0.7"), "{fault}");
        assert!(read(Path::new("/dev/zero")).unwrap_err().contains("regular file"));
    }
}
