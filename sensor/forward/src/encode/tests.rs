use proptest::prelude::*;
use serde_json::{Value, json};

use super::fields::{VALUE_BYTES_MAX, in_a_line};
use super::*;

const EVENTS: &str = include_str!("../../tests/encodings/events.jsonl");

fn encoded(encoding: Encoding, line: &str) -> String {
    let mut out = Vec::new();
    encoding.encode(line.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The longest line that each encoding makes of one of the given length: a text stands in five fields at most, and a character that
/// is escaped takes six bytes.
fn length_max(line: &str) -> usize {
    5 * 6 * line.len() + 8_192
}

#[test]
fn eve_is_the_line_as_it_is() {
    for line in [r#"{"event_type":"alert"}"#, "no event"] {
        assert_eq!(encoded(Encoding::Eve, line), line);
    }
}

#[test]
fn each_encoding_has_its_word() {
    for (encoding, word) in Encoding::ALL.into_iter().zip(["eve", "ecs", "ocsf", "cef", "leef"]) {
        assert_eq!((encoding.to_string().as_str(), word.parse()), (word, Ok(encoding)));
    }
    assert!("json".parse::<Encoding>().unwrap_err().contains("eve, ecs, ocsf, cef, leef"));
}

#[test]
fn what_is_no_event_leaves_the_output_as_it_was() {
    for encoding in Encoding::ALL.into_iter().skip(1) {
        let mut out = b"before".to_vec();
        assert!(matches!(encoding.encode(b"{", &mut out), Err(EncodeError::NoEvent(_))));
        let untimed = br#"{"timestamp":"now","event_type":"alert"}"#;
        assert_eq!(encoding.encode(untimed, &mut out), Err(EncodeError::Timestamp));
        assert_eq!(out, b"before");
    }
}

/// All texts of a value that are no keys.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

#[test]
fn no_address_appears_that_the_line_does_not_have() {
    let is_address = |text: &&String| text.parse::<std::net::IpAddr>().is_ok();
    for line in EVENTS.lines() {
        for encoding in [Encoding::Ecs, Encoding::Ocsf] {
            let mut found = Vec::new();
            texts(&serde_json::from_str(&encoded(encoding, line)).unwrap(), &mut found);
            for address in found.iter().filter(is_address) {
                assert!(line.contains(&format!("\"{address}\"")), "{encoding}: {address} in {line}");
            }
        }
        let cef = super::cef::tests::parsed(&encoded(Encoding::Cef, line)).1;
        let leef = super::leef::tests::parsed(&encoded(Encoding::Leef, line)).1;
        for (key, address) in cef.iter().chain(&leef).filter(|(_, text)| is_address(&text)) {
            assert!(line.contains(&format!("\"{address}\"")), "{key}: {address} in {line}");
        }
    }
    let warning = EVENTS.lines().find(|line| line.contains("\"warning\"")).unwrap();
    for encoding in Encoding::ALL {
        let text = encoded(encoding, warning);
        for absent in ["src=", "cs5", "\"source\":{\"ip\"", "src_endpoint", "client\":{\"ip\"", "10.66."] {
            assert!(!text.contains(absent), "{encoding}: {absent} in {text}");
        }
    }
}

#[test]
fn every_fact_of_an_event_is_in_every_encoding() {
    for line in EVENTS.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let mut facts = Vec::new();
        texts(&event["alert"]["metadata"], &mut facts);
        texts(&event["host"], &mut facts);
        for encoding in [Encoding::Ecs, Encoding::Ocsf] {
            let mut found = Vec::new();
            texts(&serde_json::from_str(&encoded(encoding, line)).unwrap(), &mut found);
            for fact in &facts {
                assert!(found.contains(fact), "{encoding}: {fact} of {line}");
            }
        }
        let cef = super::cef::tests::parsed(&encoded(Encoding::Cef, line)).1;
        let leef = super::leef::tests::parsed(&encoded(Encoding::Leef, line)).1;
        for fact in &facts {
            for (encoding, fields) in [("cef", &cef), ("leef", &leef)] {
                assert!(fields.iter().any(|(_, value)| value.contains(fact.as_str())), "{encoding}: {fact} of {line}");
            }
        }
    }
}

#[test]
fn a_line_of_any_number_of_facts_stays_short() {
    let metadata: serde_json::Map<String, Value> =
        (0..2_000).map(|number| (format!("fact_{number}"), json!(["x"]))).collect();
    let line = json!({"timestamp": "2026-11-27T18:58:14.000000+0000", "event_type": "alert",
        "alert": {"gid": 7, "metadata": metadata}})
    .to_string();
    for encoding in [Encoding::Cef, Encoding::Leef] {
        let text = encoded(encoding, &line);
        assert!(text.len() < 4_096 && text.ends_with("vigieCut=vigie"), "{text}");
    }
}

#[test]
fn a_line_of_any_number_of_names_stays_in_proportion() {
    let names = vec!["x"; 4_000];
    let line = json!({"timestamp": "2026-11-27T18:58:14.000000+0000", "event_type": "alert", "src_ip": "192.0.2.1",
        "alert": {"gid": 7, "metadata": {"names": names}}})
    .to_string();
    for encoding in Encoding::ALL {
        assert!(encoded(encoding, &line).len() <= length_max(&line), "{encoding}");
    }
}

/// Texts with everything that a format could take for its own.
fn hostile() -> impl Strategy<Value = String> {
    let characters = prop_oneof![
        4 => prop::sample::select(vec!['|', '=', '\\', '"', '\'', '\n', '\r', '\t', ' ', '{', '}', ',', ':', '^', 'n', '\u{2028}']),
        2 => (0_u32..=0x9f).prop_map(|code| char::from_u32(code).unwrap()),
        1 => any::<char>(),
    ];
    prop::collection::vec(characters, 0..40).prop_map(|characters| characters.into_iter().collect())
}

/// An incident in which every text is hostile.
fn line() -> impl Strategy<Value = (String, Value)> {
    let texts = prop::collection::vec(hostile(), 8);
    (texts, prop::sample::select(vec![1, 7, 8, 0]), any::<u64>(), prop::option::of(1_usize..3_000)).prop_map(
        |(texts, gid, bytes, repeated)| {
            let text = |place: usize| texts[place].clone();
            let long = repeated.map_or_else(|| text(4), |times| text(4).repeat(times));
            let event = json!({
                "timestamp": "2026-11-27T18:58:14.123456+0000", "event_type": "alert", "src_ip": "192.0.2.1",
                "host": text(0), "in_iface": text(1), "tls": {"sni": text(2), "ja4": text(7)},
                "alert": {"gid": gid, "signature_id": 1, "signature": text(3), "severity": bytes % 6, "category": text(1),
                    "metadata": {"names": [long, text(5)], "name": [text(2)], "by": [text(6)], "incident": [text(0)],
                        "reasons": [text(7), text(6)], text(5): [text(3)]},
                    "context": {"vigie": {"bytes_toserver": bytes, "flows": 2}}},
            });
            (event.to_string(), event)
        },
    )
}

/// What becomes of a text in a line that has no escapes.
fn one_line(text: &str) -> String {
    text.chars().map(in_a_line).collect()
}

/// What becomes of a text in CEF: `\r` and `\n` are kept.
fn cef_text(text: &str) -> String {
    let keep = |character: char| matches!(character, '\n' | '\r');
    text.chars().map(|character| if keep(character) { character } else { in_a_line(character) }).collect()
}

proptest! {
    #[test]
    fn whatever_the_texts_are_the_output_is_one_bounded_line((line, event) in line()) {
        for encoding in Encoding::ALL {
            let text = encoded(encoding, &line);
            prop_assert!(text.len() <= length_max(&line), "{} of {}", text.len(), line.len());
            prop_assert!(!text.contains(['\n', '\r', '\0']), "{text}");
        }
        for encoding in [Encoding::Ecs, Encoding::Ocsf] {
            let value: Value = serde_json::from_str(&encoded(encoding, &line)).unwrap();
            prop_assert_eq!(&value["message"], &event["alert"]["signature"].as_str().filter(|text| !text.is_empty())
                .map_or_else(|| json!("vigie record of a flow"), |text| json!(text)));
        }
    }

    #[test]
    fn cef_reads_back_as_it_was_written((line, event) in line()) {
        let (header, fields) = super::cef::tests::parsed(&encoded(Encoding::Cef, &line));
        let signature = event["alert"]["signature"].as_str().unwrap();
        if !signature.is_empty() {
            prop_assert_eq!(&header[5], &one_line(signature));
        }
        let field = |key: &str| fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let sni = event["alert"]["metadata"]["name"][0].as_str().unwrap();
        if !sni.is_empty() {
            prop_assert_eq!(field("dhost"), Some(cef_text(sni)));
        }
        prop_assert_eq!(field("src"), Some("192.0.2.1".to_owned()));
        let host = event["host"].as_str().unwrap();
        prop_assert_eq!(field("dvchost"), Some(cef_text(host)).filter(|host| !host.is_empty()));
        prop_assert!(fields.iter().all(|(_, value)| value.len() <= VALUE_BYTES_MAX));
    }

    #[test]
    fn leef_reads_back_as_it_was_written((line, event) in line()) {
        let (header, fields) = super::leef::tests::parsed(&encoded(Encoding::Leef, &line));
        prop_assert!(header[4].bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|'));
        let field = |key: &str| fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let host = event["host"].as_str().unwrap();
        prop_assert_eq!(field("vigieSensor"), Some(one_line(host)).filter(|host| !host.is_empty()));
        prop_assert!(fields.iter().all(|(key, value)| value.len() <= VALUE_BYTES_MAX && !key.is_empty()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for encoding in Encoding::ALL {
            let _ = encoding.encode(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn no_changed_line_makes_it_panic(place in 0_usize..37, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let line = EVENTS.lines().nth(place).unwrap();
        let mut bytes = line.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for encoding in Encoding::ALL.into_iter().skip(1) {
            let mut out = Vec::new();
            if encoding.encode(&bytes, &mut out).is_ok() {
                prop_assert!(!out.contains(&b'\n') && out.len() <= length_max(line));
            }
        }
    }
}
