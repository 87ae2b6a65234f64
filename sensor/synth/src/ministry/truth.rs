//! What a sensor should say of the day: for each client and service the strongest use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vigie_signatures::Rule;

use super::sets::{self, Catalogue};
use super::{NameSet, Use};

/// The verdict that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TruthWord {
    /// Nothing is recorded of the client.
    None,
    /// Pages of others embed the service.
    Embed,
    /// The site was visited.
    Web,
    /// The application ran.
    App,
}

impl TruthWord {
    /// The word as files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Embed => "embed",
            Self::Web => "web",
            Self::App => "app",
        }
    }
}

/// What is true of a client and a service on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Who.
    pub client: IpAddr,
    /// Key of the service; `*` for all.
    pub service: String,
    /// The day where the ministry is, `YYYY-MM-DD`.
    pub day: &'static str,
    /// The verdict.
    pub verdict: TruthWord,
    /// Whether the policy makes it an incident.
    pub incident: bool,
    /// Why nothing is recorded: `derogation` or `guest`; empty otherwise.
    pub why: &'static str,
}

/// The truth, as sessions add to it.
#[derive(Debug, Default)]
pub(super) struct Truths {
    known: BTreeMap<(IpAddr, String), (TruthWord, bool)>,
    without_record: Vec<(IpAddr, &'static str)>,
}

impl Truths {
    /// Of these clients nothing is recorded.
    pub(super) fn without_record(&mut self, client: IpAddr, why: &'static str) {
        self.without_record.push((client, why));
    }

    /// A set of names was contacted. What its own service does not explain, a page does.
    pub(super) fn add(&mut self, client: IpAddr, set: &NameSet, catalogue: &Catalogue) {
        let own = set.service.as_deref();
        for name in &set.names {
            if let Some(service) = catalogue.service_of(name).filter(|service| Some(*service) != own) {
                self.rise(client, service, TruthWord::Embed, false);
            }
        }
        let Some(service) = own else { return };
        match set.truth {
            Use::App => self.rise(client, service, TruthWord::App, true),
            Use::Web => {
                let rules = set.names.iter().filter_map(|name| catalogue.rule(name));
                let rules: Vec<&Rule> = rules.filter(|rule| rule.service == service).collect();
                self.rise(client, service, TruthWord::Web, sets::shows_visit(&rules));
            }
            Use::Embed => self.rise(client, service, TruthWord::Embed, false),
        }
    }

    fn rise(&mut self, client: IpAddr, service: &str, verdict: TruthWord, incident: bool) {
        let known = self.known.entry((client, service.to_owned())).or_insert((verdict, incident));
        *known = (known.0.max(verdict), known.1 || incident);
    }

    pub(super) fn list(&self, day: &'static str) -> Vec<Truth> {
        let known = self.known.iter().map(|((client, service), (verdict, incident))| Truth {
            client: *client,
            service: service.clone(),
            day,
            verdict: *verdict,
            incident: *incident,
            why: "",
        });
        let without_record = self.without_record.iter().map(|(client, why)| Truth {
            client: *client,
            service: "*".to_owned(),
            day,
            verdict: TruthWord::None,
            incident: false,
            why,
        });
        known.chain(without_record).collect()
    }
}
