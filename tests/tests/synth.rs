//! The same seed gives the same bytes, and the sensor finds in them what was put there.

use std::sync::Arc;

use vigie_signatures::Bundle;

use vigie::event::Fact;
use vigie::settings::Limits;
use vigie::worker::{Counter, EventTypes, Share, Worker};
use vigie_flow::HashKey;
use vigie_handshake::address_names::{self, AddressNames};
use vigie_synth::{Profile, Settings, Traffic, TrafficCounts, names};
use vigie_wire::{Frame, LinkType};

const PROFILES: [Profile; 3] = [Profile::Handshakes, Profile::Mixed, Profile::Settled];

fn settings(seed: u64, profile: Profile) -> Settings {
    Settings { seed, profile, flows: 200, banned_one_in: 20 }
}

/// Some frames and, as the command does, the rest of incomplete hellos.
fn made(settings: Settings, packets: usize, mut visit: impl FnMut(u64, &[u8])) -> TrafficCounts {
    let mut traffic = Traffic::new(settings);
    let mut frame = Vec::new();
    for _ in 0..packets {
        let timestamp_ns = traffic.frame(&mut frame);
        visit(timestamp_ns, &frame);
    }
    while let Some(timestamp_ns) = traffic.frame_of_unfinished_hello(&mut frame) {
        visit(timestamp_ns, &frame);
    }
    *traffic.counts()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for profile in PROFILES {
        let bytes = |seed| {
            let mut all = Vec::new();
            made(settings(seed, profile), 3_000, |timestamp_ns, frame| {
                all.extend(timestamp_ns.to_be_bytes());
                all.extend(frame);
            });
            all
        };
        assert!(bytes(7) == bytes(7));
        assert!(bytes(7) != bytes(8));
    }
}

/// Bytes of one version of this program are those of every other: a bench on a seed is comparable with one of last year.
#[test]
fn the_bytes_of_seed_one_do_not_change() {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    made(Settings::default(), 5_000, |timestamp_ns, frame| {
        digest.update(&timestamp_ns.to_be_bytes());
        digest.update(frame);
    });
    let digest: String = digest.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "a5e518926b1ca32a");
}

#[test]
fn the_sensor_finds_what_was_put_there() {
    for profile in PROFILES {
        for seed in [1, 2] {
            let names = Arc::new(AddressNames::new(address_names::Limits::default()));
            let event_types = EventTypes { tls: true, quic: true, ..EventTypes::default() };
            let mut worker =
                Worker::new(&Limits::default(), event_types, Bundle::builtin(), names, HashKey::REPLAY, Share::ALL);
            let (mut hellos, mut alerts) = (0_u64, 0_u64);
            let mut emit = |event: vigie::event::Event| match event.fact {
                Fact::Hello(_, hello) => {
                    let name = hello.server_name.unwrap();
                    assert!(names::HARMLESS.contains(&name.as_str()) || names::BANNED.contains(&name.as_str()));
                    assert!(!hello.partial && hello.ja4.is_some());
                    hellos += 1;
                }
                Fact::Sighting(alert) => {
                    assert!(names::BANNED.contains(&alert.name.unwrap().as_str()));
                    alerts += 1;
                }
                _ => {}
            };
            let made = made(settings(seed, profile), 20_000, |timestamp_ns, data| {
                let wire_length = data.len() as u32;
                let frame =
                    Frame { timestamp_ns, number: 1, wire_length, link_type: LinkType::ETHERNET, interface: 0, data };
                worker.batch(&[frame], &mut emit);
            });
            worker.finish(&mut emit);
            let found = |counter| worker.counters().get(counter);
            assert_eq!((found(Counter::HellosTls), found(Counter::HellosQuic)), (made.hellos_tls, made.hellos_quic));
            assert_eq!(found(Counter::TlsWithName) + found(Counter::QuicWithName), hellos);
            assert_eq!(hellos, made.hellos_tls + made.hellos_quic);
            assert_eq!(found(Counter::HttpHosts), made.http_hosts);
            assert_eq!(found(Counter::DnsAnswers), made.dns_answers);
            assert_eq!(alerts, made.banned);
            assert!(made.hellos_post_quantum * 3 > hellos && made.hellos_post_quantum < hellos);
            assert!(made.banned > 0 && made.http_hosts > 0, "{made:?}");
        }
    }
}

#[test]
fn profiles_are_what_they_say() {
    let of = |profile| made(Settings { flows: 300, ..settings(1, profile) }, 60_000, |_, _| ());
    let per_flow = |made: &TrafficCounts| made.frames / made.flows;
    let [handshakes, mixed, settled] = PROFILES.map(of);
    assert!((14..=20).contains(&per_flow(&handshakes)), "{handshakes:?}");
    assert!((40..=60).contains(&per_flow(&mixed)), "{mixed:?}");
    assert!(per_flow(&settled) > 100, "{settled:?}");
    for made in [handshakes, mixed, settled] {
        assert!((370..=900).contains(&(made.bytes / made.frames)), "{made:?}");
    }
}
