//! What an event of a journal changes in the tables.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;
use vigie_journal::eve::{GENERATOR_AUDIT, GENERATOR_INCIDENT, GENERATOR_SIGHTING, time_us};

use super::line::Line;
use crate::alias::AliasKey;

/// Incidents that are remembered.
const KNOWN_MAX: usize = 65_536;
/// Rules whose number is remembered. There are fewer; their texts change with reviews.
const RULES_MAX: usize = 16_384;
/// Days, services and bans whose alerts are counted before they go to the tables.
const ALERT_DAYS_MAX: usize = 4_096;
/// Between the texts of a key of several: a control character that no policy or signature has.
const SEPARATOR: &str = "\u{1f}";

/// Which journal a line is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sensor's.
    Sensor,
    /// The console's own: acknowledgements, notes, who looked.
    Console,
}

impl Origin {
    /// The word in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Console => "console",
        }
    }
}

/// Where a line begins.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub origin: Origin,
    pub segment: u64,
    pub offset: u64,
}

/// What is remembered of an incident.
#[derive(Clone, Copy)]
struct Known {
    seq: i64,
    /// How much evidence it has, if that was asked.
    evidence: Option<u32>,
}

/// Writes events into the tables.
pub struct Store {
    key: AliasKey,
    /// Evidence that is kept of an incident; what is beyond is counted.
    evidence_max: u32,
    /// Incidents by their ids.
    known: HashMap<String, Known>,
    /// Numbers of rules in the table `rule`.
    rules: HashMap<String, i64>,
    /// Alerts by day, service and ban that are not in the tables yet.
    alerts: HashMap<String, u64>,
}

impl Store {
    pub fn new(key: AliasKey, evidence_max: u32) -> Self {
        Self { key, evidence_max, known: HashMap::new(), rules: HashMap::new(), alerts: HashMap::new() }
    }

    /// Forgets what was removed from the tables.
    pub fn forget(&mut self) {
        self.known.clear();
        self.rules.clear();
    }

    /// Writes what was only counted so far. Due before each commit.
    ///
    /// # Errors
    /// The database refuses.
    pub fn write_counts(&mut self, tables: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut count = tables.prepare_cached(
            "INSERT INTO alert_day VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET alerts = alerts + ?4",
        )?;
        for (key, alerts) in self.alerts.drain() {
            let mut parts = key.splitn(3, SEPARATOR);
            let mut part = || parts.next().unwrap_or_default();
            count.execute(params![part(), part(), part(), alerts as i64])?;
        }
        Ok(())
    }

    /// Takes an event. False if it cannot be read.
    ///
    /// # Errors
    /// The database refuses.
    pub fn take(&mut self, tables: &Transaction<'_>, place: Place, text: &[u8]) -> rusqlite::Result<bool> {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(text) else { return Ok(false) };
        let Some(time) = time_us(&line.timestamp) else { return Ok(false) };
        match (&*line.event_type, line.alert.gid) {
            ("alert", GENERATOR_AUDIT) => take_audit(tables, place, &line, time)?,
            // The console's own journal tells nothing else.
            _ if place.origin == Origin::Console => {}
            ("alert", GENERATOR_INCIDENT) => self.take_incident(tables, place, &line, time)?,
            ("alert", GENERATOR_SIGHTING) => self.take_alert(tables, place, &line, time)?,
            ("stats", _) => take_coverage(tables, &line, time)?,
            _ => {}
        }
        Ok(true)
    }

    fn take_incident(
        &mut self,
        tables: &Transaction<'_>,
        place: Place,
        line: &Line<'_>,
        time: i64,
    ) -> rusqlite::Result<()> {
        let (facts, numbers) = (&line.alert.metadata, &line.alert.context.vigie);
        let id = facts.one("incident");
        if id.is_empty() {
            return Ok(());
        }
        let seq = self.known(tables, id)?.seq;
        let client = facts.one("client");
        let all = |key| facts.all(key).collect::<Vec<_>>();
        let lists = json!({
            "reasons": all("reasons"), "names": all("names"), "families": all("families"),
            "regions": all("region"), "countries": all("server_country"), "region_bytes": numbers.regions,
            "reason_ids": numbers.reason_ids,
        });
        let mut change =
            tables.prepare_cached("INSERT OR REPLACE INTO change VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        change.execute(params![
            seq,
            time,
            numbers.revision as i64,
            facts.one("incident_state"),
            facts.one("verdict"),
            facts.one("kind"),
            facts.one("incident_closed"),
            place.segment as i64,
            place.offset as i64,
        ])?;
        let mut incident = tables.prepare_cached(
            "INSERT INTO incident (id, alias, state, closed, client, client_alias, device, service, service_name, verdict,
                 kind, first_run, is_warning, is_attempt, is_clear_text, ban, ban_title, authority, day, scope, site,
                 ministry, severity, opened_us, first_us, last_us, revision, flows, bytes_to_server, bytes_to_client,
                 alerts_left_out, lists, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
                 ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)
             ON CONFLICT (seq) DO UPDATE SET state = ?3, closed = ?4, device = ?7, verdict = ?10, kind = ?11,
                 first_run = max(first_run, ?12), is_attempt = ?14, is_clear_text = max(is_clear_text, ?15),
                 severity = ?23, first_us = min(first_us, ?25), last_us = max(last_us, ?26), revision = ?27, flows = ?28,
                 bytes_to_server = ?29, bytes_to_client = ?30, alerts_left_out = ?31, lists = ?32
             WHERE ?27 >= revision",
        )?;
        incident.execute(params![
            id,
            self.key.incident(id),
            facts.one("incident_state"),
            facts.one("incident_closed"),
            client,
            self.key.client(client),
            facts.one("device"),
            facts.one("service"),
            facts.one("service_name"),
            facts.one("verdict"),
            facts.one("kind"),
            facts.is_true("first_run"),
            facts.is_true("warning"),
            facts.is_true("attempt"),
            facts.is_true("cleartext"),
            facts.one("ban"),
            facts.one("ban_title"),
            facts.one("authority"),
            facts.one("day"),
            facts.one("scope"),
            facts.one("site"),
            facts.one("ministry"),
            line.alert.severity,
            time,
            time_us(&numbers.first).unwrap_or(time),
            time_us(&numbers.last).unwrap_or(time),
            numbers.revision as i64,
            numbers.flows as i64,
            numbers.bytes_toserver as i64,
            numbers.bytes_toclient as i64,
            numbers.alerts_left_out as i64,
            lists.to_string(),
            seq,
        ])?;
        // It may have been decided by a line that was read before.
        apply_decision(tables, id)
    }

    fn take_alert(
        &mut self,
        tables: &Transaction<'_>,
        place: Place,
        line: &Line<'_>,
        time: i64,
    ) -> rusqlite::Result<()> {
        let facts = &line.alert.metadata;
        let day = line.timestamp.get(..10).unwrap_or_default();
        let key = [day, facts.one("service"), facts.one("ban")].join(SEPARATOR);
        if self.alerts.len() >= ALERT_DAYS_MAX && !self.alerts.contains_key(&key) {
            self.write_counts(tables)?;
        }
        *self.alerts.entry(key).or_default() += 1;
        let rule = self.rule(tables, line)?;
        for incident in facts.all("incident") {
            let known = self.known(tables, incident)?;
            let count = self.evidence(tables, known)?;
            if count >= self.evidence_max {
                let left_out = "UPDATE incident SET evidence_left_out = evidence_left_out + 1 WHERE seq = ?1";
                tables.prepare_cached(left_out)?.execute([known.seq])?;
                continue;
            }
            let mut evidence = tables.prepare_cached(
                "INSERT OR IGNORE INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
                     ?16)",
            )?;
            let ja4 = if line.tls.ja4.is_empty() { &line.quic.ja4 } else { &line.tls.ja4 };
            let added = evidence.execute(params![
                known.seq,
                time,
                facts.one("event_id"),
                rule,
                facts.one("name"),
                facts.one("evidence"),
                &**ja4,
                facts.one("region"),
                &*line.proto,
                line.src_port.unwrap_or_default(),
                &*line.dest_ip,
                line.dest_port.unwrap_or_default(),
                &*line.community_id,
                line.flow.bytes_toserver.saturating_add(line.flow.bytes_toclient) as i64,
                place.segment as i64,
                place.offset as i64,
            ])?;
            if let Some(known) = self.known.get_mut(incident) {
                known.evidence = Some(count + added as u32);
            }
        }
        Ok(())
    }

    /// The number of an alert's rule.
    fn rule(&mut self, tables: &Transaction<'_>, line: &Line<'_>) -> rusqlite::Result<i64> {
        let facts = &line.alert.metadata;
        let sources = facts.all("sources").collect::<Vec<_>>().join(", ");
        let id = line.alert.signature_id as i64;
        let texts = [facts.one("rule"), facts.one("class"), facts.one("family"), &sources, facts.one("reviewed")];
        let key = format!("{id}{SEPARATOR}{}", texts.join(SEPARATOR));
        if let Some(rule) = self.rules.get(&key) {
            return Ok(*rule);
        }
        let [rule, class, family, sources, reviewed] = texts;
        let values = params![id, rule, class, family, sources, reviewed];
        let add = "INSERT OR IGNORE INTO rule (signature_id, rule, class, family, sources, reviewed)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        tables.prepare_cached(add)?.execute(values)?;
        let find = "SELECT seq FROM rule WHERE signature_id = ?1 AND rule = ?2 AND class = ?3 AND family = ?4
                    AND sources = ?5 AND reviewed = ?6";
        let seq = tables.prepare_cached(find)?.query_row(values, |row| row.get(0))?;
        if self.rules.len() >= RULES_MAX {
            self.rules.clear();
        }
        self.rules.insert(key, seq);
        Ok(seq)
    }

    /// The number of an incident; it gets one if it is new.
    fn known(&mut self, tables: &Transaction<'_>, id: &str) -> rusqlite::Result<Known> {
        if let Some(known) = self.known.get(id) {
            return Ok(*known);
        }
        let find = "SELECT seq FROM incident_key WHERE id = ?1";
        let found: Option<i64> = tables.prepare_cached(find)?.query_row([id], |row| row.get(0)).optional()?;
        let known = match found {
            Some(seq) => Known { seq, evidence: None },
            None => {
                let seq = tables.prepare_cached("INSERT INTO incident_key (id) VALUES (?1)")?.insert([id])?;
                Known { seq, evidence: Some(0) }
            }
        };
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(id.to_owned(), known);
        Ok(known)
    }

    /// How much evidence of an incident is kept.
    fn evidence(&self, tables: &Transaction<'_>, known: Known) -> rusqlite::Result<u32> {
        if let Some(count) = known.evidence {
            return Ok(count);
        }
        let count = "SELECT count(*) FROM (SELECT 1 FROM evidence WHERE incident = ?1 LIMIT ?2)";
        tables.prepare_cached(count)?.query_row(params![known.seq, self.evidence_max], |row| row.get(0))
    }
}

fn take_audit(tables: &Transaction<'_>, place: Place, line: &Line<'_>, time: i64) -> rusqlite::Result<()> {
    let facts = &line.alert.metadata;
    let (kind, incident, by) = (facts.one("audit"), facts.one("incident"), facts.one("by"));
    let told: Vec<(&str, String)> = facts.by_key().into_iter().collect();
    let told = serde_json::to_string(&told).unwrap_or_default();
    let mut audit = tables.prepare_cached("INSERT OR REPLACE INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let (segment, offset) = (place.segment as i64, place.offset as i64);
    audit.execute(params![place.origin.as_str(), segment, offset, time, kind, incident, by, told])?;
    apply_decision(tables, incident)
}

/// Brings what people decided about an incident up to date.
fn apply_decision(tables: &Transaction<'_>, incident: &str) -> rusqlite::Result<()> {
    if incident.is_empty() {
        return Ok(());
    }
    let mut update = tables.prepare_cached(
        "UPDATE incident SET
             acknowledged_by = coalesce((SELECT by FROM audit WHERE incident = ?1 AND kind IN ('acknowledged', 'disposition')
                                         ORDER BY time_us LIMIT 1), ''),
             disposition = coalesce((SELECT (SELECT json_extract(value, '$[1]') FROM json_each(facts)
                                             WHERE json_extract(value, '$[0]') = 'disposition')
                                     FROM audit WHERE incident = ?1 AND kind = 'disposition'
                                     ORDER BY time_us DESC LIMIT 1), '')
         WHERE seq = (SELECT seq FROM incident_key WHERE id = ?1) AND EXISTS (SELECT 1 FROM audit WHERE incident = ?1)",
    )?;
    update.execute([incident])?;
    Ok(())
}

/// No window is longer.
const DAY_S: u64 = 86_400;

fn take_coverage(tables: &Transaction<'_>, line: &Line<'_>, time: i64) -> rusqlite::Result<()> {
    let facts = &line.metadata;
    let Some(window_s) = facts.number("vigie.window_s") else { return Ok(()) };
    let number = |key| facts.number(key).unwrap_or_default().min(u64::from(u32::MAX)) as i64;
    let mut coverage = tables.prepare_cached(
        "INSERT OR REPLACE INTO coverage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    coverage.execute(params![
        // The event tells of the window that ends with it.
        time - (window_s.min(DAY_S) * 1_000_000) as i64,
        &*line.in_iface,
        window_s.min(DAY_S) as i64,
        number("vigie.blind_s"),
        number("vigie.drops_ppm"),
        number("vigie.hellos"),
        number("vigie.hellos_nameless"),
        number("vigie.hellos_ech"),
        number("vigie.shunted"),
        facts.text("vigie.policy"),
        facts.text("vigie.signatures"),
        number("vigie.assets_listed"),
        number("vigie.assets_seen"),
    ])?;
    Ok(())
}

/// A value of the table `meta`.
///
/// # Errors
/// The database refuses.
pub fn meta(tables: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT value FROM meta WHERE key = ?1";
    tables.query_row(query, [key], |row| row.get(0)).optional()
}

/// Sets a value of the table `meta`.
///
/// # Errors
/// The database refuses.
pub fn set_meta(tables: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    tables.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute([key, value])?;
    Ok(())
}
