//! One incident, on one screen: is it real, which device, since when, on what evidence, under which rule, does it go on, what
//! have others done, and would it have been seen otherwise?

use std::sync::Arc;

use askama::Template;
use axum::response::Response;

use super::proof::proving;
use super::row::{Row, device, device_href, href, id, service_name};
use super::strip::Coverage;
use super::{Page, encode, ticket};
use crate::access::Person;
use crate::clock::{Clock, Stamp, long_day};
use crate::own_journal::Act;
use crate::pivot::{FlowValues, Link, Values};
use crate::query;
use crate::query::incident::{Evidence, Lists, Whole};
use crate::query::incidents::Incident;
use crate::server::visit::{Known, Visit};
use crate::server::{App, Problem, ask, html};
use crate::words::{
    Language, Words, closed_because, decided_word, evidence_word, fact_name, kind_sentence, reason, region_word,
    state_word, verdict_word,
};

/// A form that has to be filled in again.
#[derive(Clone, Debug)]
pub struct Again {
    pub fault: &'static str,
    pub note: String,
}

struct Proof {
    anchor: String,
    time: Stamp,
    name: String,
}

struct Reason {
    text: String,
    proof: Option<Proof>,
}

struct Entry {
    time: Stamp,
    by: String,
    what: String,
    note: String,
}

struct Step {
    time: Stamp,
    what: String,
}

struct Region {
    name: String,
    sent: String,
    received: String,
    width: u64,
}

struct Item {
    anchor: String,
    time: Stamp,
    name: String,
    family: String,
    kind: String,
    rule: String,
    signature_id: i64,
    sources: String,
    reviewed: String,
    server: String,
    region: String,
    bytes: String,
    ja4: String,
    links: Vec<Link>,
}

#[derive(Template)]
#[template(path = "incident.html")]
struct IncidentPage {
    w: &'static Words,
    page: Page,
    id: String,
    newer: Option<String>,
    older: Option<String>,
    severity: u8,
    sentence: String,
    kind: String,
    row: Row,
    going_on: String,
    reasons: Vec<Reason>,
    ban_title: String,
    authority: String,
    coverage: String,
    coverage_href: String,
    history: Vec<Entry>,
    csrf: Option<String>,
    form_error: Option<&'static str>,
    form_note: String,
    facts: Vec<(&'static str, String, Option<String>)>,
    changes: Vec<Step>,
    regions: Vec<Region>,
    evidence_count: String,
    evidence: Vec<Item>,
    evidence_left_out: Option<String>,
    same_device: Vec<Row>,
    ticket: String,
    raw_href: Option<String>,
    links: Vec<Link>,
}

/// The page. That it was looked at is written down first.
///
/// # Errors
/// There is no such incident, or the tables or the console's own journal cannot be used.
pub async fn page(app: &Arc<App>, known: &Known, wanted: &str, again: Option<Again>) -> Result<Response, Problem> {
    let visit = &known.visit;
    let (wanted, is_alias) = (wanted.to_owned(), !visit.sees_devices());
    let clock = app.clock.clone();
    let found = ask(app, move |tables| {
        let Some(whole) = query::incident::whole(tables, &wanted, is_alias)? else { return Ok(None) };
        let (from, until) = clock.span_of(clock.day(whole.incident.first_us));
        Ok(Some((Coverage::of(tables, from, until)?, whole)))
    });
    let (coverage, whole) = found.await?.ok_or(Problem::NotFound)?;
    app.own
        .write(&known.person.name, &Act::Viewed { incident: &whole.incident.id })
        .map_err(|_| Problem::NotRecorded)?;
    let (language, w) = (visit.language, visit.words());
    let incident = &whole.incident;
    let sentence = sentence(&whole, &app.clock, visit);
    let reasons = reasons(&whole, &app.clock, language);
    let coverage_href = format!("/coverage?day={}", app.clock.day(incident.first_us));
    let coverage = format!(
        "{}{} {}",
        language.pick("Coverage of that day", "Couverture de ce jour"),
        language.pick(":", "\u{a0}:"),
        coverage.sentence(language, w)
    );
    let ban_title = ban_title(&whole, language);
    let facts = facts(&whole, &app.clock, visit);
    let ticket = ticket::text(&ticket::Ticket {
        id: id(incident, visit),
        sentence: &sentence,
        ban: &ban_title,
        reasons: &reasons.iter().map(|reason| reason.text.clone()).collect::<Vec<_>>(),
        facts: &facts,
        evidence: &whole.evidence,
        coverage: &coverage,
        sees_devices: visit.sees_devices(),
        w,
    });
    let again_fault = again.as_ref().map(|again| again.fault);
    let page = IncidentPage {
        w,
        page: Page::of(app, visit, "/"),
        id: id(incident, visit).to_owned(),
        newer: whole.newer.as_ref().map(|other| href(other, visit)),
        older: whole.older.as_ref().map(|other| href(other, visit)),
        severity: incident.severity,
        kind: kind_sentence(language, &incident.kind),
        row: Row::of(incident, &app.clock, visit),
        going_on: going_on(&whole, &app.clock, visit),
        reasons,
        ban_title,
        authority: incident.authority.clone(),
        coverage,
        coverage_href,
        history: whole.audit.iter().filter_map(|line| entry(line, &app.clock, visit)).collect(),
        csrf: csrf(&known.person),
        form_error: again_fault,
        form_note: again.map(|again| again.note).unwrap_or_default(),
        changes: steps(&whole, &app.clock, language),
        regions: regions(&whole, w),
        evidence_count: w.number(whole.evidence_count + incident.evidence_left_out),
        evidence: whole.evidence.iter().map(|evidence| item(evidence, incident, app, visit)).collect(),
        evidence_left_out: left_out(&whole, language, w),
        same_device: whole.same_device.iter().map(|other| Row::of(other, &app.clock, visit)).collect(),
        links: links(app, visit, &of_incident(incident, None, app)),
        raw_href: visit.sees_devices().then(|| format!("/incident/{}/raw", encode(&incident.id))),
        facts,
        sentence,
        ticket,
    };
    Ok(html(&page))
}

fn csrf(person: &Person) -> Option<String> {
    person.role.sees_devices().then(|| person.csrf.clone())
}

/// The incident in one sentence.
fn sentence(whole: &Whole, clock: &Clock, visit: &Visit) -> String {
    let incident = &whole.incident;
    let (who, service) = (device(incident, visit), service_name(incident));
    let day = long_day(visit.language, clock.day(incident.first_us));
    let (from, until) = (clock.minute(incident.first_us), clock.minute(incident.last_us));
    let is_one_minute = from == until;
    match visit.language {
        Language::En => {
            let did = match (incident.verdict.as_str(), incident.kind.as_str()) {
                ("app", "background") => "has the application",
                ("app", _) => "ran the application",
                ("web", _) => "visited the site of",
                _ => "contacted",
            };
            let when = if is_one_minute { format!("at {from}") } else { format!("from {from} to {until}") };
            let first = if incident.first_run { ", probably for the first time" } else { "" };
            let tried = if incident.is_attempt { "; nothing answered" } else { "" };
            format!("{who} {did} {service} on {day}, {when}{first}{tried}.")
        }
        Language::Fr => {
            let did = match (incident.verdict.as_str(), incident.kind.as_str()) {
                ("app", "background") => "a l’application",
                ("app", _) => "a lancé l’application",
                ("web", _) => "a visité le site de",
                _ => "a contacté",
            };
            let when = if is_one_minute { format!("à {from}") } else { format!("de {from} à {until}") };
            let first = if incident.first_run { ", sans doute pour la première fois" } else { "" };
            let tried = if incident.is_attempt { " ; rien n’a répondu" } else { "" };
            format!("{who} {did} {service} le {day}, {when}{first}{tried}.")
        }
    }
}

fn going_on(whole: &Whole, clock: &Clock, visit: &Visit) -> String {
    const QUIET_US: i64 = 1_800_000_000;
    let incident = &whole.incident;
    let (language, w) = (visit.language, visit.words());
    let ago = (Clock::now_us() - incident.last_us).max(0);
    let (ago_text, at) = (w.duration(ago as u64 / 1_000_000), clock.short(language, incident.last_us).local);
    match (language, incident.is_open(), ago < QUIET_US) {
        (Language::En, true, true) => format!("It goes on: last contact {ago_text} ago."),
        (Language::En, true, false) => format!("Open, but quiet: last contact {at}, {ago_text} ago."),
        (Language::En, false, _) => format!("It is over: last contact {at}."),
        (Language::Fr, true, true) => format!("Cela continue : dernier contact il y a {ago_text}."),
        (Language::Fr, true, false) => format!("En cours, mais calme : dernier contact le {at}, il y a {ago_text}."),
        (Language::Fr, false, _) => format!("C’est terminé : dernier contact le {at}."),
    }
}

/// The reasons, each with the flow that proves it.
fn reasons(whole: &Whole, clock: &Clock, language: Language) -> Vec<Reason> {
    let Lists { reasons, reason_ids, .. } = &whole.lists;
    let proof = |evidence: &Evidence| Proof {
        anchor: anchor(evidence),
        time: clock.second(evidence.time_us),
        name: evidence.name.clone(),
    };
    let with_proof = |(place, text): (usize, &String)| Reason {
        text: reason(language, text),
        proof: reason_ids.get(place).and_then(|id| proving(id, reason_ids, &whole.evidence)).map(proof),
    };
    reasons.iter().enumerate().map(with_proof).collect()
}

fn anchor(evidence: &Evidence) -> String {
    let id: String = evidence.event_id.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("e{}-{id}", evidence.time_us)
}

fn ban_title(whole: &Whole, language: Language) -> String {
    let incident = &whole.incident;
    let known = vigie_signatures::Bans::builtin();
    let own = known.get(&incident.ban).filter(|ban| ban.language == "fr" && language == Language::Fr);
    let title = own.map_or(incident.ban_title.as_str(), |ban| ban.title.as_str());
    if title.is_empty() { incident.ban.clone() } else { format!("{title} ({})", incident.ban) }
}

fn entry(line: &query::audit::Audit, clock: &Clock, visit: &Visit) -> Option<Entry> {
    let (language, w) = (visit.language, visit.words());
    let sees = visit.sees_devices();
    let what = match line.kind.as_str() {
        "disposition" => {
            format!("{}{} {}", w.decision, language.pick(":", "\u{a0}:"), decided_word(w, line.fact("disposition")))
        }
        "note" if !sees => return None,
        kind => fact_name(language, kind),
    };
    let note = if sees { line.fact("note").to_owned() } else { String::new() };
    let by = if sees { line.by.clone() } else { String::new() };
    Some(Entry { time: clock.short(language, line.time_us), by, what, note })
}

fn facts(whole: &Whole, clock: &Clock, visit: &Visit) -> Vec<(&'static str, String, Option<String>)> {
    let incident = &whole.incident;
    let (language, w) = (visit.language, visit.words());
    let mut facts = vec![
        (w.device, device(incident, visit), device_href(incident, visit)),
        (w.service, service_name(incident), Some(format!("/service/{}", encode(&incident.service)))),
        (w.verdict, verdict_word(language, &incident.verdict), None),
        (w.first_seen, clock.short(language, incident.first_us).local, None),
        (w.last_seen, clock.short(language, incident.last_us).local, None),
        (w.flows, w.number(incident.flows), None),
        (w.sent, w.bytes(incident.bytes_to_server), None),
        (w.received, w.bytes(incident.bytes_to_client), None),
    ];
    let mut more = |name, value: String| {
        if !value.is_empty() {
            facts.push((name, value, None));
        }
    };
    if visit.sees_devices() {
        more(language.pick("Asset", "Inventaire"), incident.device.clone());
    }
    more(w.site, incident.site.clone());
    more(language.pick("Ministry", "Ministère"), incident.ministry.clone());
    more(language.pick("Scope", "Périmètre"), incident.scope.clone());
    more(language.pick("Day of the ban", "Jour de l’interdiction"), incident.day.clone());
    more(language.pick("Country of the servers", "Pays des serveurs"), whole.lists.countries.join(", "));
    if incident.is_clear_text {
        more(language.pick("Clear text", "En clair"), language.pick("yes", "oui").to_owned());
    }
    if incident.alerts_left_out > 0 {
        more(language.pick("Flows not written", "Flux non écrits"), w.number(incident.alerts_left_out));
    }
    facts
}

fn steps(whole: &Whole, clock: &Clock, language: Language) -> Vec<Step> {
    let step = |change: &query::incident::Change| {
        let verdict = verdict_word(language, &change.verdict);
        let state = state_word(language, &change.state);
        let why = match change.closed.as_str() {
            "" => String::new(),
            why => format!(" ({})", closed_because(language, why)),
        };
        let colon = language.pick(":", "\u{a0}:");
        let kind = kind_sentence(language, &change.kind);
        Step { time: clock.second(change.time_us), what: format!("{state}{why}{colon} {verdict}. {kind}") }
    };
    whole.changes.iter().map(step).collect()
}

fn regions(whole: &Whole, w: &Words) -> Vec<Region> {
    let all = &whole.lists.region_bytes;
    let sum =
        |region: &crate::projection::line::RegionBytes| region.bytes_toserver.saturating_add(region.bytes_toclient);
    let most = all.iter().map(sum).max().unwrap_or_default().max(1);
    let region = |region: &crate::projection::line::RegionBytes| Region {
        name: region_word(w, &region.region),
        sent: w.bytes(region.bytes_toserver),
        received: w.bytes(region.bytes_toclient),
        width: (sum(region) as f64 * 100.0 / most as f64) as u64,
    };
    all.iter().map(region).collect()
}

/// What links may tell of an incident, or of a flow of it.
fn of_incident<'i>(incident: &'i Incident, flow: Option<&'i Evidence>, app: &App) -> Values<'i> {
    let (first, last) = flow.map_or((incident.first_us, incident.last_us), |flow| (flow.time_us, flow.time_us));
    Values {
        incident: &incident.id,
        service: &incident.service,
        client: if incident.is_warning { "" } else { &incident.client },
        span_us: (first.saturating_sub(app.links_margin_us), last.saturating_add(app.links_margin_us)),
        flow: flow.map(|flow| FlowValues {
            community_id: &flow.community_id,
            client_port: flow.client_port,
            server: &flow.server,
            server_port: flow.server_port,
            proto: &flow.proto,
            name: &flow.name,
        }),
    }
}

/// Links into other tools, which know devices.
fn links(app: &App, visit: &Visit, values: &Values<'_>) -> Vec<Link> {
    let templates = if visit.sees_devices() { app.links.as_slice() } else { &[] };
    templates.iter().filter_map(|template| template.link(values)).collect()
}

fn item(evidence: &Evidence, incident: &Incident, app: &App, visit: &Visit) -> Item {
    let server = match evidence.server.contains(':') {
        true => format!("[{}]:{} {}", evidence.server, evidence.server_port, evidence.proto),
        false => format!("{}:{} {}", evidence.server, evidence.server_port, evidence.proto),
    };
    Item {
        anchor: anchor(evidence),
        time: app.clock.second(evidence.time_us),
        name: evidence.name.clone(),
        family: format!("{}/{}", evidence.class, evidence.family),
        kind: evidence_word(visit.language, &evidence.kind),
        rule: evidence.rule.clone(),
        signature_id: evidence.signature_id,
        sources: evidence.sources.clone(),
        reviewed: evidence.reviewed.clone(),
        server,
        region: match evidence.region.as_str() {
            "" => String::new(),
            region => region_word(visit.words(), region),
        },
        bytes: visit.words().bytes(evidence.bytes),
        ja4: evidence.ja4.clone(),
        links: links(app, visit, &of_incident(incident, Some(evidence), app)),
    }
}

fn left_out(whole: &Whole, language: Language, w: &Words) -> Option<String> {
    let shown = whole.evidence.len() as u64;
    let left_out = (whole.evidence_count + whole.incident.evidence_left_out).saturating_sub(shown);
    let number = w.number(left_out);
    (left_out > 0).then(|| match language {
        Language::En => format!("{number} more flows are not shown; the journal has them."),
        Language::Fr => format!("{number} autres flux ne sont pas affichés ; ils sont dans le journal."),
    })
}
