//! Incidents as EVE alerts of their own generator: who watches only these watches what a person has to look at.

use super::{CATEGORY, GENERATOR_INCIDENT};
use crate::json::Object;
use crate::record::{Incident, SpanCoverage};

/// Appends a change of an incident as one line, newline included.
pub fn encode_incident(incident: &Incident<'_>, host: Option<&str>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.time("timestamp", incident.timestamp_ns);
    object.text("event_type", "alert");
    if let Some(client) = incident.client_address {
        object.address("src_ip", client);
        object.number("ip_v", if client.is_ipv4() { 4 } else { 6 });
    }
    object.optional_text("host", host);
    let mut alert = object.object("alert");
    alert.text("action", "allowed");
    alert.number("gid", GENERATOR_INCIDENT);
    alert.number("signature_id", incident.signature_id.into());
    alert.number("rev", 1);
    alert.text("signature", incident.signature);
    alert.text("category", CATEGORY);
    alert.number("severity", incident.severity.into());
    write_metadata(alert.object("metadata"), incident);
    let mut context = alert.object("context");
    write_numbers(context.object("vigie"), incident);
    context.close();
    alert.close();
    object.close();
    out.push(b'\n');
}

fn write_metadata(mut metadata: Object<'_>, incident: &Incident<'_>) {
    for &(key, text) in incident.facts {
        if !text.is_empty() {
            metadata.texts(key, [text]);
        }
    }
    for &(key, texts) in incident.lists {
        if !texts.is_empty() {
            metadata.texts(key, texts.iter().map(|text| &**text));
        }
    }
    metadata.close();
}

fn write_numbers(mut numbers: Object<'_>, incident: &Incident<'_>) {
    numbers.number("revision", incident.revision.into());
    numbers.number("flows", incident.flows);
    numbers.number("bytes_toserver", incident.bytes_to_server);
    numbers.number("bytes_toclient", incident.bytes_to_client);
    if !incident.reason_ids.is_empty() {
        write_reason_ids(numbers.key("reason_ids"), incident.reason_ids);
    }
    if !incident.region_bytes.is_empty() {
        write_regions(numbers.key("regions"), incident.region_bytes);
    }
    numbers.time("first", incident.first_ns);
    numbers.time("last", incident.last_ns);
    numbers.number("alerts_left_out", incident.alerts_left_out);
    if let Some(coverage) = &incident.coverage {
        write_coverage(numbers.object("coverage"), coverage);
    }
    numbers.close();
}

fn write_coverage(mut fields: Object<'_>, coverage: &SpanCoverage) {
    for (key, number) in [
        ("span_s", coverage.span_s),
        ("seen_ppm", coverage.seen_ppm()),
        ("blind_s", coverage.blind_s),
        ("off_s", coverage.off_s),
        ("drops_ppm", coverage.drops_ppm()),
        ("hellos", coverage.hellos),
        ("hellos_nameless", coverage.hellos_nameless),
        ("hellos_ech", coverage.hellos_ech),
    ] {
        fields.number(key, number);
    }
    fields.close();
}

/// In the order of the sentences in `metadata.reasons`.
fn write_reason_ids(out: &mut Vec<u8>, reason_ids: &[(&'static str, &[String])]) {
    let mut mark = b'[';
    for (id, about) in reason_ids {
        out.push(mark);
        mark = b',';
        let mut fields = Object::open(out);
        fields.text("id", id);
        if !about.is_empty() {
            fields.texts("about", about.iter().map(String::as_str));
        }
        fields.close();
    }
    out.push(b']');
}

/// Bytes by the region in the host name; empty where the name has none.
fn write_regions(out: &mut Vec<u8>, regions: &[(Box<str>, u64, u64)]) {
    let mut mark = b'[';
    for (region, to_client, to_server) in regions {
        out.push(mark);
        mark = b',';
        let mut fields = Object::open(out);
        fields.text("region", region);
        fields.number("bytes_toserver", *to_server);
        fields.number("bytes_toclient", *to_client);
        fields.close();
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eve::INCIDENT_MARK;

    #[test]
    fn a_line_of_generator_seven() {
        let incident = Incident {
            timestamp_ns: 1_795_805_894_000_000_000,
            client_address: Some("10.0.0.1".parse().unwrap()),
            signature_id: 1,
            signature: "vigie incident opened",
            severity: 2,
            facts: &[("incident", "k7q2m-4x9d0-f"), ("site", "")],
            lists: &[("names", &["www.tiktok.com".into()]), ("reasons", &[])],
            revision: 1,
            flows: 3,
            bytes_to_server: 10,
            bytes_to_client: 20,
            reason_ids: &[("site-names", &["www.tiktok.com".to_owned()]), ("attempt", &[])],
            region_bytes: &[("Norway".into(), 20, 10)],
            first_ns: 1_795_805_893_000_000_000,
            last_ns: 1_795_805_894_000_000_000,
            alerts_left_out: 4,
            coverage: None,
        };
        let mut out = Vec::new();
        encode_incident(&incident, Some("tap"), &mut out);
        assert!(memchr::memmem::find(&out, INCIDENT_MARK).is_some());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"timestamp\":\"2026-11-27T18:58:14.000000+0000\",\"event_type\":\"alert\",\"src_ip\":\"10.0.0.1\",\
             \"ip_v\":4,\"host\":\"tap\",\"alert\":{\"action\":\"allowed\",\"gid\":7,\"signature_id\":1,\"rev\":1,\
             \"signature\":\"vigie incident opened\",\"category\":\"Potential Corporate Privacy Violation\",\
             \"severity\":2,\"metadata\":{\"incident\":[\"k7q2m-4x9d0-f\"],\"names\":[\"www.tiktok.com\"]},\
             \"context\":{\"vigie\":{\"revision\":1,\"flows\":3,\"bytes_toserver\":10,\"bytes_toclient\":20,\
             \"reason_ids\":[{\"id\":\"site-names\",\"about\":[\"www.tiktok.com\"]},{\"id\":\"attempt\"}],\
             \"regions\":[{\"region\":\"Norway\",\"bytes_toserver\":10,\"bytes_toclient\":20}],\
             \"first\":\"2026-11-27T18:58:13.000000+0000\",\"last\":\"2026-11-27T18:58:14.000000+0000\",\
             \"alerts_left_out\":4}}}}\n"
        );
        let mut out = Vec::new();
        encode_incident(&Incident { client_address: None, ..incident }, None, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("coverage"), "{text}");
        assert!(!text.contains("src_ip") && !text.contains("ip_v") && !text.contains("host"), "{text}");
    }

    #[test]
    fn one_that_closed_tells_what_was_covered() {
        let coverage = SpanCoverage {
            span_s: 3_600,
            blind_s: 36,
            off_s: 0,
            packets: 999_999,
            drops: 1,
            hellos: 500,
            hellos_nameless: 20,
            hellos_ech: 300,
        };
        let mut out = Vec::new();
        write_coverage(Object::open(&mut out), &coverage);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"span_s\":3600,\"seen_ppm\":990000,\"blind_s\":36,\"off_s\":0,\"drops_ppm\":1,\"hellos\":500,\
             \"hellos_nameless\":20,\"hellos_ech\":300}"
        );
    }
}
