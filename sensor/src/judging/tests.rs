//! Judging as `read` and `run` do it, on events as workers emit them.

use super::*;
use crate::event::{Evidence, Flow, FlowEnd, Order, Sighting as FlowSighting};
use vigie_decode::{Address, Encapsulation};
use vigie_handshake::opening::Desync;

/// A moment at which the French ban and the watch are in use: 27 November 2026, 08:00 UTC.
const START_NS: u64 = 1_795_766_400_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// What goes out, a line each.
#[derive(Default)]
struct Lines(Vec<String>);

impl Output for Lines {
    fn finding(&mut self, finding: &Finding<'_>) {
        if let Finding::Incident(change) = finding {
            let Incident { id, judgement, ban, flows, bytes_to_client, .. } = change.incident;
            let (step, kind) = (change.step.as_str(), judgement.kind.as_str());
            self.0.push(format!("{step} {id} {kind} {} {flows} {bytes_to_client}", ban.id));
        }
    }

    fn judged(&mut self, _: &Sighting<'_>) {}

    fn use_pseudonyms(&mut self, privacy: &Privacy, rotation: Rotation) {
        let from = rotation.from.map_or_else(String::new, |from| from.to_string());
        let used = privacy.pseudonyms().unwrap().period();
        assert_eq!(used, rotation.to);
        self.0.push(format!("key {from} {used}"));
    }

    fn alert(&mut self, sighting: &Event, under: &[Under]) {
        let Fact::Sighting(sighting) = &sighting.fact else { panic!() };
        self.0.push(format!("alert {} {}", sighting.name.as_deref().unwrap(), under[0].incident));
    }
}

impl Lines {
    /// The first words of the lines.
    fn steps(&self) -> Vec<&str> {
        self.0.iter().map(|line| line.split(' ').next().unwrap()).collect()
    }
}

fn judging() -> Judging {
    Judging::new(Bundle::builtin(), Arc::new(Policy::builtin()), Limits::default())
}

pub fn event_at(timestamp_ns: u64, fact: Fact) -> Event {
    Event { timestamp_ns, frame_number: 1, order: Order::default(), fact }
}

pub fn flow(id: u64, bytes_to_client: u64) -> Flow {
    Flow {
        id,
        client: Address::v4([10, 0, 0, 1]),
        client_port: 50_000,
        server: Address::v4([192, 0, 2, 1]),
        server_port: 443,
        protocol: 6,
        encapsulation: Encapsulation::default(),
        interface: 0,
        first_seen_ns: START_NS,
        last_seen_ns: START_NS,
        packets_to_server: 3,
        packets_to_client: bytes_to_client.div_ceil(1_500),
        bytes_to_server: 900,
        bytes_to_client,
    }
}

/// A name on a flow, in a hello.
pub fn sighting_at(timestamp_ns: u64, flow: Flow, name: &str) -> Event {
    let sighting = FlowSighting {
        flow,
        client_mac: None,
        evidence: Evidence::TlsSni,
        name: Some(name.to_owned()),
        name_as_sent: None,
        rule: Arc::clone(Bundle::builtin().name(name).unwrap()),
        hello: None,
        desync: Desync::default(),
        summarised: 0,
    };
    event_at(timestamp_ns, Fact::Sighting(Box::new(sighting)))
}

fn event(seconds: u64, fact: Fact) -> Event {
    event_at(START_NS + seconds * SECOND_NS, fact)
}

fn sighted(seconds: u64, id: u64, name: &str) -> Event {
    sighting_at(START_NS + seconds * SECOND_NS, flow(id, 0), name)
}

fn clock(seconds: u64) -> Event {
    event(seconds, Fact::Clock { both_directions: true })
}

const TNC: &str = "tnc16-platform-useast1a.tiktokv.com";
const API: &str = "api16-normal-useast1a.tiktokv.com";
const MEDIA: &str = "v16m-default.akamaized.tiktokcdn.com";

fn judge_all(judging: &mut Judging, events: impl IntoIterator<Item = Event>, lines: &mut Lines) {
    events.into_iter().for_each(|event| judging.take(event, &[], lines));
}

#[test]
fn alerts_come_with_the_incident_that_they_led_to() {
    let (mut judging, mut lines) = (judging(), Lines::default());
    judge_all(&mut judging, [sighted(0, 1, TNC), clock(10)], &mut lines);
    assert!(lines.0.is_empty(), "{:?}", lines.0);
    judge_all(&mut judging, [sighted(20, 2, API), clock(30), sighted(40, 3, API), clock(50)], &mut lines);
    assert_eq!(lines.steps(), ["opened", "alert", "alert", "alert"]);
    judging.finish(&mut lines);
    assert_eq!(lines.steps(), ["opened", "alert", "alert", "alert", "closed"]);
    assert!(lines.0[4].contains(" 3 "), "{:?}", lines.0);
}

#[test]
fn bytes_of_a_flow_are_added_up_and_raise_the_verdict() {
    let (mut judging, mut lines) = (judging(), Lines::default());
    let bytes = |seconds, total| event(seconds, Fact::FlowBytes(Box::new(flow(3, total))));
    judge_all(&mut judging, [sighted(0, 1, TNC), sighted(1, 2, API), sighted(2, 3, MEDIA), clock(10)], &mut lines);
    judge_all(&mut judging, [bytes(60, 1_500_000), clock(70)], &mut lines);
    assert!(!lines.steps().contains(&"risen"), "{:?}", lines.0);
    judge_all(&mut judging, [bytes(120, 2_500_000), clock(130)], &mut lines);
    assert!(
        lines.0.last().unwrap().starts_with("risen ") && lines.0.last().unwrap().contains(" in-use "),
        "{:?}",
        lines.0
    );
    let end = event(140, Fact::FlowEnd(Box::new(flow(3, 2_600_000)), FlowEnd::Timeout, Some(sighting_rule(MEDIA))));
    judge_all(&mut judging, [end], &mut lines);
    judging.finish(&mut lines);
    assert!(lines.0.last().unwrap().ends_with(" 3 2600000"), "{:?}", lines.0);
}

fn sighting_rule(name: &str) -> Arc<vigie_signatures::Rule> {
    Arc::clone(Bundle::builtin().name(name).unwrap())
}

#[test]
fn events_a_little_out_of_order_are_judged_in_order() {
    let judged = |events: Vec<Event>| {
        let (mut judging, mut lines) = (judging(), Lines::default());
        judge_all(&mut judging, events, &mut lines);
        judging.finish(&mut lines);
        lines.0
    };
    let in_order = judged(vec![sighted(10, 1, TNC), sighted(11, 2, API), clock(20)]);
    assert_eq!(in_order, judged(vec![sighted(11, 2, API), sighted(10, 1, TNC), clock(20)]));
}

#[test]
fn a_restart_changes_no_incident_and_no_alert() {
    let all = || {
        let hours = |hours: u64| hours * 3_600;
        vec![
            sighted(0, 1, TNC),
            clock(400),
            // The lone interface comes again.
            sighted(hours(2), 2, TNC),
            clock(hours(2) + 10),
            sighted(hours(3), 3, API),
            clock(hours(3) + 400),
            sighted(hours(5), 4, "webcast16-normal.tiktokv.com"),
            clock(hours(5) + 10),
        ]
    };
    let (mut one, mut expected) = (judging(), Lines::default());
    judge_all(&mut one, all(), &mut expected);
    one.finish(&mut expected);
    assert!(expected.steps().contains(&"opened"), "{:?}", expected.0);
    for cut in 0..all().len() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path().join("judgement.state"));
        let (mut before, mut lines) = (judging(), Lines::default());
        judge_all(&mut before, all().drain(..cut), &mut lines);
        before.judge_all(&mut lines);
        file.save(&before.save()).unwrap();
        let mut after = judging();
        after.resume(file.load().unwrap().unwrap(), &mut lines);
        judge_all(&mut after, all().drain(cut..), &mut lines);
        after.finish(&mut lines);
        assert_eq!(lines.0, expected.0, "restart before event {cut}");
    }
}

#[test]
fn a_damaged_state_is_refused_and_a_missing_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judgement.state");
    let file = StateFile::new(path.clone());
    assert!(file.load().unwrap().is_none());
    let (mut judging, mut lines) = (judging(), Lines::default());
    judge_all(&mut judging, [sighted(0, 1, TNC), sighted(1, 2, API), clock(10)], &mut lines);
    file.save(&judging.save()).unwrap();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(file.load().is_err(), "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(file.load().is_err(), "cut at {at}");
    }
    std::fs::write(&path, whole).unwrap();
    assert!(file.load().unwrap().is_some());
}

/// Keys of the day of the start and of the day after.
fn keys() -> Privacy {
    let text = format!("2026-11-27 {}\n2026-11-28 {}\n", "5a".repeat(32), "5b".repeat(32));
    Privacy::with_keys(vigie_privacy::PeriodKeys::parse(&text, vigie_privacy::PeriodLength::Day).unwrap())
}

/// Seconds from the start to midnight, UTC.
const MIDNIGHT_S: u64 = 16 * 3_600;

#[test]
fn a_new_key_closes_incidents_and_the_next_contact_opens_them_anew() {
    let (mut judging, mut lines) = (judging().with_privacy(keys()), Lines::default());
    let events = [
        sighted(MIDNIGHT_S - 20, 1, TNC),
        sighted(MIDNIGHT_S - 10, 2, API),
        clock(MIDNIGHT_S - 3),
        clock(MIDNIGHT_S + 5),
        sighted(MIDNIGHT_S + 10, 3, API),
        clock(MIDNIGHT_S + 20),
    ];
    judge_all(&mut judging, events, &mut lines);
    judging.finish(&mut lines);
    assert_eq!(lines.steps(), ["key", "opened", "alert", "alert", "closed", "key", "opened", "alert", "closed"]);
    assert_eq!((lines.0[0].as_str(), lines.0[5].as_str()), ("key  2026-11-27", "key 2026-11-27 2026-11-28"));
    let id = |place: usize| lines.0[place].split(' ').nth(1).unwrap();
    assert!(id(1) == id(4) && id(6) == id(8) && id(1) != id(6), "{:?}", lines.0);
}

#[test]
fn an_incident_keeps_its_pseudonym_over_a_restart_and_then_has_the_new_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = StateFile::new(folder.path().join("judgement.state"));
    let (mut before, mut lines) = (judging().with_privacy(keys()), Lines::default());
    judge_all(&mut before, [sighted(0, 1, TNC), sighted(1, 2, API), clock(10)], &mut lines);
    file.save(&before.save()).unwrap();
    let (mut after, mut lines) = (judging().with_privacy(keys()), Lines::default());
    after.resume(file.load().unwrap().unwrap(), &mut lines);
    judge_all(&mut after, [clock(MIDNIGHT_S + 10)], &mut lines);
    assert_eq!(lines.steps(), ["key", "closed", "key"]);
    assert_eq!(lines.0[0], "key  2026-11-27", "it is closed by the name that it had");
}

#[test]
fn a_warning_has_no_alerts() {
    let mut settings = crate::settings::Settings::default().privacy;
    settings.mode = crate::settings::Naming::WarnFirst;
    let warning = Privacy::without_pseudonyms(&settings);
    let (mut judging, mut lines) = (judging().with_privacy(warning), Lines::default());
    judge_all(&mut judging, [sighted(0, 1, TNC), sighted(1, 2, API), sighted(2, 3, API), clock(10)], &mut lines);
    judge_all(&mut judging, [sighted(90_000, 4, TNC), sighted(90_001, 5, API), clock(90_010)], &mut lines);
    assert_eq!(lines.steps(), ["opened", "closed", "opened", "alert", "alert"], "{:?}", lines.0);
}
