//! From a contact to a sighting: which service a match counts for, and what the fingerprint says.
//!
//! Infrastructure that several services of an owner share counts for none of them, whichever file its signature is in: it
//! counts for the owner's service of the category `infrastructure`. That service has nothing else to say.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use time::{Date, OffsetDateTime};
use vigie_signatures::{Bundle, Class, Clients, Rule};

use crate::Stack;

/// Category of the service that an owner's shared infrastructure counts for.
const SHARED_CATEGORY: &str = "infrastructure";

/// Whose a contact is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The service, by the key of its signatures.
    pub service: Arc<str>,
    /// Its owner.
    pub owner: Arc<str>,
}

/// What is known of a service.
#[derive(Debug)]
struct Known {
    own: Attribution,
    /// The service that its shared infrastructure counts for.
    shared: Option<Attribution>,
    is_shared: bool,
}

/// Signatures and fingerprints, ready to say what a contact is.
#[derive(Debug)]
pub struct Recogniser {
    bundle: Arc<Bundle>,
    clients: Arc<Clients>,
    services: HashMap<String, Known, RandomState>,
    /// First day of the oldest fingerprint, and of the newest.
    fingerprint_days: Option<(Date, Date)>,
}

impl Recogniser {
    /// From signatures and fingerprints.
    pub fn new(bundle: Arc<Bundle>, clients: Arc<Clients>) -> Self {
        let attributions = bundle.services().iter().map(|service| {
            let own = Attribution { service: service.key.as_str().into(), owner: service.owner.as_str().into() };
            (own, service.category == SHARED_CATEGORY)
        });
        let attributions: Vec<(Attribution, bool)> = attributions.collect();
        let shared_of = |owner: &str| {
            let shared = attributions.iter().find(|(other, is_shared)| *is_shared && *other.owner == *owner);
            shared.map(|(shared, _)| shared.clone())
        };
        let services = attributions.iter().map(|(own, is_shared)| {
            let known = Known { own: own.clone(), shared: shared_of(&own.owner), is_shared: *is_shared };
            (own.service.to_string(), known)
        });
        let services = services.collect();
        let days = clients.stacks().iter().map(|stack| stack.from);
        let fingerprint_days = days.clone().min().zip(days.max());
        Self { bundle, clients, services, fingerprint_days }
    }

    /// The signatures.
    pub const fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// The signature for a flow: that of its name, in normal form. Only a flow without a name is known by its server.
    pub fn flow(&self, name: Option<&str>, server: Option<IpAddr>) -> Option<&Arc<Rule>> {
        let rule = match name {
            Some(name) => self.bundle.name(name),
            None => self.bundle.address(server?),
        };
        rule.filter(|rule| !rule.is_silent())
    }

    /// The signature for a name that was asked of DNS. Names that only answers carry say nothing of who asked.
    pub fn question(&self, name: &str) -> Option<&Arc<Rule>> {
        self.bundle.name(name).filter(|rule| !rule.is_silent())
    }

    /// The service that a match counts for; none where the match says nothing of any.
    pub fn attribute(&self, rule: &Rule) -> Option<&Attribution> {
        let known = self.services.get(&rule.service)?;
        match rule.class {
            Class::Cloud | Class::Corp | Class::Cname => None,
            Class::Infra | Class::Resolver => Some(known.shared.as_ref().unwrap_or(&known.own)),
            _ if known.is_shared => None,
            _ => Some(&known.own),
        }
    }

    /// What a fingerprint says of the client's TLS stack on that day.
    ///
    /// A time before the oldest known fingerprint comes from a clock that was never set: the newest ones apply.
    pub fn stack(&self, ja4: &str, service: &str, time_ns: u64) -> Stack {
        let Some((oldest, newest)) = self.fingerprint_days.filter(|_| !ja4.is_empty()) else { return Stack::Other };
        let day = OffsetDateTime::from_unix_timestamp_nanos(time_ns.into()).map_or(newest, OffsetDateTime::date);
        let day = if day < oldest { newest } else { day };
        if self.clients.is_current_browser(ja4, day) {
            Stack::Browser
        } else if self.clients.is_app(ja4, service, day) {
            Stack::App
        } else {
            Stack::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recogniser() -> Recogniser {
        Recogniser::new(Bundle::builtin(), Clients::builtin())
    }

    #[track_caller]
    fn counts_for(name: &str, service: Option<&str>) {
        let recogniser = recogniser();
        let attribution = recogniser.flow(Some(name), None).and_then(|rule| recogniser.attribute(rule));
        assert_eq!(attribution.map(|attribution| &*attribution.service), service, "{name}");
    }

    #[test]
    fn shared_infrastructure_counts_for_no_service_of_its_own() {
        counts_for("www.tiktok.com", Some("tiktok"));
        counts_for("mon-va.byteoversea.com", Some("bytedance-infra"));
        counts_for("p16-oec-va.ibyteimg.com", Some("bytedance-infra"));
    }

    #[test]
    fn clouds_staff_and_pages_of_the_infrastructure_count_for_nobody() {
        for name in ["lf16-data.bytepluscdn.com", "www.bytedance.com", "maliva-mcs.byteoversea.com", "example.com"] {
            counts_for(name, None);
        }
    }

    #[test]
    fn only_a_flow_without_a_name_is_known_by_its_server() {
        let recogniser = recogniser();
        let resolver = Some("34.102.215.99".parse().unwrap());
        assert_eq!(recogniser.flow(None, resolver).map(|rule| rule.class), Some(Class::Resolver));
        assert!(recogniser.flow(Some("example.com"), resolver).is_none());
        assert!(recogniser.flow(None, None).is_none());
    }

    #[test]
    fn a_silenced_signature_says_nothing() {
        let recogniser = recogniser();
        let silent = "lf26-cdn-tos.bytecdntp.com";
        assert!(recogniser.bundle().name(silent).is_some());
        assert!(recogniser.flow(Some(silent), None).is_none() && recogniser.question(silent).is_none());
    }

    #[test]
    fn a_name_asked_of_dns_has_its_signature() {
        let recogniser = recogniser();
        assert_eq!(recogniser.question("www.tiktok.com").map(|rule| &*rule.service), Some("tiktok"));
        assert!(recogniser.question("example.com").is_none());
    }

    #[test]
    fn the_oldest_fingerprint_counts_from_its_first_day() {
        let clients = Clients::builtin();
        let oldest =
            clients.stacks().iter().filter(|stack| stack.until.is_some()).min_by_key(|stack| stack.from).unwrap();
        assert_eq!(Some(oldest.from), clients.stacks().iter().map(|stack| stack.from).min());
        let ja4 = oldest.ja4.iter().find(|ja4| !ja4.ends_with('*')).unwrap();
        let service = oldest.services.first().map_or("tiktok", String::as_str);
        let first_ns = u64::try_from(oldest.from.midnight().assume_utc().unix_timestamp_nanos()).unwrap();
        assert_ne!(recogniser().stack(ja4, service, first_ns), Stack::Other, "{}", oldest.name);
    }

    #[test]
    fn fingerprints_are_judged_by_their_day() {
        let recogniser = recogniser();
        let at = |day: Date| u64::try_from(day.midnight().assume_utc().unix_timestamp_nanos()).unwrap();
        let (browser, app) = ("t13d1516h2_8daaf6152771_d8a2da3f94cd", "t13d1516h2_8daaf6152771_e5627efa2ab1");
        let chrome_2024 = "t13d1516h2_8daaf6152771_02713d6af862";
        let today = at(time::macros::date!(2026 - 11 - 27));
        let in_2024 = at(time::macros::date!(2024 - 06 - 01));
        for (ja4, service, time_ns, stack) in [
            (browser, "tiktok", today, Stack::Browser),
            (browser, "tiktok", 0, Stack::Browser),
            (browser, "tiktok", in_2024, Stack::Other),
            (chrome_2024, "tiktok", in_2024, Stack::Browser),
            (chrome_2024, "tiktok", 0, Stack::Other),
            (app, "tiktok", today, Stack::App),
            (app, "tiktok", 0, Stack::App),
            (app, "netflix", today, Stack::Other),
            ("", "tiktok", today, Stack::Other),
            ("t13d2014h2_a09f3c656075_e42f34c56612", "tiktok", today, Stack::Other),
        ] {
            assert_eq!(recogniser.stack(ja4, service, time_ns), stack, "{ja4} {service} {time_ns}");
        }
    }
}
