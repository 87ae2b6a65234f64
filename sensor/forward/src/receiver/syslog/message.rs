//! One message: header, structured data, event (RFC 5424 section 6).

use std::io::Write;

use crate::batch::Event;
use crate::configuration::SyslogSettings;
use crate::receiver::journald::severity;

/// Longest HOSTNAME.
const HOST_BYTES_MAX: usize = 255;

/// Appends a message.
pub fn write(settings: &SyslogSettings, event: &Event<'_>, out: &mut Vec<u8>) {
    let head = event.head();
    let eve = head.as_ref().and_then(crate::selection::Head::severity);
    let priority = u16::from(settings.facility) * 8 + u16::from(severity(event.class, eve));
    let _ = write!(out, "<{priority}>1 ");
    timestamp(head.as_ref().map_or("", |head| head.timestamp()), out);
    out.push(b' ');
    host(head.as_ref().map_or("", |head| &head.host), out);
    let _ = write!(out, " {} - {} ", settings.app_name, event.class.as_str());
    let ids = head.as_ref().map(|head| [("event_id", head.event_id()), ("incident", head.incident())]);
    match (&settings.structured_data_id, ids) {
        (Some(id), Some(ids)) => {
            let _ = write!(out, "[{id}");
            for (name, value) in ids {
                if let Some(value) = value {
                    let _ = write!(out, " {name}=\"{}\"", escaped(value));
                }
            }
            out.push(b']');
        }
        _ => out.push(b'-'),
    }
    out.push(b' ');
    out.extend_from_slice(event.encoded);
}

/// RFC 3339 has a colon in the offset, EVE none.
fn timestamp(eve: &str, out: &mut Vec<u8>) {
    let split = eve.len().checked_sub(2).and_then(|at| eve.split_at_checked(at));
    match split {
        Some((most, minutes)) if eve.len() > 24 && eve.is_ascii() => {
            out.extend_from_slice(most.as_bytes());
            out.push(b':');
            out.extend_from_slice(minutes.as_bytes());
        }
        _ => out.push(b'-'),
    }
}

/// PRINTUSASCII only; other characters become a question mark.
fn host(name: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let plain = |c: char| if c.is_ascii_graphic() { c as u8 } else { b'?' };
    out.extend(name.chars().take(HOST_BYTES_MAX).map(plain));
    if out.len() == start {
        out.push(b'-');
    }
}

/// In PARAM-VALUE, these three are escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{TlsSettings, Transport};
    use crate::selection::Class;

    fn message(line: &str, id: Option<&str>) -> String {
        let settings = SyslogSettings {
            server: String::new(),
            transport: Transport::Tcp,
            tls: TlsSettings::default(),
            facility: 16,
            app_name: "vigie".to_owned(),
            structured_data_id: id.map(str::to_owned),
            resend_lines: 0,
            timeout_s: 1,
        };
        let mut out = Vec::new();
        let event = Event { line: line.as_bytes(), encoded: b"{}", class: Class::Incidents };
        write(&settings, &event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_have_all_parts_of_the_header() {
        let line = r#"{"timestamp":"2026-11-27T18:58:14.000000+0000","host":"tap 1","alert":{"gid":7,"severity":2,
            "metadata":{"event_id":["0a"],"incident":["k\"]"]}}}"#;
        let id = Some("vigie@32473");
        assert_eq!(
            message(line, id),
            "<132>1 2026-11-27T18:58:14.000000+00:00 tap?1 vigie - incident \
             [vigie@32473 event_id=\"0a\" incident=\"k\\\"\\]\"] {}"
        );
        assert_eq!(message("{}", None), "<133>1 - - vigie - incident - {}");
        assert_eq!(message("{\"timestamp\":\"é\",\"host\":\"\"}", None), "<133>1 - - vigie - incident - {}");
    }
}
