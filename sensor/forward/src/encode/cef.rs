//! ArcSight's Common Event Format, version 0.

use std::net::IpAddr;

use super::event::{Event, Subject};
use super::fields::{Fields, in_a_line};

/// Facts that have a key of the format.
const KNOWN: [&str; 9] = ["event_id", "name", "reasons", "by", "incident", "verdict", "kind", "ban", "client"];

/// Appends an event as one line, without a line end.
pub(super) fn encode(event: &Event, out: &mut String) {
    let alert = &event.alert;
    let (kind, name) = event.name();
    let class =
        if event.event_type == "alert" { format!("{}:{}", alert.gid, alert.signature_id) } else { kind.to_owned() };
    out.push_str("CEF:0");
    for text in ["vigie", "vigie", env!("CARGO_PKG_VERSION"), &class, name, severity(event)] {
        out.push('|');
        push_header(text, out);
    }
    out.push('|');
    for (place, (key, value)) in extension(event).into_iter().enumerate() {
        if place > 0 {
            out.push(' ');
        }
        out.push_str(&key);
        out.push('=');
        push_value(&value, out);
    }
}

/// The format counts from 0 to 10, upwards.
fn severity(event: &Event) -> &'static str {
    match (event.subject(), event.alert.severity) {
        (Subject::Stats | Subject::Flow, _) => "0",
        (_, 1) => "8",
        (_, 2) => "6",
        (_, 3) => "3",
        _ => "1",
    }
}

fn extension(event: &Event) -> Vec<(String, String)> {
    let mut fields = Fields::default();
    let (start, end) = event.span();
    let (to_server, to_client) = event.bytes();
    fields.add("rt", Some(event.time().epoch_ms()));
    fields.add("externalId", event.fact("event_id"));
    fields.add("act", Some(event.action()));
    fields.add("cat", Some(&event.alert.category));
    fields.add("dvchost", event.host.as_ref());
    fields.add("deviceInboundInterface", event.in_iface.as_ref());
    add_address(&mut fields, event.src_ip, ["src", "c6a2", "Source IPv6 Address"]);
    fields.add("spt", event.src_port);
    add_address(&mut fields, event.dest_ip, ["dst", "c6a3", "Destination IPv6 Address"]);
    fields.add("dpt", event.dest_port);
    fields.add("dhost", event.server_name());
    fields.add("proto", event.transport().map(|protocol| protocol.to_ascii_uppercase()));
    fields.add("app", event.application());
    fields.add("out", to_server);
    fields.add("in", to_client);
    fields.add("start", start.map(super::event::Time::epoch_ms));
    fields.add("end", end.map(super::event::Time::epoch_ms));
    fields.add("suser", event.fact("by"));
    fields.add("msg", Some(event.facts("reasons").join("; ")));
    for (place, label, value) in [
        (1, "incident", Some(event.facts("incident").join(", "))),
        (2, "verdict", event.fact("verdict").map(str::to_owned)),
        (3, "kind", event.fact("kind").map(str::to_owned)),
        (4, "ban", Some(event.facts("ban").join(", "))),
        (5, "client", event.fact("client").map(str::to_owned)),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.add(&format!("cs{place}"), Some(value));
            fields.add(&format!("cs{place}Label"), Some(label));
        }
    }
    fields.add_own(event, &KNOWN);
    fields.into_vec()
}

/// `src` and `dst` are IPv4 addresses; the format has two fields with labels for the others.
fn add_address(fields: &mut Fields, address: Option<IpAddr>, [v4, v6, label]: [&str; 3]) {
    match address {
        Some(IpAddr::V4(address)) => fields.add(v4, Some(address)),
        Some(IpAddr::V6(address)) => {
            fields.add(v6, Some(address));
            fields.add(&format!("{v6}Label"), Some(label));
        }
        None => {}
    }
}

/// A header ends at a pipe; `\` and `|` are escaped. It has no line ends.
fn push_header(text: &str, out: &mut String) {
    for character in text.chars().map(in_a_line) {
        if matches!(character, '\\' | '|') {
            out.push('\\');
        }
        out.push(character);
    }
}

/// In a value `\` and `=` are escaped, line ends are written as `\n` and `\r`.
fn push_value(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '=' => out.push_str("\\="),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(in_a_line(other)),
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
        let (mut header, mut value) = (String::new(), String::new());
        push_header("a|b\\c=d\ne", &mut header);
        push_value("a|b\\c=d\ne\rf\tg\u{0}h\u{85}i\u{2028}j", &mut value);
        assert_eq!(header, r"a\|b\\c=d e");
        assert_eq!(value, r"a|b\\c\=d\ne\rf g h i j");
    }
}
