use super::*;

use std::sync::Arc;

use vigie_decode::{Address, Encapsulation};
use vigie_handshake::opening::Desync;
use vigie_signatures::{Bundle, Rule};

use crate::event::{Evidence, Flow, Order, Sighting};

/// The first rule, or the first with another signature.
fn rule(place: usize) -> Arc<Rule> {
    let bundle = Bundle::builtin();
    let first = bundle.rules().first().unwrap();
    let is_wanted = |rule: &&Arc<Rule>| place == 0 || rule.signature_id != first.signature_id;
    Arc::clone(bundle.rules().iter().find(is_wanted).unwrap())
}

fn alert(client: u8, rule: &Arc<Rule>) -> Event {
    let flow = Flow {
        id: 1,
        client: Address::v4([10, 0, 0, client]),
        client_port: 1,
        server: Address::v4([192, 0, 2, 1]),
        server_port: 443,
        protocol: 6,
        encapsulation: Encapsulation::default(),
        interface: 0,
        first_seen_ns: 0,
        last_seen_ns: 0,
        packets_to_server: 1,
        packets_to_client: 0,
        bytes_to_server: 1,
        bytes_to_client: 0,
    };
    let (evidence, rule, desync) = (Evidence::TlsSni, Arc::clone(rule), Desync::default());
    let alert = Sighting {
        flow,
        client_mac: None,
        evidence,
        name: None,
        name_as_sent: None,
        rule,
        hello: None,
        desync,
        summarised: 0,
    };
    Event { timestamp_ns: 0, frame_number: 1, order: Order::default(), fact: Fact::Sighting(Box::new(alert)) }
}

fn released(rate: &mut AlertRate, now: Instant, all: bool) -> Vec<u64> {
    let mut summarised = Vec::new();
    rate.release(now, all, &mut |event| match &event.fact {
        Fact::Sighting(alert) => summarised.push(alert.summarised),
        _ => panic!("only alerts wait"),
    });
    summarised
}

#[test]
fn what_is_beyond_the_rate_is_summarised_by_client_and_signature() {
    let (mut rate, now, rules) = (AlertRate::new(5), Instant::now(), [rule(0), rule(1)]);
    let mut written = 0;
    for _ in 0..100 {
        written += u64::from(matches!(rate.admit(alert(1, &rules[0]), now), Admission::Write(_)));
    }
    assert_eq!(written, 5);
    for (client, rule) in [(1, &rules[1]), (2, &rules[0])] {
        assert!(matches!(rate.admit(alert(client, rule), now), Admission::Write(_)), "it is another pair");
    }
    assert_eq!(released(&mut rate, now + WINDOW / 2, false), [0; 0]);
    assert_eq!(released(&mut rate, now + WINDOW, false), [94]);
    assert_eq!(released(&mut rate, now + WINDOW, true), [0; 0]);
    assert!(matches!(rate.admit(alert(1, &rules[0]), now + WINDOW), Admission::Write(_)), "a new minute");
}

#[test]
fn at_the_end_all_that_wait_are_given() {
    let (mut rate, now, rule) = (AlertRate::new(1), Instant::now(), rule(0));
    for client in [1, 2, 1, 2, 2] {
        rate.admit(alert(client, &rule), now);
    }
    let mut all = released(&mut rate, now, true);
    all.sort_unstable();
    assert_eq!(all, [0, 1]);
}

#[test]
fn a_slow_client_is_never_limited_and_0_limits_nobody() {
    let (now, rule) = (Instant::now(), rule(0));
    for (per_minute_max, every) in [(5, WINDOW / 4), (0, Duration::ZERO)] {
        let mut rate = AlertRate::new(per_minute_max);
        for number in 0..1_000_u32 {
            assert!(matches!(rate.admit(alert(1, &rule), now + every * number), Admission::Write(_)), "{number}");
        }
    }
}

#[test]
fn the_table_is_bounded_and_who_finds_no_place_is_not_limited() {
    let (mut rate, now, rule) = (AlertRate::new(1), Instant::now(), rule(0));
    let mut written = 0;
    for number in 0..200_000_u32 {
        let mut event = alert(1, &rule);
        if let Fact::Sighting(alert) = &mut event.fact {
            alert.flow.client = Address(u128::from(number % 5_000));
        }
        written += u64::from(matches!(rate.admit(event, now), Admission::Write(_)));
    }
    assert_eq!(rate.pairs.len(), SETS * SET_PAIRS);
    assert!(written > 100_000, "{written}");
}
