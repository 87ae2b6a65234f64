//! ArcSight's Common Event Format, version 0.

use std::net::IpAddr;

use super::event::{Event, Subject, Time};
use super::fields::{Fields, Format, in_a_line, is_plain, push};

const FORMAT: Format = Format { separator: b' ', push_value };
/// Facts that have a key of the format.
const KNOWN: [&str; 9] = ["event_id", "name", "reasons", "by", "incident", "verdict", "kind", "ban", "client"];
/// Custom strings of the format: key, key of the label, and the fact, which is the label.
const CUSTOM: [(&str, &str, &str); 5] = [
    ("cs1", "cs1Label", "incident"),
    ("cs2", "cs2Label", "verdict"),
    ("cs3", "cs3Label", "kind"),
    ("cs4", "cs4Label", "ban"),
    ("cs5", "cs5Label", "client"),
];

/// Appends an event as one line, without a line end.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let alert = &event.alert;
    let (kind, name) = event.name();
    let is_alert = &*event.event_type == "alert";
    let class = if is_alert { format!("{}:{}", alert.gid, alert.signature_id) } else { kind.to_owned() };
    out.extend_from_slice(b"CEF:0");
    for text in ["vigie", "vigie", env!("CARGO_PKG_VERSION"), &class, name, severity(event)] {
        out.push(b'|');
        push_header(text, out);
    }
    out.push(b'|');
    extension(event, Fields::new(&FORMAT, out));
}

/// The format counts from 0 to 10, upwards.
fn severity(event: &Event<'_>) -> &'static str {
    match (event.subject(), event.alert.severity) {
        (Subject::Stats | Subject::Flow, _) => "0",
        (_, 1) => "8",
        (_, 2) => "6",
        (_, 3) => "3",
        _ => "1",
    }
}

fn extension(event: &Event<'_>, mut fields: Fields<'_>) {
    let (start, end) = event.span();
    let (to_server, to_client) = event.bytes();
    fields.add("rt", Some(event.time().epoch_ms()));
    fields.add("externalId", event.fact("event_id"));
    fields.add("act", Some(event.action()));
    fields.add("cat", Some(&*event.alert.category));
    fields.add("dvchost", event.host.as_deref());
    fields.add("deviceInboundInterface", event.in_iface.as_deref());
    add_address(&mut fields, event.src_ip, ["src", "c6a2", "c6a2Label", "Source IPv6 Address"]);
    fields.add("spt", event.src_port);
    add_address(&mut fields, event.dest_ip, ["dst", "c6a3", "c6a3Label", "Destination IPv6 Address"]);
    fields.add("dpt", event.dest_port);
    fields.add("dhost", event.server_name());
    fields.add("proto", event.transport().map(|protocol| protocol.to_ascii_uppercase()));
    fields.add("app", event.application());
    fields.add("out", to_server);
    fields.add("in", to_client);
    fields.add("start", start.map(Time::epoch_ms));
    fields.add("end", end.map(Time::epoch_ms));
    fields.add("suser", event.fact("by"));
    fields.add_joined("msg", event.facts("reasons"), "; ");
    for (key, label, fact) in CUSTOM {
        let has_many = matches!(fact, "incident" | "ban");
        let values = event.facts(fact).take(if has_many { usize::MAX } else { 1 });
        if values.clone().any(|value| !value.is_empty()) {
            fields.add_joined(key, values, ", ");
            fields.add(label, Some(fact));
        }
    }
    fields.add_own(event, &KNOWN);
    fields.finish();
}

/// `src` and `dst` are IPv4 addresses; the format has two fields with labels for the others.
fn add_address(fields: &mut Fields<'_>, address: Option<IpAddr>, [v4, v6, v6_label, label]: [&str; 4]) {
    match address {
        Some(IpAddr::V4(address)) => fields.add(v4, Some(address)),
        Some(IpAddr::V6(address)) => {
            fields.add(v6, Some(address));
            fields.add(v6_label, Some(label));
        }
        None => {}
    }
}

/// A header ends at a pipe; `\` and `|` are escaped. It has no line ends.
fn push_header(text: &str, out: &mut Vec<u8>) {
    if is_plain(text, b"\\|") {
        return out.extend_from_slice(text.as_bytes());
    }
    for character in text.chars().map(in_a_line) {
        if matches!(character, '\\' | '|') {
            out.push(b'\\');
        }
        push(character, out);
    }
}

/// In a value `\` and `=` are escaped, line ends are written as `\n` and `\r`.
fn push_value(text: &str, out: &mut Vec<u8>) {
    if is_plain(text, b"\\=") {
        return out.extend_from_slice(text.as_bytes());
    }
    for character in text.chars() {
        match character {
            '\\' => out.extend_from_slice(b"\\\\"),
            '=' => out.extend_from_slice(b"\\="),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            other => push(in_a_line(other), out),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Header and fields of a line, read back.
    pub(in super::super) fn parsed(line: &str) -> (Vec<String>, Vec<(String, String)>) {
        let (mut header, mut part, mut characters) = (Vec::new(), String::new(), line.chars());
        while header.len() < 7 {
            match characters.next().unwrap() {
                '\\' => part.push(characters.next().unwrap()),
                '|' => header.push(std::mem::take(&mut part)),
                other => part.push(other),
            }
        }
        let rest: String = characters.collect();
        // An equals sign that is not escaped ends a key, which begins after the last space before it.
        let (mut fields, mut text, mut characters) = (Vec::<(String, String)>::new(), String::new(), rest.chars());
        while let Some(character) = characters.next() {
            match character {
                '\\' => text.push(match characters.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    escaped @ ('\\' | '=') => escaped,
                    other => panic!("\\{other}"),
                }),
                '=' => {
                    let (value, key) = text.rsplit_once(' ').unwrap_or(("", &text));
                    assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
                    if let Some(last) = fields.last_mut() {
                        value.clone_into(&mut last.1);
                    }
                    fields.push((key.to_owned(), String::new()));
                    text.clear();
                }
                other => text.push(other),
            }
        }
        if let Some(last) = fields.last_mut() {
            last.1 = text;
        }
        (header, fields)
    }

    #[test]
    fn pipes_equals_signs_backslashes_and_line_ends_are_escaped() {
        let (mut header, mut value) = (Vec::new(), Vec::new());
        push_header("a|b\\c=d\ne", &mut header);
        push_value("a|b\\c=d\ne\rf\tg\u{0}h\u{85}i\u{2028}j", &mut value);
        let [header, value] = [header, value].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(header, r"a\|b\\c=d e");
        assert_eq!(value, r"a|b\\c\=d\ne\rf g h i j");
    }
}
