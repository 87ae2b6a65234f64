//! QRadar's Log Event Extended Format, version 2.0, with the tabulator as delimiter.
//!
//! The format has no escapes: a tabulator, a line end or any other control character in a value becomes a space. An equals
//! sign needs none, since a key ends at the first one.

use super::event::{Event, Subject};
use super::fields::{Fields, in_a_line};

/// Facts that have a key of the format.
const KNOWN: [&str; 5] = ["event_id", "name", "reasons", "by", "ban"];

/// Appends an event as one line, without a line end.
pub(super) fn encode(event: &Event, out: &mut String) {
    let version = env!("CARGO_PKG_VERSION");
    out.push_str(&format!("LEEF:2.0|vigie|vigie|{version}|{}|x09|", event_id(event)));
    for (place, (key, value)) in attributes(event).into_iter().enumerate() {
        if place > 0 {
            out.push('\t');
        }
        out.push_str(&key);
        out.push('=');
        out.extend(value.chars().map(in_a_line));
    }
}

/// What kind of event it is, by which QRadar maps it: `incident-opened`, or the signature of an alert, `1:7100101`.
fn event_id(event: &Event) -> String {
    let id = match event.subject() {
        Subject::Alert => format!("{}:{}", event.alert.gid, event.alert.signature_id),
        _ => event.action(),
    };
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | ':' | '_' | '.');
    id.chars().filter(is_plain).take(64).collect()
}

/// The format counts from 1 to 10, upwards.
fn severity(event: &Event) -> u8 {
    match (event.subject(), event.alert.severity) {
        (Subject::Stats | Subject::Flow, _) => 1,
        (_, 1) => 8,
        (_, 2) => 6,
        (_, 3) => 3,
        _ => 1,
    }
}

fn attributes(event: &Event) -> Vec<(String, String)> {
    let mut fields = Fields::default();
    let (to_server, to_client) = event.bytes();
    fields.add("devTime", Some(event.time().with_milliseconds()));
    fields.add("devTimeFormat", Some("yyyy-MM-dd'T'HH:mm:ss.SSSZ"));
    fields.add("cat", Some(event.name().0));
    fields.add("sev", Some(severity(event)));
    fields.add("src", event.src_ip);
    fields.add("srcPort", event.src_port);
    fields.add("dst", event.dest_ip);
    fields.add("dstPort", event.dest_port);
    fields.add("proto", event.transport().map(|protocol| protocol.to_ascii_uppercase()));
    fields.add("srcBytes", to_server);
    fields.add("dstBytes", to_client);
    fields.add("srcPackets", event.flow.pkts_toserver);
    fields.add("dstPackets", event.flow.pkts_toclient);
    fields.add("usrName", event.fact("by"));
    fields.add("domain", event.server_name());
    fields.add("policy", Some(event.facts("ban").join(", ")));
    fields.add("reason", Some(event.facts("reasons").join("; ")));
    fields.add("vigieText", Some(event.name().1));
    fields.add("vigieEventId", event.fact("event_id"));
    fields.add("vigieSensor", event.host.as_ref());
    fields.add("vigieInterface", event.in_iface.as_ref());
    fields.add("vigieApplication", event.application());
    fields.add_own(event, &KNOWN);
    fields.into_vec()
}

#[cfg(test)]
pub(super) mod tests {
    /// Header and attributes of a line, read back.
    pub(in super::super) fn parsed(line: &str) -> (Vec<String>, Vec<(String, String)>) {
        let mut parts = line.splitn(7, '|').map(str::to_owned);
        let header: Vec<String> = parts.by_ref().take(6).collect();
        assert_eq!((header.len(), header[5].as_str()), (6, "x09"));
        let attributes = parts.next().unwrap();
        let split = attributes.split('\t').map(|attribute| attribute.split_once('=').unwrap());
        (header, split.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}
