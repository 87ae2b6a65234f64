//! The Belgian rule: a client's first finding in a period is reported by site and service only, so that the staff can be
//! warned; the second names the client.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Incident;
use crate::{Client, Period, PeriodLength};

/// The first finding of a client in a period.
#[derive(Debug, PartialEq, Eq)]
struct First {
    service: Arc<str>,
    first_ns: u64,
}

/// Which clients had a finding in this period.
#[derive(Debug)]
pub struct WarnFirst {
    length: PeriodLength,
    period: Option<Period>,
    warned: HashMap<Client, First, RandomState>,
    warned_max: usize,
    forgotten: u64,
}

impl WarnFirst {
    /// None yet; so many are known again.
    pub fn new(length: PeriodLength, warned_max: usize) -> Self {
        Self { length, period: None, warned: HashMap::default(), warned_max, forgotten: 0 }
    }

    /// Findings whose clients are not known again, since there were too many in a period.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What a restart must not lose, in an order that does not hang on hashes.
    pub fn save(&self) -> Vec<(&Client, &Arc<str>, u64)> {
        let mut warned: Vec<_> =
            self.warned.iter().map(|(client, first)| (client, &first.service, first.first_ns)).collect();
        warned.sort_unstable();
        warned
    }

    /// Takes over what an earlier run saved.
    pub fn resume(&mut self, warned: Vec<(Client, Arc<str>, u64)>) {
        for (client, service, first_ns) in warned {
            self.take(&client, &service, first_ns);
        }
    }

    /// Whether an incident that opens is its client's first finding of the period. Without a rule none is.
    pub fn is_first(rule: &mut Option<Self>, incident: &Incident) -> bool {
        rule.as_mut().is_some_and(|rule| rule.take(&incident.key.client, &incident.key.service, incident.first_ns))
    }

    /// What two bans say of the same contacts is one finding.
    fn take(&mut self, client: &Client, service: &Arc<str>, first_ns: u64) -> bool {
        let period = self.length.at(first_ns);
        // Incidents open nearly in the order of their first contacts: one of the last period does not bring it back.
        if self.period.is_none_or(|known| known < period) {
            self.period = Some(period);
            self.warned.clear();
        }
        let finding = First { service: Arc::clone(service), first_ns };
        if let Some(first) = self.warned.get(client) {
            return *first == finding;
        }
        match self.warned.len() < self.warned_max {
            true => drop(self.warned.insert(client.clone(), finding)),
            // A client that may be named too late harms nobody.
            false => self.forgotten += 1,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_NS: u64 = 86_400_000_000_000;

    fn client(number: u8) -> Client {
        Client::Mac([number; 6])
    }

    #[test]
    fn the_first_finding_of_a_period_names_nobody_and_the_second_does() {
        let mut rule = WarnFirst::new(PeriodLength::Month, 9);
        let [tiktok, capcut]: [Arc<str>; 2] = ["tiktok".into(), "capcut".into()];
        for (client, service, first_ns, is_first) in [
            (client(1), &tiktok, 5, true),
            // Another ban says the same of the same contacts.
            (client(1), &tiktok, 5, true),
            (client(2), &tiktok, 5, true),
            (client(1), &capcut, 5, false),
            (client(1), &tiktok, DAY_NS, false),
            (client(1), &tiktok, 30 * DAY_NS, false),
            // February.
            (client(1), &tiktok, 31 * DAY_NS, true),
            (client(2), &tiktok, 32 * DAY_NS, true),
            (client(2), &tiktok, 33 * DAY_NS, false),
            // One that began in January opens late.
            (client(1), &tiktok, 30 * DAY_NS + 1, false),
            (client(2), &tiktok, 34 * DAY_NS, false),
        ] {
            assert_eq!(rule.take(&client, service, first_ns), is_first, "{client} {service} {first_ns}");
        }
    }

    #[test]
    fn a_restart_forgets_nobody_of_the_period() {
        let mut before = WarnFirst::new(PeriodLength::Month, 9);
        let tiktok: Arc<str> = "tiktok".into();
        before.take(&client(1), &tiktok, 5);
        before.take(&client(2), &tiktok, 6);
        let saved = before.save().into_iter().map(|(client, service, ns)| (client.clone(), Arc::clone(service), ns));
        let mut after = WarnFirst::new(PeriodLength::Month, 9);
        after.resume(saved.collect());
        assert!(after.take(&client(1), &tiktok, 5), "the same finding stays a warning");
        assert!(!after.take(&client(2), &tiktok, 7));
        assert!(after.take(&client(3), &tiktok, 8));
    }

    #[test]
    fn too_many_clients_are_warned_again_and_counted() {
        let mut rule = WarnFirst::new(PeriodLength::Day, 1);
        let tiktok: Arc<str> = "tiktok".into();
        assert_eq!([1, 2, 2].map(|number| rule.take(&client(number), &tiktok, u64::from(number))), [true; 3]);
        assert_eq!((rule.forgotten(), rule.warned.len()), (2, 1));
        assert!(!rule.take(&client(1), &tiktok, 9));
    }
}
