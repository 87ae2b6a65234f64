//! The journal's seals as events: each line of `seals.jsonl` becomes an audit line that has the seal as it stands there. Who keeps
//! these lines elsewhere can prove later that the journal was changed.

use serde_json::Value;
use vigie_journal::eve;
use vigie_journal::record::Audit;

use crate::selection::{SIGNATURE_LOST, SIGNATURE_SEAL};
use crate::time::now_ns;

/// A seal as an event.
pub fn seal_event(seal: &str, host: &str) -> Vec<u8> {
    let object: Value = serde_json::from_str(seal).unwrap_or_default();
    let fact = |key: &str| match object.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, seal.as_bytes());
    let event_id = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let facts = [
        ("event_id", event_id),
        ("audit", "sealed".to_owned()),
        ("segment", fact("seq")),
        ("sha256", fact("sha256")),
        ("reason", fact("reason")),
        ("seal", seal.to_owned()),
    ];
    event(SIGNATURE_SEAL, "vigie journal: a segment was sealed", &facts, host)
}

/// What a receiver is told of events that it never got.
pub fn lost_event(receiver: &str, segments: u64, host: &str) -> Vec<u8> {
    let facts = [("audit", "lost".to_owned()), ("receiver", receiver.to_owned()), ("segments", segments.to_string())];
    event(SIGNATURE_LOST, "vigie forward: segments were removed before this receiver had them", &facts, host)
}

fn event(signature_id: u32, signature: &'static str, facts: &[(&'static str, String)], host: &str) -> Vec<u8> {
    let audit = Audit { timestamp_ns: now_ns(), signature_id, signature, facts };
    let mut line = Vec::new();
    eve::encode_audit(&audit, Some(host).filter(|host| !host.is_empty()), &mut line);
    line.pop();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::{Class, Head};

    #[test]
    fn a_seal_stands_in_its_event_as_it_is() {
        let seal = r#"{"seq":7,"sha256":"ab","prev":"00"}"#;
        let line = seal_event(seal, "tap");
        assert_eq!(Head::parse(&line).unwrap().class(), Class::Seals);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["alert"]["metadata"]["seal"][0], seal);
        assert_eq!(value["alert"]["metadata"]["segment"][0], "7");
        assert_eq!(Head::parse(&line).unwrap().event_id().unwrap().len(), 16);
        let lost = lost_event("soc", 3, "tap");
        assert_eq!(Head::parse(&lost).unwrap().class(), Class::Audit);
    }
}
