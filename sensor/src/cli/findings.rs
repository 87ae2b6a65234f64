//! The alerts of a run, grouped by service, client and verdict for the summary. Memory is bounded: alerts beyond it are
//! counted.

use std::collections::{BTreeMap, BTreeSet};

use vigie_signatures::{Rule, Verdict};

use crate::event::{Alert, Evidence, Flow};
use vigie_decode::Address;

/// How many findings are kept.
pub const FINDINGS_MAX: usize = 65_536;

/// How many names of a finding are kept.
pub const NAMES_PER_FINDING_MAX: usize = 64;

/// The use of one service by one client, with one verdict.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Name of the service for people.
    pub service: String,
    /// The client.
    pub client: Address,
    /// What the alerts say of the client.
    pub verdict: Verdict,
    /// The highest severity of the alerts; 1 is the highest.
    pub severity: u8,
    /// How the flows were recognised.
    pub evidence: BTreeSet<Evidence>,
    /// Names, or server addresses where there was no name, in the order in which they appeared.
    pub names: Vec<String>,
    /// There were more names than are kept.
    pub has_more_names: bool,
    /// Flows that matched.
    pub flows: u64,
    /// Bytes client → server of the flows that ended.
    pub bytes_sent: u64,
    /// Bytes server → client of the flows that ended.
    pub bytes_received: u64,
    /// First packet of the first flow.
    pub first_seen_ns: u64,
    /// Last packet of the last flow.
    pub last_seen_ns: u64,
}

/// Service, client and verdict of a finding.
type Key = (String, Address, Verdict);

/// All findings of a run.
#[derive(Debug, Default)]
pub struct Findings {
    findings: BTreeMap<Key, Finding>,
    alerts: u64,
    alerts_left_out: u64,
}

impl Findings {
    /// Adds an alert.
    pub fn add_alert(&mut self, alert: &Alert) {
        self.alerts += 1;
        let (flow, rule) = (&alert.flow, &*alert.rule);
        let key = key(flow, rule);
        if self.findings.len() >= FINDINGS_MAX && !self.findings.contains_key(&key) {
            self.alerts_left_out += 1;
            return;
        }
        let finding = self.findings.entry(key).or_insert_with(|| Finding::new(flow, rule));
        finding.flows += 1;
        finding.severity = finding.severity.min(rule.severity());
        finding.evidence.insert(alert.evidence);
        finding.extend_period(flow);
        match &alert.name {
            Some(name) => finding.add_name(name),
            None => finding.add_name(&flow.server.ip().to_string()),
        }
    }

    /// Adds the bytes of a flow that ended and had matched `rule`.
    pub fn add_flow_end(&mut self, flow: &Flow, rule: &Rule) {
        if let Some(finding) = self.findings.get_mut(&key(flow, rule)) {
            finding.bytes_sent = finding.bytes_sent.saturating_add(flow.bytes_to_server);
            finding.bytes_received = finding.bytes_received.saturating_add(flow.bytes_to_client);
            finding.extend_period(flow);
        }
    }

    /// How many alerts there were.
    pub const fn alerts(&self) -> u64 {
        self.alerts
    }

    /// How many alerts are in no finding, because there were too many findings.
    pub const fn alerts_left_out(&self) -> u64 {
        self.alerts_left_out
    }

    /// The findings: severe ones first, then by service and client.
    pub fn sorted(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.values().collect();
        findings.sort_by_key(|finding| (finding.severity, &finding.service, finding.client, finding.verdict));
        findings
    }
}

impl Finding {
    fn new(flow: &Flow, rule: &Rule) -> Self {
        Self {
            service: rule.service_name.clone(),
            client: flow.client,
            verdict: rule.verdict(),
            severity: rule.severity(),
            evidence: BTreeSet::new(),
            names: Vec::new(),
            has_more_names: false,
            flows: 0,
            bytes_sent: 0,
            bytes_received: 0,
            first_seen_ns: flow.first_seen_ns,
            last_seen_ns: flow.last_seen_ns,
        }
    }

    fn extend_period(&mut self, flow: &Flow) {
        self.first_seen_ns = self.first_seen_ns.min(flow.first_seen_ns);
        self.last_seen_ns = self.last_seen_ns.max(flow.last_seen_ns);
    }

    fn add_name(&mut self, name: &str) {
        if self.names.iter().any(|known| known == name) {
            return;
        }
        if self.names.len() < NAMES_PER_FINDING_MAX {
            self.names.push(name.to_owned());
        } else {
            self.has_more_names = true;
        }
    }
}

fn key(flow: &Flow, rule: &Rule) -> Key {
    (rule.service.clone(), flow.client, rule.verdict())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use vigie_handshake::opening::Desync;

    use vigie_signatures::{Class, Confidence, MatchKind, Role, signature_id};

    use super::*;
    use vigie_decode::Encapsulation;

    pub(crate) const START_NS: u64 = 1_795_298_705_000_000_000;

    pub(crate) fn flow(client: Address, start_s: u64) -> Flow {
        Flow {
            id: 1,
            client,
            client_port: 50_000,
            server: Address::v4([192, 0, 2, 80]),
            server_port: 443,
            protocol: 6,
            encapsulation: Encapsulation::default(),
            interface: 0,
            first_seen_ns: START_NS + start_s * 1_000_000_000,
            last_seen_ns: START_NS + start_s * 1_000_000_000 + 500_000_000,
            packets_to_server: 4,
            packets_to_client: 5,
            bytes_to_server: 1_500,
            bytes_to_client: 2_000_000,
        }
    }

    pub(crate) fn rule(service: &str, service_name: &str, class: Class) -> Rule {
        Rule {
            signature_id: signature_id(8_100_000, MatchKind::Suffix, class),
            service: service.to_owned(),
            service_name: service_name.to_owned(),
            role: Role::AppApi,
            class,
            family: class.default_family().to_owned(),
            traits: vec![],
            alone: true,
            confidence: Confidence::High,
            kind: MatchKind::Suffix,
            text: "example.com".to_owned(),
            asn: None,
            sources: vec!["v2fly".to_owned()],
            reviewed: "2026-11-01".to_owned(),
            file: "tiktok.toml".to_owned(),
            line: 3,
        }
    }

    pub(crate) fn alert(flow: Flow, rule: Rule, evidence: Evidence, name: &str) -> Alert {
        let name = (!name.is_empty()).then(|| name.to_owned());
        Alert {
            flow,
            evidence,
            name,
            name_as_sent: None,
            rule: Arc::new(rule),
            hello: None,
            desync: Desync::default(),
            summarised: 0,
        }
    }

    #[test]
    fn flows_of_a_client_and_service_are_one_finding() {
        let mut findings = Findings::default();
        let client = Address::v4([10, 0, 0, 1]);
        let tiktok = || rule("tiktok", "TikTok", Class::Native);
        for (start_s, name, evidence) in
            [(9, "b.example.com", Evidence::TlsSni), (3, "a.example.com", Evidence::QuicSni), (5, "", Evidence::Prefix)]
        {
            findings.add_alert(&alert(flow(client, start_s), tiktok(), evidence, name));
            findings
                .add_flow_end(&Flow { last_seen_ns: START_NS + 20_000_000_000, ..flow(client, start_s) }, &tiktok());
        }
        findings.add_alert(&alert(flow(client, 0), rule("tiktok", "TikTok", Class::Site), Evidence::TlsSni, "w"));
        let sorted = findings.sorted();
        assert_eq!((sorted.len(), findings.alerts()), (2, 4));
        let app = sorted[0];
        assert_eq!((app.verdict, app.flows, app.bytes_sent, app.bytes_received), (Verdict::App, 3, 4_500, 6_000_000));
        assert_eq!(app.names, ["b.example.com", "a.example.com", "192.0.2.80"]);
        assert_eq!(app.first_seen_ns, START_NS + 3_000_000_000);
        assert_eq!(app.last_seen_ns, START_NS + 20_000_000_000);
        assert_eq!((sorted[1].verdict, sorted[1].bytes_sent), (Verdict::Web, 0));
    }

    #[test]
    fn memory_is_bounded_and_says_so() {
        let mut findings = Findings::default();
        for client in 0..FINDINGS_MAX as u32 + 10 {
            let client = Address::v4(client.to_be_bytes());
            findings.add_alert(&alert(flow(client, 0), rule("x", "X", Class::Site), Evidence::TlsSni, "n"));
        }
        // One that is known still counts.
        findings.add_alert(&alert(flow(Address::v4([0; 4]), 0), rule("x", "X", Class::Site), Evidence::TlsSni, "n"));
        assert_eq!((findings.sorted().len(), findings.alerts_left_out()), (FINDINGS_MAX, 10));
        for name in 0..NAMES_PER_FINDING_MAX + 1 {
            let alert =
                alert(flow(Address::v4([0; 4]), 0), rule("x", "X", Class::Site), Evidence::TlsSni, &name.to_string());
            findings.add_alert(&alert);
        }
        let finding = findings.sorted()[0];
        assert_eq!((finding.names.len(), finding.has_more_names), (NAMES_PER_FINDING_MAX, true));
    }
}
