//! Audit lines as EVE alerts of their own generator: who may see people's data, and who did.

use super::GENERATOR_AUDIT;
use crate::json::Object;
use crate::record::Audit;

/// Suricata's name for what is no attack, as in its `classification.config`.
const CATEGORY: &str = "Not Suspicious Traffic";
/// The lowest severity: an audit line is no finding.
const SEVERITY: u64 = 4;

/// Appends an audit record as one line, newline included.
pub fn encode_audit(audit: &Audit<'_>, host: Option<&str>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.time("timestamp", audit.timestamp_ns);
    object.text("event_type", "alert");
    object.optional_text("host", host);
    let mut alert = object.object("alert");
    alert.text("action", "allowed");
    alert.number("gid", GENERATOR_AUDIT);
    alert.number("signature_id", audit.signature_id.into());
    alert.number("rev", 1);
    alert.text("signature", audit.signature);
    alert.text("category", CATEGORY);
    alert.number("severity", SEVERITY);
    let mut metadata = alert.object("metadata");
    for (key, text) in audit.facts.iter().filter(|(_, text)| !text.is_empty()) {
        metadata.texts(key, [text.as_str()]);
    }
    metadata.close();
    alert.close();
    object.close();
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eve::AUDIT_MARK;

    #[test]
    fn a_line_of_generator_eight() {
        let facts = [("audit", "reveal".to_owned()), ("case", "2026-7".to_owned()), ("second_person", String::new())];
        let audit = Audit {
            timestamp_ns: 1_795_805_894_000_000_000,
            signature_id: 2,
            signature: "vigie audit: a pseudonym was revealed",
            facts: &facts,
        };
        let mut out = Vec::new();
        encode_audit(&audit, Some("tap"), &mut out);
        assert!(memchr::memmem::find(&out, AUDIT_MARK).is_some());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"timestamp\":\"2026-11-27T18:58:14.000000+0000\",\"event_type\":\"alert\",\"host\":\"tap\",\
             \"alert\":{\"action\":\"allowed\",\"gid\":8,\"signature_id\":2,\"rev\":1,\
             \"signature\":\"vigie audit: a pseudonym was revealed\",\"category\":\"Not Suspicious Traffic\",\
             \"severity\":4,\"metadata\":{\"audit\":[\"reveal\"],\"case\":[\"2026-7\"]}}}\n"
        );
    }
}
