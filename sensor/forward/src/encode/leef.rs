//! QRadar's Log Event Extended Format, version 2.0, with the tabulator as delimiter.
//!
//! The format has no escapes: a tabulator, a line end or any other control character in a value becomes a space. An equals
//! sign needs none, since a key ends at the first one.

use super::event::{Event, Subject};
use super::fields::{Fields, Format, in_a_line, is_plain, push};

const FORMAT: Format = Format { separator: b'\t', push_value };
/// Facts that have a key of the format.
const KNOWN: [&str; 5] = ["event_id", "name", "reasons", "by", "ban"];

/// Appends an event as one line, without a line end.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(concat!("LEEF:2.0|vigie|vigie|", env!("CARGO_PKG_VERSION"), "|").as_bytes());
    out.extend_from_slice(event_id(event).as_bytes());
    out.extend_from_slice(b"|x09|");
    attributes(event, Fields::new(&FORMAT, out));
}

fn push_value(text: &str, out: &mut Vec<u8>) {
    if is_plain(text, b"") {
        return out.extend_from_slice(text.as_bytes());
    }
    text.chars().for_each(|character| push(in_a_line(character), out));
}

/// What kind of event it is, by which QRadar maps it: `incident-opened`, or the signature of an alert, `1:7100101`.
fn event_id(event: &Event<'_>) -> String {
    let id = match event.subject() {
        Subject::Alert => format!("{}:{}", event.alert.gid, event.alert.signature_id),
        _ => event.action().into_owned(),
    };
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | ':' | '_' | '.');
    id.chars().filter(is_plain).take(64).collect()
}

/// The format counts from 1 to 10, upwards.
fn severity(event: &Event<'_>) -> u8 {
    match (event.subject(), event.alert.severity) {
        (Subject::Stats | Subject::Flow, _) => 1,
        (_, 1) => 8,
        (_, 2) => 6,
        (_, 3) => 3,
        _ => 1,
    }
}

fn attributes(event: &Event<'_>, mut fields: Fields<'_>) {
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
    fields.add_joined("policy", event.facts("ban"), ", ");
    fields.add_joined("reason", event.facts("reasons"), "; ");
    fields.add("vigieText", Some(event.name().1));
    fields.add("vigieEventId", event.fact("event_id"));
    fields.add("vigieSensor", event.host.as_deref());
    fields.add("vigieInterface", event.in_iface.as_deref());
    fields.add("vigieApplication", event.application());
    fields.add_own(event, &KNOWN);
    fields.finish();
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
