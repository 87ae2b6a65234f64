//! Worked scenarios and pages of third parties, with the right answer; they lie beside the repository and are skipped,
//! with a line that says so, where they are not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use vigie_judgement::{Answered, Cases, Client, Judgement, Kind, Origin, Recogniser, Sighting, Thresholds};
use vigie_signatures::{Bundle, Clients, Name, normalise};

fn intel(file: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/intel").join(file);
    let text = fs::read_to_string(&path).ok();
    if text.is_none() {
        vigie_skip::skipped(format!("{} is not there", path.display()));
    }
    text
}

/// One contact, as the scenarios have it.
struct Contacted {
    seconds: f64,
    client: String,
    name: String,
    ja4: String,
    bytes_to_client: u64,
    answered: Answered,
}

/// The strongest judgement of each service over all episodes.
fn judge(recogniser: &Recogniser, contacts: &[Contacted]) -> BTreeMap<String, Judgement> {
    let mut cases = Cases::new(Thresholds::default(), 65_536);
    let mut strongest: BTreeMap<String, Judgement> = BTreeMap::new();
    let mut tell = |change: vigie_judgement::Change<'_>| {
        if change.is_over {
            match strongest.get_mut(&**change.service) {
                Some(known) => {
                    known.rise(change.judgement.clone());
                }
                None => {
                    strongest.insert(change.service.to_string(), change.judgement.clone());
                }
            }
        }
    };
    for contact in contacts {
        let mut buffer = [0; 256];
        let Name::Host(host) = normalise(contact.name.as_bytes(), &mut buffer) else { continue };
        let host = host.as_str();
        let Some(rule) = recogniser.flow(Some(host), None) else { continue };
        let Some(attribution) = recogniser.attribute(rule) else { continue };
        let time_ns = (contact.seconds * 1e9) as u64;
        let origin = Origin::unknown();
        let client = Client::Name(contact.client.as_str().into());
        let sighting = Sighting {
            time_ns,
            stack: recogniser.stack(&contact.ja4, &attribution.service, time_ns),
            answered: contact.answered,
            bytes_to_client: contact.bytes_to_client,
            bytes_to_server: 1_000,
            ..Sighting::of_flow((&client, &origin), (&attribution.service, &attribution.owner), rule, host)
        };
        cases.sighting(&sighting, &mut tell);
    }
    cases.end(&mut tell);
    strongest
}

fn recogniser() -> Recogniser {
    Recogniser::new(Bundle::builtin(), Clients::builtin())
}

#[test]
fn scenarios_get_the_right_verdict() {
    let Some(text) = intel("verdict_vectors.jsonl") else { return };
    let recogniser = recogniser();
    let (mut right, mut wrong) = (0, Vec::new());
    for line in text.lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        let contacts: Vec<Contacted> = scenario["observations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|contact| Contacted {
                seconds: contact["seconds"].as_f64().unwrap(),
                client: contact["client"].as_str().unwrap().to_owned(),
                name: contact["name"].as_str().unwrap_or_default().to_owned(),
                ja4: contact["ja4"].as_str().unwrap_or_default().to_owned(),
                bytes_to_client: contact["bytes_toclient"].as_u64().unwrap_or(0),
                answered: match contact["answered"].as_bool() {
                    Some(true) => Answered::Yes,
                    Some(false) => Answered::No,
                    None => Answered::Unknown,
                },
            })
            .collect();
        let judged = judge(&recogniser, &contacts);
        let expected = scenario["expect"].as_object().unwrap();
        let mut faults = Vec::new();
        for (service, expected) in expected {
            let Some(judgement) = judged.get(service) else {
                faults.push(format!("{service}: nothing said"));
                continue;
            };
            for (what, is) in [
                ("verdict", Value::from(judgement.verdict().as_str())),
                ("kind", Value::from(judgement.kind.as_str())),
                ("first_run", Value::from(judgement.first_run)),
                ("incident", Value::from(judgement.kind.is_use())),
            ] {
                if expected.get(what).is_some_and(|expected| *expected != is) {
                    faults.push(format!("{service}: {what} is {is}, not {}", expected[what]));
                }
            }
        }
        let may_also: Vec<&str> =
            scenario["may_also_name"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for service in judged.keys().filter(|service| !expected.contains_key(*service)) {
            if !may_also.contains(&service.as_str()) {
                faults.push(format!("{service}: {:?} is said of it", judged[service].kind));
            }
        }
        if faults.is_empty() {
            right += 1;
        } else {
            wrong.push(format!("{}: {}", scenario["id"], faults.join("; ")));
        }
    }
    println!("{right} scenarios right");
    assert!(wrong.is_empty() && right > 30, "{right} right; wrong: {wrong:#?}");
}

#[test]
fn no_page_of_others_is_a_use() {
    let Some(text) = intel("pages.jsonl") else { return };
    let recogniser = recogniser();
    let (mut pages, mut embeds, mut uses) = (0, 0, Vec::new());
    for line in text.lines() {
        let page: Value = serde_json::from_str(line).unwrap();
        let contacts: Vec<Contacted> = page["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(place, host)| Contacted {
                seconds: place as f64 * 0.4,
                client: "10.66.0.11".to_owned(),
                name: host.as_str().unwrap().to_owned(),
                ja4: "t13d1516h2_8daaf6152771_d8a2da3f94cd".to_owned(),
                bytes_to_client: 40_000,
                answered: Answered::Unknown,
            })
            .collect();
        let judged = judge(&recogniser, &contacts);
        pages += 1;
        let is_embed = |judgement: &Judgement| judgement.kind <= Kind::Player;
        embeds += usize::from(judged.values().all(is_embed));
        if judged.values().any(|judgement| judgement.kind.is_use()) {
            uses.push(format!("{line}: {judged:?}"));
        }
        if !judged.values().all(is_embed) {
            println!("no embed: {:?} {:?}", page["hosts"], judged.iter().map(|(s, j)| (s, j.kind)).collect::<Vec<_>>());
        }
    }
    println!("{embeds} of {pages} pages are embeds");
    assert!(uses.is_empty(), "{uses:#?}");
    assert!(embeds >= 1_220 && pages == 1_224, "{embeds} of {pages}");
}
