//! The texts in English.

use vigie_judgement::policy::ScopeKind;

use super::facts::{Facts, Network, given, list};
use crate::settings::Language;

pub(super) fn text(facts: &Facts) -> String {
    let Facts { sensor, events_file, audit_file, derogations, assets, .. } = facts;
    let controller = given(facts.controller.as_ref(), "to be completed: privacy.controller");
    let contact = given(facts.contact.as_ref(), "to be completed: privacy.contact");
    let bans = list(facts.bans.iter().map(|ban| ban.line(Language::English)));
    let (covered, left_out) = (covered(facts), left_out(facts));
    let (collected, naming, seen, retention) = (collected(facts), naming(facts), seen(facts), retention(events_file));
    let derogation = match derogations {
        0 => "No derogation is registered.".to_owned(),
        _ => format!(
            "Derogations registered: {derogations}. Nothing is recorded of who is under one, as long as it lasts."
        ),
    };
    let dpia = given(facts.dpia_reference.as_ref(), "to be completed: privacy.dpia_reference");
    let notice = given(facts.notice_date.as_ref(), "to be completed: privacy.notice_date");
    let consultation =
        given(facts.staff_consultation_date.as_ref(), "to be completed: privacy.staff_consultation_date");
    let site = given(facts.site.as_ref(), "to be completed: privacy.site");
    format!(
        "NOTICE FOR THE STAFF (English)\n\n\
         {controller} observes the connections of official devices to find applications and services that are banned on \
         them. A sensor at the network reads the names of servers (TLS, QUIC, DTLS, DNS, HTTP); it decrypts nothing, \
         blocks nothing, and keeps no content.\n\n\
         Which bans apply:\n{bans}\n\
         Whose devices:\n{covered}\n\
         Of whom nothing is recorded:\n{left_out}\n\
         What is recorded:\n{collected}\n\
         {naming}\n\n\
         {seen}\n\n\
         {retention}\n\n\
         {derogation}\n\n\
         Legal basis: [to be confirmed by the data protection officer: a task in the public interest or a legal obligation, \
         GDPR article 6(1)(e) or (c)]. No decision is made by the machine alone: an incident says what was seen and why, \
         and a person judges it.\n\n\
         You may ask for access, rectification, erasure and restriction, and object (GDPR articles 15 to 21): {contact}. \
         You may complain to the supervisory authority.\n\n\n\
         FACTS FOR THE IMPACT ASSESSMENT (GDPR article 35)\n\n\
         Reference: {dpia}. Notice to the staff: {notice}. Consultation of its representatives: {consultation}.\n\
         Systematic observation of a network that employees use: an assessment is to be expected.\n\n\
         Data: addresses of clients{mac}, names and addresses of servers, times, bytes, the fingerprint of the TLS \
         program (JA4), asset labels ({assets} in the list).\n\
         Necessity: names are matched in memory; what matches no signature is never written.\n\
         Proportionality: pages that only embed a service raise no incident; guests and derogations are counted by \
         totals only, below five not told apart.\n\
         {naming}\n\
         {seen}\n\
         Risks and measures: {second} The audit ({audit_file}) tells every reveal, change of policy, derogation and new \
         key, and never an address. The process that reads packets has no network and gives up its rights before the first \
         packet.\n\n\n\
         ENTRY OF THE REGISTER OF PROCESSING (GDPR article 30)\n\n\
         Controller: {controller}. Contact: {contact}.\n\
         Processing: detection of banned applications on official devices, sensor {sensor}, site {site}.\n\
         Purpose: compliance with the bans above, security of information.\n\
         Categories of people: users of the devices above. Categories of data: as in the assessment.\n\
         Recipients: those who read {events_file}, and where it is forwarded to [to be completed].\n\
         Transfers to other countries: none by the sensor.\n\
         {retention}\n\
         Security: as in the assessment.\n",
        mac = if facts.uses_mac { " and their hardware addresses" } else { "" },
        second = match (facts.pseudonyms, facts.reveal_needs_second) {
            (None, _) => "events name clients, so access to them must be limited.",
            (Some(_), false) => "one person with the key can reveal a pseudonym.",
            (Some(_), true) => "a reveal needs a second person.",
        },
    )
}

fn covered(facts: &Facts) -> String {
    let unlisted = facts.covers_unlisted.then(|| "all clients that no network below names".to_owned());
    let listed = facts.covers_assets.then(|| "the devices of the asset list that a ban can cover".to_owned());
    let lines = unlisted.into_iter().chain(listed).chain(facts.covered.iter().map(network));
    list(lines)
}

fn left_out(facts: &Facts) -> String {
    let unlisted = (!facts.covers_unlisted).then(|| "all clients that no network names".to_owned());
    let lines: Vec<String> = unlisted.into_iter().chain(facts.left_out.iter().map(network)).collect();
    list(if lines.is_empty() { vec!["nobody is left out".to_owned()] } else { lines })
}

fn network(network: &Network) -> String {
    let kind = match network.kind {
        ScopeKind::Official => "official devices",
        ScopeKind::Sensitive => "official devices in a sensitive zone",
        ScopeKind::Connected => "devices with access to internal networks",
        ScopeKind::Enrolled => "enrolled devices",
        ScopeKind::Contractor => "devices of contractors",
        ScopeKind::Guest => "guests",
        ScopeKind::Personal => "personal devices",
    };
    format!("{}: {kind}", network.name)
}

fn collected(facts: &Facts) -> String {
    let mut lines = vec![
        "incidents: which device used which banned service, when, how much, and the reasons in words".to_owned(),
        "alerts: the connections to that service while an incident is open".to_owned(),
    ];
    if let Some((records, until)) = &facts.debug {
        lines.push(format!("until {until}, for a test, records of the traffic of everybody: {records}"));
    }
    list(lines)
}

fn naming(facts: &Facts) -> String {
    let names = match facts.pseudonyms {
        Some(period) => format!(
            "Devices are written as pseudonyms. Their key changes each {period}; whoever holds it can reveal them, with a \
             case number and a reason, and each reveal is recorded. The administrator (root) of the sensor can reveal the \
             current {period}."
        ),
        None => "Devices are written by their address or name; there are no pseudonyms.".to_owned(),
    };
    match facts.warns_first {
        true => format!(
            "{names} The first finding of a device in a period tells only site and service; the second names it."
        ),
        false => names,
    }
}

fn seen(facts: &Facts) -> String {
    format!("Who sees it: those who may read {} [to be completed: teams and roles].", facts.events_file)
}

fn retention(events_file: &str) -> String {
    format!(
        "How long: as long as {events_file} and its copies are kept [to be completed; recommended: incidents 180 days, \
         alerts 30 days]. The sensor itself deletes nothing; the package's log rotation keeps 30 files, one a day."
    )
}
