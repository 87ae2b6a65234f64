//! Derogations: named, dated, justified exemptions for some clients and services. Nothing is recorded of who is under one.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use foldhash::fast::FixedState;
use time::Date;

use super::asset::Mac;
use super::prefix::Prefix;
use super::{AssetKey, Refusal};

/// How many days before its end a derogation is warned of.
pub const WARNING_DAYS: i64 = 14;

/// Who is exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Clients of an address or a network.
    Prefix(Prefix),
    /// A device, where the tap sees its hardware address.
    Mac(Mac),
    /// The devices that have this label in the asset list.
    Label(String),
}

/// What stands before a label.
const LABEL: &str = "label:";

impl FromStr for Who {
    type Err = Refusal;

    /// Reads an address, a prefix, a MAC address, or `label:` and a label of the asset list.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text.strip_prefix(LABEL).map(str::trim) {
            Some("") => Err(Refusal::new("no label", "write one of the asset list, such as label:phone-17")),
            Some(label) => Ok(Self::Label(label.to_owned())),
            None => match text.parse() {
                Ok(AssetKey::Prefix(prefix)) => Ok(Self::Prefix(prefix)),
                Ok(AssetKey::Mac(mac)) => Ok(Self::Mac(mac)),
                Err(refusal) => {
                    let mend = format!("{}, or {LABEL} and a label of the asset list", refusal.mend);
                    Err(Refusal::new(refusal.what, mend))
                }
            },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(formatter, "{prefix}"),
            Self::Mac(mac) => write!(formatter, "{mac}"),
            Self::Label(label) => write!(formatter, "{LABEL}{label}"),
        }
    }
}

/// An entry of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derogation {
    /// Key, such as `2026-001`.
    pub id: String,
    /// Who is exempt.
    pub who: Vec<Who>,
    /// Keys of services that may be used.
    pub services: Vec<String>,
    /// Ids of the bans that it is from; empty: from all.
    pub bans: Vec<String>,
    /// First day. Days are those of the ban's time zone.
    pub from: Date,
    /// Last day.
    pub until: Date,
    /// Last day, if it was ended early.
    pub ended: Option<Date>,
    /// Day on which the entry was made.
    pub added: Date,
    /// Why.
    pub reason: String,
    /// Who approved it.
    pub approver: String,
    /// Number of the decision.
    pub reference: String,
}

/// Whether a derogation excuses on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerogationState {
    /// Before its first day.
    NotBegun,
    /// It excuses, for so many more days after this one.
    Active(i64),
    /// Past its last day.
    Expired,
    /// It was ended early.
    Ended,
}

impl fmt::Display for DerogationState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => formatter.write_str("not begun"),
            Self::Active(0) => formatter.write_str("active, last day"),
            Self::Active(1) => formatter.write_str("active, 1 day left"),
            Self::Active(days) => write!(formatter, "active, {days} days left"),
            Self::Expired => formatter.write_str("expired"),
            Self::Ended => formatter.write_str("ended early"),
        }
    }
}

impl Derogation {
    /// The last day on which it excuses.
    pub fn last_day(&self) -> Date {
        self.ended.map_or(self.until, |ended| ended.min(self.until))
    }

    /// Its state on a day.
    pub fn state_at(&self, day: Date) -> DerogationState {
        let last = self.last_day();
        match (day > last, self.ended.is_some_and(|ended| ended < self.until)) {
            (true, true) => DerogationState::Ended,
            (true, false) => DerogationState::Expired,
            (false, _) if day < self.from => DerogationState::NotBegun,
            (false, _) => DerogationState::Active((last - day).whole_days()),
        }
    }

    /// Whether it excuses a service from a ban on a day.
    fn excuses(&self, service: &str, ban: &str, day: Date) -> bool {
        matches!(self.state_at(day), DerogationState::Active(_))
            && self.services.iter().any(|known| known == service)
            && (self.bans.is_empty() || self.bans.iter().any(|known| known == ban))
    }

    /// Why it cannot be an entry.
    ///
    /// # Errors
    /// The key at fault, what is wrong, and what mends it.
    pub fn check(&self) -> Result<(), (&'static str, Refusal)> {
        let Self { from, until, added, .. } = self;
        if until < from {
            return Err((
                "until",
                Refusal::new(format!("is before the first day, {from}"), "correct one of the two days"),
            ));
        }
        if from < added {
            let what = format!("backdated: the entry was added on {added}, after its first day");
            let mend = format!("write {added} or later; what was recorded before an exemption stays recorded");
            return Err(("from", Refusal::new(what, mend)));
        }
        Ok(())
    }
}

/// All derogations, ready to answer.
#[derive(Debug, Default)]
pub(super) struct Register {
    derogations: Vec<Derogation>,
    prefixes: HashMap<Prefix, Vec<u32>, FixedState>,
    /// Lengths of the prefixes, each once.
    bits: Vec<u8>,
    macs: HashMap<Mac, Vec<u32>, FixedState>,
    labels: HashMap<String, Vec<u32>, FixedState>,
}

impl Register {
    pub(super) fn new(derogations: Vec<Derogation>) -> Self {
        let mut register = Self::default();
        for (derogation, number) in derogations.iter().zip(0..) {
            for who in &derogation.who {
                match who {
                    Who::Prefix(prefix) => register.prefixes.entry(*prefix).or_default().push(number),
                    Who::Mac(mac) => register.macs.entry(*mac).or_default().push(number),
                    Who::Label(label) => register.labels.entry(label.clone()).or_default().push(number),
                }
            }
        }
        register.bits = register.prefixes.keys().map(|prefix| prefix.bits()).collect();
        register.bits.sort_unstable();
        register.bits.dedup();
        register.derogations = derogations;
        register
    }

    pub(super) fn all(&self) -> &[Derogation] {
        &self.derogations
    }

    /// The derogation that excuses a client's use of a service from a ban on a day.
    pub(super) fn excusing(&self, client: &Exempt<'_>, service: &str, ban: &str, day: Date) -> Option<&Derogation> {
        if self.derogations.is_empty() {
            return None;
        }
        let prefixes = self.bits.iter().filter_map(|bits| {
            let prefix = Prefix::around(client.address, *bits)?;
            self.prefixes.get(&prefix)
        });
        let by_mac = client.mac.and_then(|mac| self.macs.get(&mac));
        let by_label = self.labels.get(client.label).filter(|_| !client.label.is_empty());
        let numbers = prefixes.chain(by_mac).chain(by_label).flatten();
        let derogations = numbers.filter_map(|number| self.derogations.get(*number as usize));
        derogations.into_iter().find(|derogation| derogation.excuses(service, ban, day))
    }
}

/// What a client is known by in the register.
pub(super) struct Exempt<'a> {
    pub(super) address: IpAddr,
    pub(super) mac: Option<Mac>,
    pub(super) label: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    fn derogation(who: &[&str]) -> Derogation {
        Derogation {
            id: "2026-001".to_owned(),
            who: who.iter().map(|who| who.parse().unwrap()).collect(),
            services: vec!["tiktok".to_owned()],
            bans: Vec::new(),
            from: date!(2026 - 11 - 10),
            until: date!(2026 - 11 - 20),
            ended: None,
            added: date!(2026 - 11 - 09),
            reason: "institutional account".to_owned(),
            approver: "secretary-general".to_owned(),
            reference: "SG-17".to_owned(),
        }
    }

    #[test]
    fn states_follow_the_days() {
        let mut one = derogation(&["10.0.0.1"]);
        for (day, expected) in [
            (date!(2026 - 11 - 09), "not begun"),
            (date!(2026 - 11 - 10), "active, 10 days left"),
            (date!(2026 - 11 - 19), "active, 1 day left"),
            (date!(2026 - 11 - 20), "active, last day"),
            (date!(2026 - 11 - 21), "expired"),
        ] {
            assert_eq!(one.state_at(day).to_string(), expected);
        }
        one.ended = Some(date!(2026 - 11 - 12));
        assert_eq!(one.state_at(date!(2026 - 11 - 12)), DerogationState::Active(0));
        assert_eq!(one.state_at(date!(2026 - 11 - 13)), DerogationState::Ended);
        one.ended = Some(date!(2026 - 11 - 09));
        assert_eq!(one.state_at(date!(2026 - 11 - 10)), DerogationState::Ended, "ended before it began");
        one.ended = Some(one.until);
        assert_eq!(one.state_at(date!(2026 - 11 - 21)), DerogationState::Expired, "ended on its last day");
        one.ended = Some(date!(2026 - 11 - 25));
        assert_eq!(one.state_at(date!(2026 - 11 - 21)), DerogationState::Expired);
    }

    #[test]
    fn clients_are_known_by_address_mac_or_label() {
        let mut restricted = derogation(&["10.2.0.0/16"]);
        restricted.bans = vec!["fr".to_owned()];
        let register = Register::new(vec![
            derogation(&["10.1.0.0/16", "2001:db8::1"]),
            derogation(&["02:00:5e:10:00:01", "label:phone-17"]),
            restricted,
        ]);
        let day = date!(2026 - 11 - 15);
        let ask = |address: &str, mac: Option<&str>, label, service, ban, day| {
            let (address, mac) = (address.parse().unwrap(), mac.map(|mac| mac.parse().unwrap()));
            register.excusing(&Exempt { address, mac, label }, service, ban, day).is_some()
        };
        assert!(ask("10.1.2.3", None, "", "tiktok", "fr", day) && ask("2001:db8::1", None, "", "tiktok", "be", day));
        assert!(!ask("10.3.0.1", None, "", "tiktok", "fr", day) && !ask("2001:db8::2", None, "", "tiktok", "fr", day));
        assert!(ask("10.3.0.1", Some("02:00:5e:10:00:01"), "", "tiktok", "fr", day));
        assert!(ask("10.3.0.1", None, "phone-17", "tiktok", "fr", day));
        assert!(!ask("10.3.0.1", Some("02:00:5e:10:00:02"), "phone-18", "tiktok", "fr", day));
        assert!(!ask("10.1.2.3", None, "", "netflix", "fr", day), "another service");
        assert!(!ask("10.1.2.3", None, "", "tiktok", "fr", date!(2026 - 11 - 21)), "expired");
        assert!(ask("10.2.0.1", None, "", "tiktok", "fr", day) && !ask("10.2.0.1", None, "", "tiktok", "be", day));
    }

    #[test]
    fn backdated_and_reversed_entries_are_refused() {
        assert_eq!(derogation(&[]).check(), Ok(()));
        let first = date!(2026 - 11 - 10);
        let one_day = Derogation { until: first, added: first, ..derogation(&[]) };
        assert_eq!(one_day.check(), Ok(()), "made on its only day");
        let backdated = Derogation { added: date!(2026 - 11 - 11), ..derogation(&[]) };
        let (key, refusal) = backdated.check().unwrap_err();
        assert_eq!(key, "from");
        assert!(refusal.what.starts_with("backdated") && refusal.mend.contains("2026-11-11 or later"), "{refusal}");
        let reversed = Derogation { until: date!(2026 - 11 - 09), ..derogation(&[]) };
        assert_eq!(reversed.check().unwrap_err().0, "until");
        assert!("label: ".parse::<Who>().is_err() && "phone".parse::<Who>().unwrap_err().mend.contains("label:"));
        for text in ["10.0.0.0/8", "02:00:5e:10:00:01", "label:a b"] {
            assert_eq!(text.parse::<Who>().unwrap().to_string(), text);
        }
    }
}
